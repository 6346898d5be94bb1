//! A teacher's operands for the distillation loss.

use candle_core::Tensor;

use super::Precision;

/// The teacher's side of the distillation loss. Its vocabulary is the student's; its width may differ.
#[derive(Debug, Clone, Copy)]
pub struct SoftTargets<'a> {
    /// Precision of the teacher's products.
    pub compute: Precision,
    /// The teacher's final rows, `[M, C']`.
    pub x: &'a Tensor,
    /// The teacher's head, `[V, C']`.
    pub head: &'a Tensor,
    /// Scratch for the teacher's logits, `[R, V]`.
    pub chunk: &'a Tensor,
    /// Share of the distillation term.
    pub alpha: f32,
    /// Both logits are divided by it.
    pub temperature: f32,
}
