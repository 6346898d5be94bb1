//! Checkpoints on disk: copied at a step boundary, written in the background, flushed, renamed, checked by
//! checksums when read.
//!
//! A checkpoint is a directory under `checkpoints/` with `config.json` and `model.safetensors` (Hugging Face's names),
//! `tokenizer.json`, `optimizer.safetensors` and `state.json`. `state.json` is written last and holds the length and
//! BLAKE3 of every other file. [`Copied`] is one on its way to disk, [`Writer`] the thread that writes it, [`Saved`] one that is read.

mod copied;
mod error;
mod fetch;
mod saved;
mod verify;
mod writer;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::state::TrainState;
use crate::dist::{Ranks, Solo};
use crate::file::{Dir, Kind, is_temporary};
use crate::model::{DecoderConfig, Files};
use crate::run::dir::{RunDir, is_name};
use crate::run::handle::RunHandle;
use crate::text;

pub use copied::Copied;
pub use error::CheckpointError;
pub use fetch::Serve;
use saved::OPTIMIZER;
pub use saved::{Moments, Saved};
use verify::{damaged, read_state, verify_in};
pub use writer::Writer;

/// Bytes that stay free next to a checkpoint.
const SPARE_BYTES: u64 = 64 << 20;

/// Begins the name of a directory that is being written or removed.
const UNFINISHED: &str = ".writing-";

/// The checkpoints of one run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    run: RunDir,
    /// The open directory, in the process that writes the run.
    handle: Option<Arc<RunHandle>>,
    /// The ranks that wait while a checkpoint is checked.
    ranks: Arc<dyn Ranks>,
}

