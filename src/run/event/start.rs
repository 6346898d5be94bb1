//! The weights that a model starts from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The weights with which a model started a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    Random,
    Loaded,
    Inherit,
    Restart,
    Keep,
    Reference,
    /// A trained model's block of layers, stacked twice.
    Stack,
    /// The reference's first layers, stacked twice.
    Hybrid,
    /// The first half of the reference's width.
    HalfWidth,
    /// Parts of named layers.
    Layers,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Loaded => "loaded",
            Self::Inherit => "inherit",
            Self::Restart => "restart",
            Self::Keep => "keep",
            Self::Reference => "reference",
            Self::Stack => "stack",
            Self::Hybrid => "hybrid",
            Self::HalfWidth => "half_width",
            Self::Layers => "layers",
        })
    }
}
