//! Forecasts of a phase's result.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::number::null_is_nan;
use crate::run::losses;
use crate::text;

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

/// A choice of the operator at a decision.
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

/// The expected result of a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    #[serde(flatten)]
    pub prospect: Prospect,
    /// Step of the phase that the forecast is for; of a growth, of the round that would begin.
    pub at_phase_step: u64,
    /// The validation loss there; `None`: insufficient data.
    pub final_loss: Option<Interval>,
    /// Difference to the loss of the finished reference (positive: worse).
    pub final_gap: Option<Interval>,
    pub verdict: Verdict,
    /// The basis of the forecast, in one sentence.
    pub why: String,
    pub evaluations_used: usize,
}

impl Forecast {
    /// Puts what is expected into words: `gap +0.0123 ±0.0110 at step 300, will match`; the loss where the gap is not known,
    /// and `insufficient data` where neither is.
    pub fn words(&self) -> String {
        let step = text::thousands(self.at_phase_step);
        match (self.gap_words(), self.loss_words()) {
            (Some(gap), _) => format!("gap {gap} at step {step}, {}", self.verdict),
            (None, Some(loss)) => format!("loss {loss} at step {step}"),
            (None, None) => Verdict::InsufficientData.to_string(),
        }
    }

    /// The expected loss with half the width of its bounds: `2.0123 ±0.0110`.
    pub fn loss_words(&self) -> Option<String> {
        let loss = self.final_loss?;
        Some(losses::loss_words(loss.value, loss.half_width()))
    }

    /// The expected gap, in the same way: `+0.0123 ±0.0110`.
    pub fn gap_words(&self) -> Option<String> {
        let gap = self.final_gap?;
        Some(losses::gap_words(Some(gap.value), Some(gap.half_width())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_in_words_names_the_gap_else_the_loss_else_that_data_is_missing() {
        let interval = |value: f64| Interval {
            value,
            low: value - 0.01,
            high: value + 0.01,
        };
        let mut forecast = Forecast {
            prospect: Prospect::AsPlanned,
            at_phase_step: 1300,
            final_loss: Some(interval(2.05)),
            final_gap: Some(interval(0.05)),
            verdict: Verdict::WillNotMatch,
            why: "a sentence".into(),
            evaluations_used: 8,
        };
        let wanted = "gap +0.0500 ±0.0100 at step 1,300, will not match";
        assert_eq!(forecast.words(), wanted);
        (forecast.final_gap, forecast.verdict) = (None, Verdict::InsufficientData);
        assert_eq!(forecast.words(), "loss 2.0500 ±0.0100 at step 1,300");
        forecast.final_loss = None;
        assert_eq!(forecast.words(), "insufficient data");
    }
}
