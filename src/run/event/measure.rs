//! Measurements: of training steps, of the validation loss, of attention ranks, of the GPU.

use serde::{Deserialize, Serialize};

use super::foreign::{MOST_HEADS, counted, layers, most};
use super::kind::{DropOrder, Kind};
use super::number::{NonFinite, null_is_nan};
use crate::run::gpu_stats::GpuStats;

/// The training since the last such event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainMetrics {
    /// Mean training loss in nats since the last `train` event.
    pub loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonfinite: Option<NonFinite>,
    #[serde(deserialize_with = "null_is_nan")]
    pub lr: f64,
    /// Global gradient norm before clipping (last step).
    pub grad_norm: Option<f64>,
    /// Norm of the weights after the last step, without frozen layers; to six digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_norm: Option<f64>,
    /// Norm of the optimizer's averages of past gradients (AdamW's first moment, Muon's momentum), likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_norm: Option<f64>,
    /// Share of the steps since the last `train` event, or since the phase began, whose gradient was clipped; absent without
    /// clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_rate: Option<f64>,
    /// Tokens since the run began, over all phases.
    pub tokens: u64,
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
}

impl Kind for TrainMetrics {
    const DROPPED: DropOrder = DropOrder::First;

    fn check(&self) -> Result<(), String> {
        counted("tokens", self.tokens)
    }
}

/// An evaluation on the validation windows. Values that are not finite are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy in nats over the windows.
    pub val_loss: Option<f64>,
    /// The loss where it is not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonfinite: Option<NonFinite>,
    /// Standard error of the loss.
    pub stderr: Option<f64>,
    pub windows: usize,
    /// Number of disjoint blocks that the errors are computed over, where the windows overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
    /// Mean paired difference to the reference (positive: worse), with its standard error.
    pub gap: Option<f64>,
    pub gap_stderr: Option<f64>,
    pub matched: bool,
    #[serde(deserialize_with = "null_is_nan")]
    pub seconds: f64,
}

impl Evaluation {
    /// The validation loss, NaN where it is not finite.
    pub fn val_loss(&self) -> f64 {
        self.val_loss.unwrap_or(f64::NAN)
    }

    /// The validation loss as measured: NaN or infinite where it is not finite.
    pub fn measured_val_loss(&self) -> f64 {
        let named = self.nonfinite.map_or(f64::NAN, NonFinite::value);
        self.val_loss.unwrap_or(named)
    }

    /// The standard error of the validation loss, NaN where it is not finite.
    pub fn stderr(&self) -> f64 {
        self.stderr.unwrap_or(f64::NAN)
    }
}

impl Kind for Evaluation {
    const DROPPED: DropOrder = DropOrder::Second;
}

/// A probe of the attention ranks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// MaxRank per layer: max over heads of the mean k* over windows.
    pub max_rank: Vec<f64>,
    /// AvgMass per layer: mean over heads of the mean m*.
    pub avg_mass: Vec<f64>,
    /// Mean k* as `[layer][head]`.
    pub rank: Vec<Vec<f64>>,
    /// Mean share of attention on the first token, as `[layer][head]`; empty in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sink: Vec<Vec<f64>>,
    /// Layers in which every k* is 1, in every head and window.
    pub lazy_layers: Vec<usize>,
    /// Per layer: 1 - mean cosine similarity of a block's input and output (ShortGPT).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub block_influence: Vec<f64>,
    /// Norms of each layer's W_Q and W_K in the gradient of the step before; none before a phase's first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grad_q: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grad_k: Vec<f64>,
    pub windows: usize,
    pub length: usize,
    #[serde(deserialize_with = "null_is_nan")]
    pub tau: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub seconds: f64,
    /// File under `rank/`, relative to the run directory.
    pub file: String,
}

impl Kind for Probe {
    const DROPPED: DropOrder = DropOrder::Second;

    fn check(&self) -> Result<(), String> {
        for (what, n) in [
            ("max_rank", self.max_rank.len()),
            ("avg_mass", self.avg_mass.len()),
            ("rank", self.rank.len()),
            ("sink", self.sink.len()),
            ("lazy_layers", self.lazy_layers.len()),
            ("block_influence", self.block_influence.len()),
            ("grad_q", self.grad_q.len()),
            ("grad_k", self.grad_k.len()),
        ] {
            layers(what, n)?;
        }
        let heads = self.rank.iter().chain(&self.sink).map(Vec::len);
        let heads = heads.max().unwrap_or(0);
        most("heads", heads as u64, MOST_HEADS)
    }
}

impl Kind for GpuStats {
    const DROPPED: DropOrder = DropOrder::Second;
}
