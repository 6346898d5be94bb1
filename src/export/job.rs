//! The settings of an export, and the callback for its progress.

use std::path::PathBuf;

use super::error::ExportError;
use super::plain::Form;
use crate::tensors::{DType, Spec};

/// The form and the place in which a model is written.
pub struct Job<'j> {
    pub form: Form,
    pub dtype: DType,
    /// Most bytes of data in one safetensors file.
    pub shard_bytes: u64,
    pub target: PathBuf,
    /// Whether a model at the target may be replaced.
    pub replace: bool,
    /// Called with the number of values written so far; returns false to stop the writing.
    pub progress: &'j mut dyn FnMut(u64) -> bool,
}

/// Calls `fill` and reports the progress.
pub(super) fn fill_and_report(
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
