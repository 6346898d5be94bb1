//! Measures how much the layers of a model matter on a text, and chooses those to keep.
//!
//! Each measure is a function of a model and windows of tokens, in a file of its own that names its paper. None of them
//! changes the model. Hidden states are those of the residual stream between blocks: the last one is taken before the
//! final norm.

mod angular;
mod influence;
mod loss;
mod subject;
#[cfg(test)]
mod tests;

use super::error::InheritError;
use crate::config::Measure;

pub use subject::{Measured, Progress, Round, Subject, Watch};

/// Measures a model's layers and chooses `keep` of them, at most as many as it has. Of layers with equal figures, the lower one
/// is kept by influence, and dropped by the other measures. Returns `None` if `watch` has stopped it.
///
/// # Errors
/// When a window is outside the text, a figure is not finite, or an operation fails.
pub fn measure(
    measure: Measure,
    keep: usize,
    subject: Subject<'_>,
    watch: &mut Watch<'_>,
) -> Result<Option<Measured>, InheritError> {
    let n_layer = subject.model.config.n_layer;
    if keep == 0 || subject.starts.is_empty() {
        return Err(InheritError::Nothing);
    }
    if keep > n_layer {
        return Err(InheritError::TooMany { keep, n_layer });
    }
    match measure {
        Measure::Influence => influence::choose(keep, subject, watch),
        Measure::Angular => angular::choose(keep, subject, watch),
        Measure::Loss => loss::choose(keep, subject, watch),
    }
}
