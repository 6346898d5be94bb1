//! What a model starts from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a model started a phase from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    Random,
    Loaded,
    Inherit,
    Restart,
    Keep,
    Reference,
    /// A model that was trained, its layers twice, one block on the other.
    Stack,
    /// The reference's first layers, twice.
    Hybrid,
    /// The first half of the reference's width.
    HalfWidth,
    /// Parts of layers that were named.
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
