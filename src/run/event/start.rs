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
        })
    }
}
