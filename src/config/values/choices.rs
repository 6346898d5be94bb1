//! Config values that are one of a few words.

use serde::{Deserialize, Serialize};

use crate::model::Part;

/// The parts that are inherited by default: the whole model.
pub const INHERITABLE: [Part; 7] = [
    Part::Attention,
    Part::Mlp,
    Part::Norms,
    Part::Embeddings,
    Part::Positions,
    Part::FinalNorm,
    Part::Head,
];

/// Every part that `inherit.what` may name, in the order of messages.
pub const PARTS: [Part; 9] = [
    Part::Attention,
    Part::Mlp,
    Part::Norms,
    Part::AttentionNorm,
    Part::MlpNorm,
    Part::Embeddings,
    Part::Positions,
    Part::FinalNorm,
    Part::Head,
];

/// The course of a learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Cosine,
    Linear,
    Constant,
    /// Warm up, stay, then decay over the last fifth of the steps.
    Wsd,
}

impl Schedule {
    /// All schedules, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Cosine, Self::Linear, Self::Constant, Self::Wsd];

    /// Returns the schedule of this name in the config.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns its name in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::Constant => "constant",
            Self::Wsd => "wsd",
        }
    }
}

/// The optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerChoice {
    /// AdamW for every tensor.
    AdamW,
    /// Muon for the weights of attention and MLP, AdamW for all other tensors.
    Muon,
}

/// The state that the ranks of a run divide among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardChoice {
    /// Nothing: every rank has the whole optimizer.
    None,
    /// The optimizer: each rank has the moments of its part of the parameters, and updates that part (stage 1 of ZeRO,
    /// arXiv 1910.02054).
    Optimizer,
}

/// The factor on Muon's learning rate by a matrix's shape, under PyTorch's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MuonScale {
    /// `sqrt(max(1, outputs / inputs))`.
    Original,
    /// `0.2 sqrt(max(outputs, inputs))`: updates are about as large as AdamW's (Liu et al., arXiv 2502.16982).
    MatchRmsAdamw,
}

/// Who decides after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// Keep training at `min_lr` until the operator answers.
    Ask,
    /// Pause until the operator answers.
    Pause,
    /// Algorithm 1: grow while worse than the benchmark.
    Auto,
}

impl std::fmt::Display for PolicyMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ask => "ask",
            Self::Pause => "pause",
            Self::Auto => "auto",
        })
    }
}
