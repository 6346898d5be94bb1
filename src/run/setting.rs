//! Settings of a running training besides the learning rate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Highest weight of a source of the training text: readers take numbers beyond 1e15 for damage.
pub const MOST_WEIGHT: f64 = 1e6;

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
                "in [0, 1000000], 0: no clipping",
            ),
            // Updates compute in f32, where a number too near 1 is 1, which no bias can be corrected by.
            Self::Beta2 => (
                (0.0..1.0).contains(&value) && (value as f32) < 1.0,
                "in [0, 1)",
            ),
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
