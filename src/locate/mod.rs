//! Names of models, as on the command line and in configs, and the files behind them: a path, a run's checkpoint
//! (`RUN@latest`, `RUN@best`, `RUN@1200` for a step, `RUN@b0-s00001200-round-1`), or one of the Hugging Face hub (`hf:owner/name[@revision]`).

#[cfg(feature = "hub")]
mod access;
#[cfg(feature = "hub")]
mod fetch;
mod hub;
#[cfg(feature = "hub")]
mod request;
mod results;
mod tokenizer;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run::dir::RunDir;
use crate::run::event::Phase;
use crate::run::table;
use crate::text::{self, exact};
use crate::train::checkpoint::Checkpoints;

#[cfg(feature = "hub")]
pub use access::{HubAccess, hub_access};
pub use hub::HubError;
pub use results::{Finished, Results, results};
pub use tokenizer::{HUGGING_FACE, tokenizer, vocabulary};

/// Prefix of the hub's models.
pub use crate::config::HUB;

/// A model's files, and the run they belong to.
#[derive(Debug, Clone)]
pub struct Located {
    /// A directory, or a GGUF or safetensors file.
    pub path: PathBuf,
    /// The run and the name of its checkpoint.
    pub checkpoint: Option<(RunDir, String)>,
    /// Describes the files if the name is ambiguous: which checkpoint of a run, or an older copy of the hub's.
    pub chosen: Option<String>,
}

impl Located {
    /// Compares a checkpoint's files with their checksums.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn verify(&self) -> Result<()> {
        if let Some((run, checkpoint)) = &self.checkpoint {
            Checkpoints::at(run).verify(checkpoint)?;
        }
        Ok(())
    }
}

/// [Finds](find) a model whose weights are to be read: a checkpoint's files are [compared](Located::verify) with their
/// checksums.
///
/// # Errors
/// As `find` and `Located::verify`.
pub fn model(name: &str, runs: &Path) -> Result<Located> {
    let located = find(name, runs)?;
    located.verify()?;
    Ok(located)
}

/// Finds a model without fetching anything: of the hub's, the copy in the cache.
///
/// # Errors
/// When it is missing.
pub fn kept(name: &str, runs: &Path) -> Result<PathBuf> {
    match name.strip_prefix(HUB) {
        Some(hub) => Ok(hub::cached(hub, hub::cache().as_deref())?),
        None => Ok(find(name, runs)?.path),
    }
}

/// Returns a name that will refer to the same files later: for a model of the hub, with the commit of `path`, its snapshot.
pub fn pinned(name: &str, path: &Path) -> String {
    let commit = path.file_name().and_then(|commit| commit.to_str());
    match (name.strip_prefix(HUB), commit) {
        (Some(hub), Some(commit)) => {
            let model = hub.split_once('@').map_or(hub, |(model, _)| model);
            format!("{HUB}{model}@{commit}")
        }
        _ => name.into(),
    }
}

/// Splits `RUN@CHECKPOINT`; a path may itself contain an @.
pub fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('@') {
        Some((run, checkpoint)) if !checkpoint.contains('/') => (run, Some(checkpoint)),
        _ => (name, None),
    }
}

/// Finds a model: a directory or file by its path, or `RUN@CHECKPOINT` with a run's name under `runs` or its path; a run
/// alone means the last checkpoint of its last round. `hf:OWNER/NAME[@REVISION]` means a model of the hub, which is fetched
/// into its cache where the feature `hub` is built in.
///
/// # Errors
/// When the model is missing.
pub fn find(name: &str, runs: &Path) -> Result<Located> {
    let path = &*exact::to_path(name);
    let found = |path: &Path| Located {
        path: path.to_path_buf(),
        checkpoint: None,
        chosen: None,
    };
    if let Some(hub) = name.strip_prefix(HUB) {
        let hub::Found { path, notice } = find_in_hub(hub)?;
        return Ok(Located {
            chosen: notice,
            ..found(&path)
        });
    }
    if path.is_file() || path.join("config.json").is_file() {
        return Ok(found(path));
    }
    let (run, checkpoint) = split(name);
    match RunDir::open(runs, run) {
        Ok(dir) => {
            let checkpoints = Checkpoints::at(&dir);
            let (checkpoint, chosen) = match checkpoint {
                Some(name) => (checkpoints.resolve(name)?, None),
                None => result_of(&dir, &checkpoints).map(|(name, why)| (name, Some(why)))?,
            };
            Ok(Located {
                path: checkpoints.path().join(&checkpoint),
                checkpoint: Some((dir, checkpoint)),
                chosen,
            })
        }
        // Missing parts are reported when the model is read.
        Err(_) if path.exists() => Ok(found(path)),
        Err(error) if checkpoint.is_some() => Err(error.into()),
        Err(_) => bail!(
            "{} is not a model; pass a directory with config.json and safetensors, a .gguf file, hf:OWNER/NAME, or RUN@latest, RUN@best or RUN@CHECKPOINT of a run under {}",
            text::path(path),
            text::path(runs)
        ),
    }
}

/// Returns the directory of `OWNER/NAME` or `OWNER/NAME@REVISION`, fetching it if needed.
///
/// # Errors
/// When the name is malformed, or the model is neither in the cache nor can be fetched.
fn find_in_hub(name: &str) -> Result<hub::Found, HubError> {
    #[cfg(feature = "hub")]
    return fetch::fetch(name, hub::cache().as_deref());
    #[cfg(not(feature = "hub"))]
    return hub::cached(name, hub::cache().as_deref())
        .map(|path| hub::Found { path, notice: None });
}

/// Fetches the Parquet files in `folders` of a data set of the hub into its cache, and returns their paths there. Without a
/// connection, returns those that are already in the cache.
///
/// # Errors
/// When they are neither in the cache nor can be fetched.
#[cfg(feature = "hub")]
pub fn dataset(name: &str, revision: &str, folders: &[String]) -> Result<Vec<PathBuf>, HubError> {
    fetch::dataset(name, revision, folders, hub::cache().as_deref())
}

/// Returns the last checkpoint of the last round, and a description of that choice.
fn result_of(run: &RunDir, checkpoints: &Checkpoints) -> Result<(String, String)> {
    let names = checkpoints.names();
    let rounds = names.iter().filter_map(|name| {
        let at = checkpoints.state(name).ok()?;
        matches!(at.phase, Phase::Round(_)).then(|| (at, name.clone()))
    });
    let Some((at, name)) = rounds.max_by_key(|(at, _)| at.seq) else {
        let run = run.argument();
        match names.is_empty() {
            true => bail!("run {run} has no checkpoint yet"),
            false => {
                bail!("run {run} has no checkpoint of a round yet; its newest one is {run}@latest")
            }
        }
    };
    let chosen = format!(
        "the last checkpoint of its last round ({}, step {} of {})",
        table::phase_name(&at.phase),
        at.phase_step,
        at.steps
    );
    Ok((name, chosen))
}
