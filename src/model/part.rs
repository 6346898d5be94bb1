//! The parts of a model that can be inherited.

use serde::{Deserialize, Serialize};

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Attention,
    Mlp,
    /// Both norms of every layer.
    Norms,
    /// The norm before attention.
    AttentionNorm,
    /// The norm before the MLP.
    MlpNorm,
    Embeddings,
    Positions,
    FinalNorm,
    Head,
}

impl Part {
    /// Parts that together make up a model, in the order of tables; each tensor is in exactly one.
    pub const ALL: [Self; 7] = [
        Self::Embeddings,
        Self::Positions,
        Self::Norms,
        Self::Attention,
        Self::Mlp,
        Self::FinalNorm,
        Self::Head,
    ];

    /// Returns the part's name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Norms => "norms",
            Self::AttentionNorm => "attention_norm",
            Self::MlpNorm => "mlp_norm",
            Self::Embeddings => "embeddings",
            Self::Positions => "positions",
            Self::FinalNorm => "final_norm",
            Self::Head => "head",
        }
    }

    /// Whether `part` is this part or belongs to it: both norms of a layer belong to [`Self::Norms`].
    pub fn contains(self, part: Self) -> bool {
        self == part || self == Self::Norms && matches!(part, Self::AttentionNorm | Self::MlpNorm)
    }
}
