//! What training minimises.

use candle_core::Result;

use crate::model::Head;

/// The loss at the head of the model in training. Evaluations always measure cross-entropy, whatever is minimised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Objective {
    /// Mean cross-entropy of the next token, in nats.
    #[default]
    CrossEntropy,
}

impl Objective {
    /// Writes the loss of every token of a pass, and the gradients of `scale` times their sum.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn apply(self, head: &Head<'_>, scale: f32) -> Result<()> {
        match self {
            Self::CrossEntropy => head.cross_entropy(scale),
        }
    }
}
