//! The parts of a model that inheriting chooses from.

use serde::{Deserialize, Serialize};

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Attention,
    Mlp,
    Norms,
    Embeddings,
    Positions,
    FinalNorm,
    Head,
}

impl Part {
    /// Every part, in the order of tables.
    pub const ALL: [Self; 7] = [
        Self::Embeddings,
        Self::Positions,
        Self::Norms,
        Self::Attention,
        Self::Mlp,
        Self::FinalNorm,
        Self::Head,
    ];

    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Norms => "norms",
            Self::Embeddings => "embeddings",
            Self::Positions => "positions",
            Self::FinalNorm => "final_norm",
            Self::Head => "head",
        }
    }
}
