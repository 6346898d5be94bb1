//! What a phase has come to, and what a decision rests on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Start, null_is_nan};

/// A row of the final table, and of `show --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseResult {
    pub layers: usize,
    pub parameters: u64,
    /// Optimizer steps really taken in this phase.
    pub steps: u64,
    /// Tokens trained on in this phase.
    pub tokens: u64,
    /// Mean cross-entropy in nats over the fixed validation windows.
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    /// Standard error of that mean over windows.
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// Mean paired difference to the reference (positive: worse). `None` for the reference.
    pub gap: Option<f64>,
    /// Standard error (ddof 1) of the paired differences.
    pub gap_stderr: Option<f64>,
    /// Training steps only.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    /// With evaluation and probes.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second_wall: f64,
    pub lazy_layers: Vec<usize>,
    /// MaxRank per layer.
    pub max_rank: Vec<f64>,
    pub start: Start,
    pub matched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plateau {
    Likely,
    No,
    InsufficientData,
}

/// A forecast of the validation loss with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// Phase step the forecast is for.
    pub at_phase_step: u64,
}

/// What a growth would cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthCost {
    pub add: usize,
    /// Reference layers that would be inherited (indices from 0).
    pub source_layers: Vec<usize>,
    pub layers: usize,
    pub parameters: u64,
    /// Parameters, gradients, moments and activations.
    pub memory_bytes: u64,
    /// Estimated from the measured speed and the FLOPs per token.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
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
    /// Forecast after `round_steps` more steps without growth; `None`: insufficient data.
    pub forecast: Option<Forecast>,
    /// Forecast with growth; `None` until two growths have been seen.
    pub forecast_grown: Option<Forecast>,
    pub lazy_layers: Vec<usize>,
    pub reference_lazy_layers: Vec<usize>,
    /// Cost of growing by `grow.step`; `None` when no layer is left to inherit.
    pub growth: Option<GrowthCost>,
    /// Cost of a round of the present model (`add` 0) and of each growth there is room for; empty in journals of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<GrowthCost>,
    pub suggestion: Suggestion,
    /// Why, in one sentence.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionStatus {
    Open,
    Resolved,
}

/// Why a decision is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionReason {
    /// The T steps of the round are over.
    EndOfSteps,
    /// The benchmark is matched.
    Matched,
    /// The validation loss no longer falls.
    Plateau,
    /// The operator asked.
    Asked,
}

impl fmt::Display for DecisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfSteps => "end of steps",
            Self::Matched => "benchmark matched",
            Self::Plateau => "plateau",
            Self::Asked => "asked",
        })
    }
}
