//! What an operator can set in a running training, besides the learning rate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A hyperparameter of AdamW's updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    WeightDecay,
    Clip,
    Beta2,
}

impl Setting {
    pub const ALL: [Self; 3] = [Self::WeightDecay, Self::Clip, Self::Beta2];

    /// The word for it in commands; the key of `[train]`, but for beta2, which is the second of `betas`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WeightDecay => "weight_decay",
            Self::Clip => "clip",
            Self::Beta2 => "beta2",
        }
    }

    /// The key of the config that gives the value which an operator has not set.
    pub fn key(self) -> &'static str {
        match self {
            Self::WeightDecay => "train.weight_decay",
            Self::Clip => "train.clip",
            Self::Beta2 => "train.betas",
        }
    }

    /// Refuses values that AdamW cannot use.
    ///
    /// # Errors
    /// Which values it can.
    pub fn check(self, value: f64) -> Result<(), String> {
        let (fits, range) = match self {
            Self::WeightDecay => ((0.0..=10.0).contains(&value), "in [0, 10]"),
            Self::Clip => (
                (0.0..=1e6).contains(&value),
                "in [0, 1000000], where 0 is no clipping",
            ),
            Self::Beta2 => ((0.0..1.0).contains(&value), "in [0, 1)"),
        };
        match fits {
            true => Ok(()),
            false => Err(format!(
                "set {self}: the value must be {range}, got {value}"
            )),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
