//! Models out: Hugging Face directories and GGUF files that plain readers load and compute the same with.
//!
//! [`Subject`] is what is exported, [`plain`] the shape that others read it in. Weights pass through tensor by tensor; a
//! model is never whole in memory. This room trains nothing and asks nobody.

mod card;
mod from_gguf;
mod gguf;
mod gguf_tokenizer;
mod hugging_face;
mod plain;
mod subject;
mod tokens;

use std::path::PathBuf;

use crate::model::ModelError;
use crate::tensors::{DType, Spec, TensorError};
use crate::text;
use crate::train::checkpoint::CheckpointError;

pub use plain::{Form, Plain, plain};
pub use subject::{FromRun, Subject, vocab_without_padding};
pub use tokens::Tokens;

/// Why a model is not written.
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

/// How and where a model is written.
pub struct Job<'j> {
    pub form: Form,
    pub dtype: DType,
    /// Most bytes of data in one safetensors file.
    pub shard_bytes: u64,
    pub target: PathBuf,
    /// Whether a model at the target may be replaced.
    pub replace: bool,
    /// Told the values written so far; false ends the writing.
    pub progress: &'j mut dyn FnMut(u64) -> bool,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    pub parameters: u64,
    /// What is different from the original, a sentence each.
    pub changes: Vec<String>,
}

/// Writes a model: everything under a temporary name first, so that the target is whole or not there.
///
/// # Errors
/// When the form cannot hold the model, the target exists and may not be replaced or is the model itself, the original
/// is damaged, or the disk is full. The target is then as it was before.
pub fn export(subject: &Subject, job: Job) -> Result<Written, ExportError> {
    if job
        .target
        .canonicalize()
        .is_ok_and(|target| subject.is_at(&target))
    {
        return Err(ExportError::Form(format!(
            "{} is the model itself; name another place",
            text::path(&job.target)
        )));
    }
    let mut plain = plain(
        &subject.files.config,
        subject.ids_without_padding(),
        job.form,
    )?;
    let parameters = plain.config.parameters();
    match job.form {
        Form::HuggingFace => hugging_face::save(subject, &mut plain, job)?,
        Form::Gguf => gguf::save(subject, &mut plain, job)?,
    }
    Ok(Written {
        parameters,
        changes: plain.changes,
    })
}

/// Calls `fill` and tells the progress.
fn fill_and_tell(
    spec: &Spec,
    out: &mut [f32],
    written: &mut u64,
    progress: &mut dyn FnMut(u64) -> bool,
    fill: impl FnOnce(&mut [f32]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    debug_assert_eq!(out.len(), spec.shape.iter().product::<usize>());
    fill(out)?;
    *written += out.len() as u64;
    match progress(*written) {
        true => Ok(()),
        false => Err(ExportError::Interrupted),
    }
}
