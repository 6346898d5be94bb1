//! Errors of an export.

use std::path::PathBuf;

use crate::model::ModelError;
use crate::tensors::TensorError;
use crate::text;
use crate::train::checkpoint::CheckpointError;

/// The reason why a model is not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The form has no place for something in the model.
    #[error("this model cannot be written like that: {0}")]
    Form(String),
    #[error("{}: {what}", text::path(path))]
    Tokenizer { path: PathBuf, what: String },
    #[error("interrupted; nothing was written")]
    Interrupted,
    #[error("{}: {source}", text::path(path))]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Tensors(#[from] TensorError),
}
