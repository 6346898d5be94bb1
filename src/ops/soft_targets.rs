//! What a student learns from its teacher, as operands of an op.

use candle_core::Tensor;

use super::Precision;

/// What a student learns from its teacher, whose vocabulary is the student's and whose width may be another one.
#[derive(Debug, Clone, Copy)]
pub struct SoftTargets<'a> {
    /// What products of the teacher are computed with.
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
