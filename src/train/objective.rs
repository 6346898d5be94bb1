//! The training objectives.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::config::ObjectiveChoice;
use crate::model::{Head, Teacher};

/// The loss at the head of the model in training. Evaluations always measure cross-entropy, whatever is minimised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Objective {
    /// Mean cross-entropy of the next token, in nats.
    #[default]
    CrossEntropy,
    /// Knowledge distillation (Hinton et al., arXiv 1503.02531): `(1 - alpha) CE + alpha T² KL(teacher || student)`, the
    /// divergence of the probabilities at the temperature T, both means over a batch's tokens, in nats.
    Distill { alpha: f64, temperature: f64 },
}

impl Objective {
    /// Returns the teacher if this objective learns from one.
    ///
    /// # Errors
    /// When the objective needs a teacher and `teacher` is `None`.
    pub fn learns_from(self, teacher: Option<&Teacher>) -> Result<Option<&Teacher>> {
        match (self, teacher) {
            (Self::CrossEntropy, _) => Ok(None),
            (Self::Distill { .. }, Some(teacher)) => Ok(Some(teacher)),
            (Self::Distill { .. }, None) => bail!("distillation has no teacher"),
        }
    }

    /// Computes the loss of every token of a pass, and the gradients of `scale` times their sum. A teacher must have read the
    /// pass's windows.
    ///
    /// # Errors
    /// When a teacher is needed and missing, or an operation fails.
    pub fn apply(
        self,
        head: &Head<'_>,
        teacher: Option<&Teacher>,
        scale: f32,
    ) -> candle_core::Result<()> {
        match (self, teacher) {
            (Self::CrossEntropy, _) => head.cross_entropy(scale),
            (Self::Distill { alpha, temperature }, Some(teacher)) => {
                head.distillation(teacher, alpha as f32, temperature as f32, scale)
            }
            (Self::Distill { .. }, None) => candle_core::bail!("distillation has no teacher"),
        }
    }
}

impl From<&ObjectiveChoice> for Objective {
    fn from(choice: &ObjectiveChoice) -> Self {
        match choice {
            ObjectiveChoice::CrossEntropy => Self::CrossEntropy,
            ObjectiveChoice::Distill(distill) => Self::Distill {
                alpha: distill.alpha,
                temperature: distill.temperature,
            },
        }
    }
}
