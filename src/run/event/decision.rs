//! Decisions: the evidence that they rest on, and how they are made.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::forecast::Forecast;
use super::foreign::{LONGEST_SENTENCE, counted, cut, layers};
use super::kind::Kind;
use super::number::null_is_nan;
use crate::run::command::By;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plateau {
    Likely,
    No,
    InsufficientData,
}

/// A forecast of earlier versions, by a line in ln(step): the validation loss with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LineForecast {
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// Phase step the forecast is for.
    pub at_phase_step: u64,
}

/// The estimated cost of a growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthCost {
    pub add: usize,
    /// Reference layers that would be inherited (indices from 0).
    pub source_layers: Vec<usize>,
    pub layers: usize,
    pub parameters: u64,
    /// Parameters, gradients, moments and activations.
    pub memory_bytes: u64,
    /// Estimated from the measured speed and the FLOPs per token, unless `measured`.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    /// Whether the run has trained a model of this size, so that its speed is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub measured: bool,
    /// Hours one round of the grown model takes.
    #[serde(deserialize_with = "null_is_nan")]
    pub hours: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suggestion {
    Grow,
    Stop,
    TrainOn,
    /// The validation loss is far above the best of the round: go back to a checkpoint.
    Rollback,
    /// The gap is not finite, or has no standard error.
    InsufficientData,
}

/// Everything a decision rests on, frozen at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub round: u32,
    pub layers: usize,
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// The reference's validation loss on the same windows.
    #[serde(deserialize_with = "null_is_nan")]
    pub benchmark: f64,
    pub reference_layers: usize,
    /// Mean paired difference (positive: worse than the reference).
    #[serde(deserialize_with = "null_is_nan")]
    pub gap: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub gap_stderr: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub tolerance: f64,
    pub matched: bool,
    /// Slope of the validation loss per 1000 steps over the last evaluations, with its standard error.
    pub slope_per_1k: Option<f64>,
    pub slope_stderr: Option<f64>,
    pub plateau: Plateau,
    /// Forecasts of earlier versions, without and with growth; `None` since.
    pub forecast: Option<LineForecast>,
    pub forecast_grown: Option<LineForecast>,
    /// The expected result of each choice; empty in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecasts: Vec<Forecast>,
    pub lazy_layers: Vec<usize>,
    pub reference_lazy_layers: Vec<usize>,
    /// Cost of growing by `grow.step`; `None` when no layer is left to inherit.
    pub growth: Option<GrowthCost>,
    /// Cost of a round of the present model (`add` 0) and of each growth there is room for; empty in journals of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<GrowthCost>,
    pub suggestion: Suggestion,
    /// The reason for the suggestion, in one sentence.
    pub why: String,
    /// Rules from the literature that apply to a growth at this point, a sentence each; empty in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl Evidence {
    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(in crate::run) fn check(&self) -> Result<(), String> {
        layers("evidence.layers", self.layers)?;
        layers("evidence.reference_layers", self.reference_layers)?;
        layers("evidence.lazy_layers", self.lazy_layers.len())?;
        let lazy = self.reference_lazy_layers.len();
        layers("evidence.reference_lazy_layers", lazy)?;
        layers("evidence.costs", self.costs.len())?;
        layers("evidence.forecasts", self.forecasts.len())?;
        layers("evidence.rules", self.rules.len())?;
        for growth in self.growth.iter().chain(&self.costs) {
            layers("growth.add", growth.add)?;
            layers("growth.layers", growth.layers)?;
            layers("growth.source_layers", growth.source_layers.len())?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionStatus {
    Open,
    Resolved,
}

/// The reason why a decision is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionReason {
    /// The T steps of the round are over.
    EndOfSteps,
    /// The benchmark is matched.
    Matched,
    /// The validation loss has stopped falling.
    Plateau,
    /// By the forecast, the loss will not reach the benchmark by the end of the round.
    Forecast,
    /// The operator asked.
    Asked,
}

impl fmt::Display for DecisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfSteps => "end of steps",
            Self::Matched => "benchmark matched",
            Self::Plateau => "plateau",
            Self::Forecast => "no match in sight",
            Self::Asked => "asked",
        })
    }
}

/// A decision is open, or resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub id: u64,
    pub status: DecisionStatus,
    pub reason: DecisionReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
    /// Step (over all phases) at which the evidence was gathered; absent in journals of earlier versions, which open
    /// decisions at that very step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_step: Option<u64>,
    /// Once resolved: what was chosen (`grow by 2 (restart)`), and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

impl Kind for Decision {
    const DURABLE: bool = true;

    fn shorten(&mut self) {
        if let Some(evidence) = &mut self.evidence {
            cut(&mut evidence.why, LONGEST_SENTENCE);
            for rule in &mut evidence.rules {
                cut(rule, LONGEST_SENTENCE);
            }
            for forecast in &mut evidence.forecasts {
                cut(&mut forecast.why, LONGEST_SENTENCE);
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        counted("evidence_step", self.evidence_step.unwrap_or(0))?;
        self.evidence.as_ref().map_or(Ok(()), |e| e.check())
    }
}
