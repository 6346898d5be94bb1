//! Checkpoints on disk: copied at a step boundary, written in the background, flushed, renamed, checked by
//! checksums when read.
//!
//! A checkpoint is a directory under `checkpoints/` with `config.json` and `model.safetensors` (Hugging Face's names),
//! `tokenizer.json`, `optimizer.safetensors` and `state.json`. `state.json` is written last and holds the length and
//! BLAKE3 of every other file. [`Copied`] is one on its way to disk, [`Writer`] the thread that writes it, [`Saved`] one that is read.

mod copied;
mod saved;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::TrainState;
use crate::file;
use crate::model::{DecoderConfig, Files, ModelError};
use crate::run::dir::{RunDir, is_name};
use crate::text;

pub use copied::Copied;
pub use saved::{Moments, Saved};
pub use writer::Writer;

/// Bytes that stay free beside a checkpoint.
const SPARE_BYTES: u64 = 64 << 20;

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
/// The files beside `state.json`.
const FILES: [&str; 4] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    OPTIMIZER,
];
/// Most bytes of `state.json`: a loss for each of a million windows, and room.
const LARGEST_STATE: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("checkpoint {name} is damaged: {what}{remedy}")]
    Damaged {
        name: String,
        what: String,
        /// What to do, where that is known; begins with a semicolon.
        remedy: String,
    },
    #[error(
        "no checkpoint under {} is intact ({damage}); {remedy}",
        text::path(dir)
    )]
    NoneIntact {
        dir: PathBuf,
        damage: String,
        remedy: String,
    },
    #[error("no checkpoint {name} under {dir}; there are: {there}")]
    Missing {
        name: String,
        dir: PathBuf,
        there: String,
    },
    #[error("only {free} MB are free at {dir}; a checkpoint needs {need} MB: make room there")]
    NoSpace { dir: PathBuf, free: u64, need: u64 },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the thread that writes checkpoints has died: end this process and resume the run, which goes on from its last checkpoint"
    )]
    WriterDied,
    #[error("{0:#}")]
    Nothing(anyhow::Error),
    #[error(transparent)]
    Model(#[from] ModelError),
}

#[derive(Serialize, Deserialize)]
struct FileSum {
    bytes: u64,
    blake3: String,
}

/// Version of `state.json`.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    v: u32,
    program: String,
    files: BTreeMap<String, FileSum>,
    state: TrainState,
}

/// The checkpoints of one run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dir: PathBuf,
    run: RunDir,
}

