//! The precision of matrix products.

use serde::{Deserialize, Serialize};

/// The precision of the operands of matrix products. Sums are in f32 either way, and on the CPU so is everything else; on a GPU,
/// activations and their gradients are of the operands' type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Precision {
    /// Operands as they are.
    #[default]
    F32,
    /// Operands rounded to bf16 (8 bits of significand).
    Bf16,
}

impl Precision {
    /// Returns its name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}
