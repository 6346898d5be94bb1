//! The instructions of rank 0 to all ranks.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::objective::Objective;
use super::optimizer::{Hyperparameters, Moment, Muon};
use super::outcome::Ended;
use super::passes::Passes;
use crate::model::DecoderConfig;

/// One operation that every rank takes part in. Rank 0 announces it before it begins; between two operations it does work that other ranks
/// have no part in, for any length of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Instruction {
    /// Make a learner, which holds no model yet.
    Begin {
        shape: DecoderConfig,
        passes: Passes,
        /// Least elements of gradients that are summed at once.
        bucket: Option<usize>,
    },
    /// Use these passes from the next model on.
    Passes(Passes),
    /// Take a model of this shape into use, whose weights rank 0 gives.
    Replace {
        shape: DecoderConfig,
        trainable: bool,
    },
    /// Take a teacher of this shape into use, whose weights rank 0 gives, or free the present one.
    Teach(Option<DecoderConfig>),
    Step(Order),
    Evaluate,
    /// Measure attention ranks, with this share of k*.
    Probe {
        tau: f64,
    },
    /// Add up the squares of weights and first moments, without these layers.
    Norms(Vec<usize>),
    /// Bring elements of a moment to rank 0.
    Moments {
        moment: Moment,
        range: Range<usize>,
    },
    /// Score documents that rank 0 hands out, with a softmax over this number of rows of the vocabulary.
    Score {
        vocab: usize,
    },
    /// Report the times of the latest steps.
    Pace,
    /// Leave: this process's part ends as rank 0's does.
    End(Ended),
}

/// The windows that a step learns from, drawn alike on every rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    pub seed: u64,
    pub stream: u64,
    pub step: u64,
    /// The weights of the sources of the training text.
    pub weights: Vec<f64>,
    /// Windows of the step, of all ranks together, and tokens of a window.
    pub windows: usize,
    pub time: usize,
}

/// An optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub drawn: Drawn,
    pub objective: Objective,
    lr: f64,
    betas: [f64; 2],
    weight_decay: f64,
    clip: f64,
    frozen: Vec<usize>,
    muon: Option<Muon>,
}

impl Order {
    /// A step on these windows with these hyperparameters.
    pub fn new(drawn: Drawn, objective: Objective, values: &Hyperparameters<'_>) -> Self {
        Self {
            drawn,
            objective,
            lr: values.lr,
            betas: values.betas,
            weight_decay: values.weight_decay,
            clip: values.clip,
            frozen: values.frozen.to_vec(),
            muon: values.muon,
        }
    }

    /// The hyperparameters of the update.
    pub fn values(&self) -> Hyperparameters<'_> {
        Hyperparameters {
            lr: self.lr,
            betas: self.betas,
            weight_decay: self.weight_decay,
            clip: self.clip,
            frozen: &self.frozen,
            muon: self.muon,
        }
    }
}