impl Checkpoints {
    /// Opens a run's folder, making it if needed, and clears away what an interrupted write left.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(run: &RunDir) -> Result<Self, CheckpointError> {
        let dir = run.checkpoints();
        let io = |source| CheckpointError::Io {
            path: dir.clone(),
            source,
        };
        fs::create_dir_all(&dir).map_err(io)?;
        for entry in fs::read_dir(&dir).map_err(io)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".writing-") {
                // A leftover that cannot be removed does no harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self {
            dir,
            run: run.clone(),
        })
    }

    /// The checkpoints of a run that belongs to others: nothing is made or cleared away.
    pub fn at(run: &RunDir) -> Self {
        Self {
            dir: run.checkpoints(),
            run: run.clone(),
        }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of a checkpoint of a model.
    fn bytes_for(model: &DecoderConfig) -> u64 {
        12 * model.parameters() + (1 << 20)
    }

    /// A name for a checkpoint of this state that no directory has yet.
    pub fn name_for(&self, state: &TrainState) -> String {
        let base = format!("b{}-s{:08}-{}", state.branch, state.step, state.phase);
        let free = |name: &String| fs::symlink_metadata(self.dir.join(name)).is_err();
        std::iter::once(base.clone())
            .chain((2..).map(|i| format!("{base}-{i}")))
            .find(free)
            .unwrap_or(base)
    }

    /// Refuses a checkpoint of a model that would not fit.
    ///
    /// # Errors
    /// [`CheckpointError::NoSpace`].
    pub fn check_space(&self, model: &DecoderConfig) -> Result<(), CheckpointError> {
        let need = Self::bytes_for(model);
        let Ok(stat) = nix::sys::statvfs::statvfs(&self.dir) else {
            return Ok(()); // a file system that does not say is tried
        };
        let free = stat.blocks_available() * stat.fragment_size();
        if free < need + SPARE_BYTES {
            return Err(CheckpointError::NoSpace {
                dir: self.dir.clone(),
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
        let tmp = self.dir.join(format!(".link-{link}"));
        let path = self.dir.join(link);
        let _ = fs::remove_file(&tmp);
        std::os::unix::fs::symlink(name, &tmp)
            .and_then(|()| fs::rename(&tmp, &path))
            .map_err(|source| CheckpointError::Io { path, source })?;
        sync_dir(&self.dir)
    }

    /// The checkpoint that a name, a link or a step means: of a step, the newest.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn resolve(&self, name: &str) -> Result<String, CheckpointError> {
        if let Some(there) = name.parse().ok().and_then(|step| self.at_step(step)) {
            return Ok(there);
        }
        let path = self.dir.join(name);
        let real = fs::read_link(&path).map_or(path, |target| self.dir.join(target));
        // A link or a journal from elsewhere may name anything: a checkpoint lies in this folder.
        match (real.is_dir(), real.file_name().and_then(|n| n.to_str())) {
            (true, Some(inside)) if is_name(name) && real == self.dir.join(inside) => {
                Ok(inside.into())
            }
            _ => {
                let there = self.names();
                Err(CheckpointError::Missing {
                    name: text::clean(name).into_owned(),
                    dir: self.dir.clone(),
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
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('.') && text::sanitize(name) == *name)
            .collect();
        names.sort();
        names
    }

    /// The highest branch that a checkpoint's name tells of.
    pub fn highest_branch(&self) -> u32 {
        let names = self.names().into_iter();
        let branches = names.filter_map(|n| n.strip_prefix('b')?.split_once('-')?.0.parse().ok());
        branches.max().unwrap_or(0)
    }

    /// Checks every file of a checkpoint against its checksum.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`], naming the newest whole one.
    pub fn verify(&self, name: &str) -> Result<TrainState, CheckpointError> {
        self.verify_at(&self.dir.join(name), name)
            .map_err(|error| match error {
                CheckpointError::Damaged { name, what, .. } => {
                    let run = self.run.argument();
                    let remedy = match self.newest_whole() {
                        Ok(whole) => format!(
                            "; an older one is whole: go on from it with heirloom train --resume {run}@{whole}"
                        ),
                        Err(_) => format!(", and no other one is intact; {}", self.start_again()),
                    };
                    CheckpointError::Damaged { name, what, remedy }
                }
                other => other,
            })
    }

    /// The newest checkpoint that is whole.
    ///
    /// # Errors
    /// When there is none.
    pub fn newest_whole(&self) -> Result<String, CheckpointError> {
        let mut all: Vec<(u64, String)> = self
            .names()
            .into_iter()
            .filter_map(|name| Some((self.state(&name).ok()?.seq, name)))
            .collect();
        all.sort();
        let whole = |name: &String| self.verify_at(&self.dir.join(name), name).is_ok();
        let newest = all.into_iter().rev().map(|(_, name)| name).find(whole);
        newest.ok_or_else(|| {
            let verify = |name: String| self.verify_at(&self.dir.join(&name), &name).err();
            let damage = self
                .names()
                .into_iter()
                .filter_map(verify)
                .map(|e| e.to_string());
            let damage: Vec<String> = damage.collect();
            CheckpointError::NoneIntact {
                dir: self.dir.clone(),
                damage: match damage.is_empty() {
                    true => "there is none".into(),
                    false => damage.join("; "),
                },
                remedy: self.start_again(),
            }
        })
    }

    /// What is left to do where no checkpoint can be used.
    fn start_again(&self) -> String {
        format!(
            "copy one back from a backup, or train a new run: heirloom train {} --name NAME",
            text::argument(&self.run.config())
        )
    }

    /// What a checkpoint says of itself; its files are not looked at.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`].
    pub fn state(&self, name: &str) -> Result<TrainState, CheckpointError> {
        Ok(read_state(&self.dir.join(name), name)?.state)
    }

    fn verify_at(&self, path: &Path, name: &str) -> Result<TrainState, CheckpointError> {
        let file = read_state(path, name)?;
        for part in FILES {
            if !file.files.contains_key(part) {
                return Err(damaged(name, format!("{STATE} does not tell of {part}")));
            }
        }
        for (part, want) in &file.files {
            if !is_name(part) {
                return Err(damaged(name, format!("{STATE} tells of a file elsewhere")));
            }
            let got = checksum(&path.join(part)).map_err(|e| damaged(name, e.to_string()))?;
            if got.bytes != want.bytes {
                let what = format!("{part} has {} of {} bytes", got.bytes, want.bytes);
                return Err(damaged(name, what));
            }
            if got.blake3 != want.blake3 {
                return Err(damaged(name, format!("{part} does not match its checksum")));
            }
        }
        Ok(file.state)
    }

    /// Opens a checkpoint for reading: it is verified, and its tensors fit each other. Nothing large is in memory yet.
    ///
    /// # Errors
    /// As [`Self::verify`], or when its tensors do not fit the model.
    pub fn open_saved(&self, name: &str) -> Result<Saved, CheckpointError> {
        let name = self.resolve(name)?;
        let state = self.verify(&name)?;
        let dir = self.dir.join(&name);
        let files = Files::open(&dir)?;
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

    /// The files of a checkpoint's model, verified; what is asked of them is read tensor by tensor.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn files(&self, name: &str) -> Result<Files, CheckpointError> {
        let name = self.resolve(name)?;
        self.verify(&name)?;
        Ok(Files::open(&self.dir.join(&name))?)
    }

    /// Deletes a checkpoint.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), CheckpointError> {
        let path = self.dir.join(name);
        // Renamed first: a half-deleted directory must not look like a checkpoint.
        let tmp = self.dir.join(format!(".writing-{name}"));
        fs::rename(&path, &tmp)
            .and_then(|()| fs::remove_dir_all(&tmp))
            .map_err(|source| CheckpointError::Io { path, source })
    }
}

fn read_state(path: &Path, name: &str) -> Result<StateFile, CheckpointError> {
    let text = file::read_text(&path.join(STATE), LARGEST_STATE)
        .map_err(|e| damaged(name, format!("{STATE} cannot be read ({e})")))?;
    let version = serde_json::from_str::<Versioned>(&text).map_or(VERSION, |file| file.v);
    if version != VERSION {
        let what = format!(
            "{STATE} has version {version}, this program reads {VERSION} (resume the run with the program that wrote it)"
        );
        return Err(damaged(name, what));
    }
    let file: StateFile = serde_json::from_str(&text).map_err(|e| {
        // It quotes what it has read.
        let e = e.to_string();
        damaged(name, format!("{STATE} is not whole ({})", text::clean(&e)))
    })?;
    let sound = file.state.check();
    sound.map_err(|e| damaged(name, format!("{STATE} is no trainer's: {e}")))?;
    Ok(file)
}

fn damaged(name: &str, what: String) -> CheckpointError {
    CheckpointError::Damaged {
        name: name.into(),
        what,
        remedy: String::new(),
    }
}

fn checksum(path: &Path) -> Result<FileSum, CheckpointError> {
    let io = |source| CheckpointError::Io {
        path: path.into(),
        source,
    };
    let mut hash = blake3::Hasher::new();
    let mut file = file::open(path).map_err(io)?;
    let bytes = io::copy(&mut file, &mut hash).map_err(io)?;
    Ok(FileSum {
        bytes,
        blake3: hash.finalize().to_hex().to_string(),
    })
}

fn sync_dir(path: &Path) -> Result<(), CheckpointError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| CheckpointError::Io {
            path: path.into(),
            source,
        })
}
