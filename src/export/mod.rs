//! Exports models as Hugging Face directories and GGUF files, which other programs load and compute the same results with.
//!
//! [`Subject`] is the model to export, [`plain`] the shape that others read it in. Weights are copied tensor by tensor; a model is never
//! completely in memory. This folder trains nothing and asks the user nothing.

pub(crate) mod card;
mod error;
mod from_gguf;
mod gguf;
mod gguf_tokenizer;
mod hugging_face;
mod job;
mod plain;
mod subject;
mod tokens;

use crate::text;

pub use error::ExportError;
pub use job::Job;
pub use plain::{Form, Plain, plain};
pub use subject::{FromRun, Subject, vocab_without_padding};
pub use tokens::{Special, Tokens};

/// A summary of the export.
#[derive(Debug)]
pub struct Written {
    pub parameters: u64,
    /// The differences from the original, a sentence each.
    pub changes: Vec<String>,
}

/// Writes a model: everything under a temporary name first, so that the target is intact or not there.
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
