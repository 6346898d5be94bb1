//! The model to export: a model directory, a GGUF file, or a checkpoint of a run.

use std::path::Path;

use serde_json::Value;

use super::ExportError;
use super::tokens::{Tokens, config_json};
use crate::config::{self, Config};
use crate::locate::{self, Located};
use crate::model::Files;
use crate::run::dir::RunDir;
use crate::run::series;
use crate::run::state::RunState;
use crate::text;
use crate::train::checkpoint::Checkpoints;
use crate::train::state::TrainState;

/// The multiple to which vocabularies of models trained here are padded (the tokenizers' `padded_vocab`).
const PADDING: usize = 64;

/// A model to export; its weights are still on disk.
#[derive(Debug)]
pub struct Subject {
    pub files: Files,
    /// Its name: `RUN@CHECKPOINT`, or the name of its directory or file.
    pub name: String,
    /// The run and checkpoint it is of.
    pub run: Option<FromRun>,
    pub(super) tokens: Tokens,
    /// The `model_type` in its `config.json`.
    pub(super) model_type: Option<String>,
    /// Whether this program wrote it as a checkpoint, which may have a padded vocabulary.
    native: bool,
}

/// The history of a checkpoint.
#[derive(Debug)]
pub struct FromRun {
    pub dir: RunDir,
    /// The directory under `checkpoints/`.
    pub checkpoint: String,
    /// The training at that moment.
    pub at: TrainState,
    /// The state of the run according to its journal, which may be past the checkpoint.
    pub state: RunState,
    pub config: Option<Config>,
}

impl Subject {
    /// Opens a model that `name` means ([`locate::model`] has found it). `runs` is where the run's reference is looked for by
    /// its name. Checkpoints are checked against their checksums.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn open(name: &str, located: &Located, runs: &Path) -> Result<Self, ExportError> {
        let by_path = || checkpoint_by_path(&located.path);
        if let Some((run, checkpoint)) = located.checkpoint.clone().or_else(by_path) {
            return Self::of_checkpoint(run, &checkpoint, runs);
        }
        let mut subject = Self::of_path(&located.path)?;
        if name.starts_with(locate::HUB) {
            subject.name = text::clean(name).into_owned();
        }
        Ok(subject)
    }

    fn of_path(path: &Path) -> Result<Self, ExportError> {
        let files = Files::open(path)?;
        let dir = match path.is_dir() {
            true => path,
            false => path.parent().unwrap_or(Path::new(".")),
        };
        let (tokens, config) = match files.source.gguf() {
            Some(metadata) => (Tokens::of_gguf(metadata), Value::Null),
            None => {
                let config = config_json(dir);
                (Tokens::of_directory(dir, &config)?, config)
            }
        };
        let full = path.canonicalize().unwrap_or_else(|_| path.into());
        let name = full.file_stem().unwrap_or(full.as_os_str());
        let name = match full.is_dir() {
            true => full.file_name().unwrap_or(full.as_os_str()),
            false => name,
        };
        Ok(Self {
            name: text::clean(&name.to_string_lossy()).into_owned(),
            run: None,
            tokens,
            model_type: config["model_type"].as_str().map(str::to_string),
            native: config["heirloom"].is_object(),
            files,
        })
    }

    /// A checkpoint, once it has been compared with its checksums.
    fn of_checkpoint(run: RunDir, checkpoint: &str, runs: &Path) -> Result<Self, ExportError> {
        let checkpoints = Checkpoints::at(&run);
        let at = checkpoints.verify(checkpoint)?;
        let mut subject = Self::of_path(&checkpoints.path().join(checkpoint))?;
        let source = config::Source::Run(run.config());
        let config = config::load_as_written(&source);
        let config = config.ok().map(|loaded| loaded.config);
        let reference = config::load(&source, &[]).ok().map(|loaded| loaded.config);
        let reference = reference.as_ref().and_then(|c| c.reference.path.as_ref());
        // The checkpoint has its own copy of the tokenizer if the reference is not found.
        let reference = reference.and_then(|name| locate::kept(name, runs).ok());
        if let Some(tokens) = reference.and_then(|path| Tokens::of_model(&path).ok()) {
            subject.tokens.complete_from(tokens);
        }
        subject.name = text::clean(&format!("{}@{checkpoint}", run.name())).into_owned();
        let state = series::open::load(run.path());
        let state = state.map_err(|source| ExportError::Io {
            path: run.events(),
            source,
        })?;
        subject.run = Some(FromRun {
            dir: run,
            checkpoint: checkpoint.into(),
            at,
            state,
            config,
        });
        Ok(subject)
    }

    /// The tokenizer's ids, where the vocabulary's further rows are padding that this program made.
    pub(super) fn ids_without_padding(&self) -> Option<usize> {
        let config = self.run.as_ref().and_then(|run| run.config.as_ref());
        self.native
            .then(|| unpadded(self.tokens.ids?, self.files.config.vocab, config))?
    }

    /// Whether a canonical path is this model's own file or directory.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let own = self.files.source.path().canonicalize();
        own.is_ok_and(|own| own == path)
    }
}

/// The ids of a tokenizer, where a checkpoint's `vocab` rows are those and padding that this program made. `config` is the
/// run's, where it is known.
fn unpadded(ids: usize, vocab: usize, config: Option<&Config>) -> Option<usize> {
    let ours = match config {
        // A reference that was read from files has the rows that its authors gave it, so none of them are this program's padding.
        Some(config) => config.reference.path.is_none(),
        None => vocab == ids.next_multiple_of(PADDING),
    };
    (ours && ids <= vocab).then_some(ids)
}

/// Returns how many rows of the vocabulary of the model at `located` stand for token ids; the rest is padding that this
/// program made, which [`super::export`] cuts off. All of them for models from elsewhere.
///
/// # Errors
/// When the model's tokenizer is there and cannot be read.
pub fn vocab_without_padding(files: &Files, located: &Located) -> Result<usize, ExportError> {
    let (path, all) = (&located.path, files.config.vocab);
    let dir = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(Path::new(".")),
    };
    let json = config_json(dir);
    if files.source.gguf().is_some() || !json["heirloom"].is_object() {
        return Ok(all);
    }
    let run = located
        .checkpoint
        .clone()
        .or_else(|| checkpoint_by_path(path));
    let config =
        run.and_then(|(run, _)| config::load(&config::Source::Run(run.config()), &[]).ok());
    let config = config.as_ref().map(|loaded| &loaded.config);
    let ids = Tokens::of_directory(dir, &json)?.ids;
    Ok(ids
        .and_then(|ids| unpadded(ids, all, config))
        .unwrap_or(all))
}

/// The run and the name of the checkpoint that a path leads to.
fn checkpoint_by_path(path: &Path) -> Option<(RunDir, String)> {
    let whole = std::path::absolute(path).ok()?;
    let (name, checkpoints) = (whole.file_name()?, whole.parent()?);
    let run = checkpoints.parent()?;
    let is_one = checkpoints.file_name()? == "checkpoints" && whole.join("state.json").is_file();
    let run = is_one.then(|| RunDir::at(run))?;
    run.events()
        .is_file()
        .then(|| (run, name.to_string_lossy().into_owned()))
}
