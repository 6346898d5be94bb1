//! Errors of tensor files.

use std::io;
use std::path::{Path, PathBuf};

use crate::text;

/// Errors of tensor files. Texts from the file are already sanitised; paths are sanitised when the error is reported.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    #[error("{}: {source}", text::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {what}", text::path(path))]
    NotAModel { path: PathBuf, what: String },
    #[error(
        "{} is a Python pickle, which may run any code when it is read; convert it where you trust it: \
         python -c \"from transformers import AutoModelForCausalLM as M; \
         M.from_pretrained('MODEL').save_pretrained('OUT', safe_serialization=True)\", and read OUT",
        text::path(path)
    )]
    Pickle { path: PathBuf },
    #[error(
        "{}: {what}; the file is damaged or was not written as it should be, fetch or export it again",
        text::path(path)
    )]
    Damaged { path: PathBuf, what: String },
    #[error("{}: {what}", text::path(path))]
    Unsupported { path: PathBuf, what: String },
    #[error("{}: tensor {name} is missing", text::path(path))]
    NoTensor { path: PathBuf, name: String },
    #[error(
        "{}: tensor {name} is {value} at index {index}; weights must be finite, train or export the model again",
        text::path(path)
    )]
    NotFinite {
        path: PathBuf,
        name: String,
        index: usize,
        value: f32,
    },
    #[error(
        "{}: tensor {name} has {value} at index {index}, which {dtype} cannot hold; write it as F32",
        text::path(path)
    )]
    DoesNotFit {
        path: PathBuf,
        name: String,
        index: usize,
        value: f32,
        dtype: &'static str,
    },
    #[error("{}: tensor {name}: {what}", text::path(path))]
    Request {
        path: PathBuf,
        name: String,
        what: String,
    },
    #[error("{}: metadata key {key} {what}", text::path(path))]
    Metadata {
        path: PathBuf,
        key: String,
        what: String,
    },
    #[error(
        "{} exists; choose another path, or replace it with --force",
        text::path(path)
    )]
    Exists { path: PathBuf },
    #[error("{} cannot be replaced: {what}", text::path(path))]
    Irreplaceable { path: PathBuf, what: &'static str },
    #[error(
        "{} is being written by another process; wait for it or name another place",
        text::path(path)
    )]
    Busy { path: PathBuf },
    #[error(
        "only {free} MB are free at {}; {need} MB are needed: make room or name another place",
        text::path(path)
    )]
    NoSpace { path: PathBuf, free: u64, need: u64 },
}

/// For callers that name the file themselves.
impl From<TensorError> for io::Error {
    fn from(error: TensorError) -> Self {
        match error {
            TensorError::Io { source, .. } => source,
            other => Self::other(other),
        }
    }
}

impl TensorError {
    /// For `map_err`: something failed at a path.
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }

    pub(super) fn request(path: &Path, name: &str, what: impl Into<String>) -> Self {
        Self::Request {
            path: path.into(),
            name: text::clean(name).into_owned(),
            what: what.into(),
        }
    }
}
