//! The parts of the recipe, what they start from, and how the recipe ends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Training or measuring the reference model.
    Reference,
    /// Round n of the recipe, from 1.
    Round(u32),
    /// Control: a random start of the final size, same steps.
    ControlRandom,
    /// Control: the reference continued for the same extra steps.
    ControlReference,
    /// A newer program's phase.
    Other(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => f.write_str("reference"),
            Self::Round(n) => write!(f, "round-{n}"),
            Self::ControlRandom => f.write_str("control-random"),
            Self::ControlReference => f.write_str("control-reference"),
            Self::Other(s) => f.write_str(s),
        }
    }
}

impl From<&str> for Phase {
    fn from(s: &str) -> Self {
        match s {
            "reference" => Self::Reference,
            "control-random" => Self::ControlRandom,
            "control-reference" => Self::ControlReference,
            _ => match s.strip_prefix("round-").and_then(|n| n.parse().ok()) {
                Some(n) => Self::Round(n),
                None => Self::Other(s.to_string()),
            },
        }
    }
}

impl Serialize for Phase {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(d)?.as_str()))
    }
}

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

/// How a recipe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Matched,
    Stopped,
    LimitLayers,
    LimitTokens,
    LimitHours,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matched => "matched",
            Self::Stopped => "stopped",
            Self::LimitLayers => "limit_layers",
            Self::LimitTokens => "limit_tokens",
            Self::LimitHours => "limit_hours",
        })
    }
}
