//! The baselines that a run plans, for readers without its config.

use serde::{Deserialize, Serialize};

use super::foreign::{LONGEST_PHASE, counted, cut, layers};
use super::start::Start;

/// The number of layers of a model for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// As many as the final model.
    Final,
    /// Half as many.
    HalfFinal,
    Reference,
    Layers(usize),
}

impl Depth {
    /// Returns the number of layers, given those of the final model and of the reference.
    pub fn layers(self, last: usize, reference: usize) -> usize {
        match self {
            Self::Final => last,
            Self::HalfFinal => last / 2,
            Self::Reference => reference,
            Self::Layers(n) => n,
        }
    }
}

/// The number of steps of a model for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// As many as the rounds that made the final model.
    Same,
    Double,
    Steps(u64),
}

impl Length {
    /// Returns the number of steps, given those of the rounds that made the final model.
    pub fn steps(self, same: u64) -> u64 {
        match self {
            Self::Same => same,
            Self::Double => same.saturating_mul(2),
            Self::Steps(n) => n,
        }
    }
}

/// A phase of a baseline that a run plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedBaseline {
    pub name: String,
    /// The number of the phase, from 1.
    pub part: u32,
    pub start: Start,
    pub depth: Depth,
    pub length: Length,
    /// Its training objective in words: `ce`, `distill(reference, alpha 0.4, T 1)`.
    pub objective: String,
    /// FLOPs of a token of its training by those of a model of the run's width and as many layers, without a teacher; absent
    /// where that is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl PlannedBaseline {
    /// Truncates words that are too long for a screen.
    pub(super) fn shorten(&mut self) {
        cut(&mut self.name, LONGEST_PHASE);
        cut(&mut self.objective, LONGEST_PHASE);
    }

    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Depth::Layers(n) = self.depth {
            layers("baselines.depth", n)?;
        }
        match self.length {
            Length::Steps(n) => counted("baselines.length", n),
            _ => Ok(()),
        }
    }
}
