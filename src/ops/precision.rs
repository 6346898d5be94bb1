//! What matrix products are computed with.

/// What matrix products are computed with. Sums are in f32 either way, and on the CPU so is everything else; on a GPU, activations
/// and their gradients are of the operands' type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Operands as they are.
    #[default]
    F32,
    /// Operands rounded to bf16 (8 bits of significand).
    Bf16,
}
