//! Errors of checkpoints.

use std::io;
use std::path::PathBuf;

use crate::model::ModelError;
use crate::tensors::TensorError;
use crate::text;

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("checkpoint {name} is damaged: {what}{remedy}")]
    Damaged {
        name: String,
        what: String,
        /// Advice, where it is known; begins with a semicolon.
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
    #[error("{}: {source}", text::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the thread that writes checkpoints has died: end this process and resume the run from its last checkpoint"
    )]
    WriterDied,
    #[error("{0:#}")]
    Nothing(anyhow::Error),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl From<TensorError> for CheckpointError {
    fn from(error: TensorError) -> Self {
        Self::Model(error.into())
    }
}
