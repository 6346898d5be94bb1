//! What a phase is expected to come to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::number::null_is_nan;

/// A value with the bounds that are expected to hold it in nine of ten cases, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub low: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub high: f64,
}

impl Interval {
    /// Half its width.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// The same interval, `by` lower.
    pub fn lowered(&self, by: f64) -> Self {
        Self {
            value: self.value - by,
            low: self.low - by,
            high: self.high - by,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} ±{:.4}", self.value, self.half_width())
    }
}

/// Whether the gap at the end of a phase will be within the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    #[serde(rename = "will match")]
    WillMatch,
    #[serde(rename = "will not match")]
    WillNotMatch,
    #[serde(rename = "too close to call")]
    TooClose,
    #[serde(rename = "insufficient data")]
    InsufficientData,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WillMatch => "will match",
            Self::WillNotMatch => "will not match",
            Self::TooClose => "too close to call",
            Self::InsufficientData => "insufficient data",
        })
    }
}

/// What an operator can do at a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "choice", rename_all = "snake_case")]
pub enum Prospect {
    /// The phase ends as it is planned now.
    AsPlanned,
    /// It ends this many steps from here.
    TrainOn { steps: u64 },
    /// A round with this many more layers.
    Grow { layers: usize },
}

/// What a phase is expected to come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    #[serde(flatten)]
    pub prospect: Prospect,
    /// Step of the phase that the forecast is for; of a growth, of the round that would begin.
    pub at_phase_step: u64,
    /// The validation loss there; `None`: insufficient data.
    pub final_loss: Option<Interval>,
    /// How far it is above the loss of the finished reference (positive: worse).
    pub final_gap: Option<Interval>,
    pub verdict: Verdict,
    /// What the forecast rests on, in one sentence.
    pub why: String,
    pub evaluations_used: usize,
}
