//! The end of a forward pass, where the loss is computed.

use candle_core::{Result, Tensor};

use super::workspace::Workspace;
use crate::ops::{self, Accumulation};

/// The end of a forward pass, where an objective computes the loss and the first gradients.
pub struct Head<'a> {
    /// Holds `x_final` (B T, C), the targets and the losses, both (B T).
    pub(super) ws: &'a Workspace,
    /// The head's weight (V, C), in the type that products read.
    pub(super) weight: &'a Tensor,
    /// Gradient of `x_final` (B T, C): overwritten.
    pub(super) d_x: &'a Tensor,
    /// Gradient of the head's weight (V, C): written or added to.
    pub(super) d_weight: &'a Tensor,
    pub(super) how: Accumulation,
}

impl Head<'_> {
    /// Computes the cross-entropy of every target in nats, and the gradients of `scale` times their sum.
    ///
    /// # Errors
    /// When a target is not in the vocabulary, or an operation fails.
    pub fn cross_entropy(&self, scale: f32) -> Result<()> {
        let ws = self.ws;
        ops::head_cross_entropy(
            ws.compute,
            &ws.losses,
            Some((self.d_x, self.d_weight, self.how)),
            &ws.chunk,
            &ws.x_final,
            self.weight,
            &ws.targets,
            scale,
        )
    }
}