impl Checkpoints {
    /// The checkpoints of a run that this process holds. Clears away what an interrupted write left.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(handle: &Arc<RunHandle>) -> Result<Self, CheckpointError> {
        let checkpoints = Self {
            run: handle.dir().clone(),
            handle: Some(Arc::clone(handle)),
            ranks: Arc::new(Solo),
        };
        let folder = checkpoints.folder()?;
        let entries = folder.entries();
        for (name, _) in entries.map_err(checkpoints.io("."))? {
            if name.to_string_lossy().starts_with(UNFINISHED) || is_temporary(&name) {
                // A leftover that cannot be removed does no harm.
                let _ = folder.remove_all(&name);
            }
        }
        Ok(checkpoints)
    }

    /// The checkpoints of a run that another process may hold: nothing is made or removed.
    pub fn at(run: &RunDir) -> Self {
        Self {
            run: run.clone(),
            handle: None,
            ranks: Arc::new(Solo),
        }
    }

    /// Sets the ranks that wait while this process checks a checkpoint: a check ends with an error when one of them is lost.
    pub fn among(self, ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks, ..self }
    }

    /// Checks that the other ranks can still be used.
    fn look(&self) -> Result<(), CheckpointError> {
        let looked = self.ranks.check();
        looked.map_err(|lost| CheckpointError::Nothing(lost.into()))
    }

    /// The folder's path.
    pub fn path(&self) -> PathBuf {
        self.run.checkpoints()
    }

    /// The folder itself.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn folder(&self) -> Result<Arc<Dir>, CheckpointError> {
        let folder = match &self.handle {
            Some(handle) => handle.checkpoints(),
            None => Dir::open(&self.path()).map(Arc::new),
        };
        folder.map_err(self.io("."))
    }

    fn io(&self, name: &str) -> impl Fn(io::Error) -> CheckpointError + use<> {
        let path = match name {
            "." => self.path(),
            name => self.path().join(name),
        };
        move |source| CheckpointError::Io {
            path: path.clone(),
            source,
        }
    }

    /// Whether there is a directory of this name.
    pub fn has(&self, name: &str) -> bool {
        let folder = self.folder();
        folder.is_ok_and(|folder| matches!(folder.kind(name), Ok(Some(Kind::Directory))))
    }

    /// Bytes of a checkpoint of a model.
    fn bytes_for(model: &DecoderConfig) -> u64 {
        12 * model.parameters() + (1 << 20)
    }

    /// A name for a checkpoint of this state that no directory has yet.
    pub fn name_for(&self, state: &TrainState) -> String {
        let base = format!("b{}-s{:08}-{}", state.branch, state.step, state.phase);
        let folder = self.folder();
        let there = |name: &String| {
            folder
                .as_ref()
                .is_ok_and(|f| f.kind(name).is_ok_and(|k| k.is_some()))
        };
        std::iter::once(base.clone())
            .chain((2..).map(|i| format!("{base}-{i}")))
            .find(|name| !there(name))
            .unwrap_or(base)
    }

    /// Refuses a checkpoint of a model that would not fit.
    ///
    /// # Errors
    /// [`CheckpointError::NoSpace`].
    pub fn check_space(&self, model: &DecoderConfig) -> Result<(), CheckpointError> {
        let need = Self::bytes_for(model);
        let Ok(stat) = nix::sys::statvfs::fstatvfs(&*self.folder()?) else {
            return Ok(()); // a file system that does not report its free space is assumed to have enough
        };
        let free = stat.blocks_available() * stat.fragment_size();
        if free < need + SPARE_BYTES {
            return Err(CheckpointError::NoSpace {
                dir: self.path(),
                free: free >> 20,
                need: (need + SPARE_BYTES) >> 20,
            });
        }
        Ok(())
    }

    /// Points a link (`latest`, `best`, `reference`, `pre-grow-1`) at a checkpoint, replacing it atomically.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn link(&self, link: &str, name: &str) -> Result<(), CheckpointError> {
        let folder = self.folder()?;
        let linked = folder.replace_link(link, OsStr::new(name));
        linked.map_err(self.io(link))
    }

    /// Returns the checkpoint that a name, a link or a step refers to; for a step, the newest one.
    ///
    /// # Errors
    /// When no checkpoint has this name.
    pub fn resolve(&self, name: &str) -> Result<String, CheckpointError> {
        if let Some(there) = name.parse().ok().and_then(|step| self.at_step(step)) {
            return Ok(there);
        }
        // A link or a journal from elsewhere may name anything, so the checkpoint must lie in this folder.
        let inside = match self.folder() {
            Ok(folder) if is_name(name) => match folder.read_link(name) {
                Ok(target) => target.to_str().filter(|t| is_name(t)).map(str::to_string),
                Err(_) => Some(name.to_string()),
            },
            _ => None,
        };
        match inside {
            Some(inside) if self.has(&inside) => Ok(inside),
            _ => {
                let there = self.names();
                Err(CheckpointError::Missing {
                    name: text::clean(name).into_owned(),
                    dir: self.path(),
                    there: if there.is_empty() {
                        "none".into()
                    } else {
                        there.join(", ")
                    },
                })
            }
        }
    }

    fn at_step(&self, step: u64) -> Option<String> {
        let names = self.names().into_iter();
        let all = names.filter_map(|name| Some((self.state(&name).ok()?, name)));
        let here = all.filter(|(state, _)| state.step == step);
        here.max_by_key(|(state, _)| state.seq)
            .map(|(_, name)| name)
    }

    /// All checkpoint directories, oldest first by step.
    pub fn names(&self) -> Vec<String> {
        let entries = self.folder().map(|folder| folder.entries());
        let mut names: Vec<String> = entries
            .into_iter()
            .flat_map(Result::unwrap_or_default)
            .filter(|(_, kind)| *kind == Kind::Directory)
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| !name.starts_with('.') && text::sanitize(name) == *name)
            .collect();
        names.sort();
        names
    }

    /// Returns the highest branch in the names of the checkpoints.
    pub fn highest_branch(&self) -> u32 {
        let names = self.names().into_iter();
        let branches = names.filter_map(|n| n.strip_prefix('b')?.split_once('-')?.0.parse().ok());
        branches.max().unwrap_or(0)
    }

    /// Checks every file of a checkpoint against its checksum.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`], naming the newest intact checkpoint.
    pub fn verify(&self, name: &str) -> Result<TrainState, CheckpointError> {
        self.verify_only(name).map_err(|error| match error {
                CheckpointError::Damaged { name, what, .. } => {
                    let run = self.run.argument();
                    let remedy = match self.newest_whole() {
                        Ok(whole) => format!(
                            "; an older one is intact: resume from it with heirloom train --resume {run}@{whole}"
                        ),
                        // A rank is lost: the others end, and nothing is known about older checkpoints.
                        Err(lost @ CheckpointError::Nothing(_)) => return lost,
                        Err(_) => format!(", and no other one is intact; {}", self.start_again()),
                    };
                    CheckpointError::Damaged { name, what, remedy }
                }
                other => other,
            })
    }

    /// Returns the newest checkpoint that is intact.
    ///
    /// # Errors
    /// When none is intact.
    pub fn newest_whole(&self) -> Result<String, CheckpointError> {
        let mut all: Vec<(u64, String)> = self
            .names()
            .into_iter()
            .filter_map(|name| Some((self.state(&name).ok()?.seq, name)))
            .collect();
        all.sort();
        let whole = |name: &String| self.verify_only(name).is_ok();
        let newest = all.into_iter().rev().map(|(_, name)| name).find(whole);
        self.look()?;
        newest.ok_or_else(|| {
            let verify = |name: String| self.verify_only(&name).err();
            let damage = self
                .names()
                .into_iter()
                .filter_map(verify)
                .map(|e| e.to_string());
            let damage: Vec<String> = damage.collect();
            CheckpointError::NoneIntact {
                dir: self.path(),
                damage: match damage.is_empty() {
                    true => "none was found".into(),
                    false => damage.join("; "),
                },
                remedy: self.start_again(),
            }
        })
    }

    /// Advises what to do when no checkpoint can be used.
    fn start_again(&self) -> String {
        format!(
            "copy one back from a backup, or train a new run: heirloom train {} --name NAME",
            text::argument(&self.run.config())
        )
    }

    /// Reads the state in a checkpoint without checking its files.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`].
    pub fn state(&self, name: &str) -> Result<TrainState, CheckpointError> {
        Ok(read_state(&self.open_directory(name)?, name)?.state)
    }

    fn open_directory(&self, name: &str) -> Result<Dir, CheckpointError> {
        let folder = self.folder()?;
        // `latest` and the like are links within the folder.
        let target = folder.read_link(name).ok();
        let target = target.and_then(|target| target.to_str().map(str::to_string));
        let real = target.as_deref().filter(|t| is_name(t)).unwrap_or(name);
        let opened = folder.open_subdir(real);
        opened.map_err(|e| damaged(name, format!("it cannot be opened ({e})")))
    }

    fn verify_only(&self, name: &str) -> Result<TrainState, CheckpointError> {
        verify_in(&self.open_directory(name)?, name, &|| self.look())
    }

    /// Opens a checkpoint for reading: it is verified, and its tensors fit each other. Nothing large is in memory yet.
    ///
    /// # Errors
    /// As [`Self::verify`], or when its tensors do not fit the model.
    pub fn open_saved(&self, name: &str) -> Result<Saved, CheckpointError> {
        let name = self.resolve(name)?;
        let state = self.verify(&name)?;
        let dir = self.open_directory(&name)?;
        let files = Files::open_in(&dir)?;
        let moments = Moments::open(&dir)?;
        if state.optimizer_steps.len() != files.params().len() {
            let what = "its step counts do not fit its tensors";
            return Err(damaged(&name, what.into()));
        }
        for p in files.params() {
            if !moments.has(p) {
                let what = format!("{OPTIMIZER} has no moments that fit {}", p.name);
                return Err(damaged(&name, what));
            }
        }
        Ok(Saved {
            files,
            moments,
            state,
        })
    }

    /// Returns the files of a checkpoint's model, verified; their tensors are read one by one as they are needed.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn files(&self, name: &str) -> Result<Files, CheckpointError> {
        let name = self.resolve(name)?;
        self.verify(&name)?;
        Ok(Files::open_in(&self.open_directory(&name)?)?)
    }

    /// Deletes a checkpoint.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), CheckpointError> {
        let folder = self.folder()?;
        // Renamed first: a half-deleted directory must not look like a checkpoint.
        let tmp = format!("{UNFINISHED}{name}");
        folder
            .rename(name, &tmp)
            .and_then(|()| folder.remove_all(&tmp))
            .map_err(self.io(name))
    }
}

#[cfg(test)]
mod tests;
