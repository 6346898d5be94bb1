//! Shows the collapse of attention in two small examples (the authors' attention-collapse-demo, described in docs/analysis.md): the
//! effect of softmax on the rank of scores, and of training on a network that consists of attention only.
//!
//! Depends neither on texts nor on runs nor on terminals: results are passed on as they are found.

mod error;
mod known;
mod math;
mod network;
mod sizes;
mod softmax;

pub use error::DemoError;
pub use known::{Known, Told};
pub use math::TAU;
pub use network::{Probe, train};
pub use sizes::{Sizes, Steps};
pub use softmax::{Head, heads};

/// The settings of both examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demo {
    pub softmax: Sizes,
    pub network: Sizes,
    pub steps: Steps,
}

impl Demo {
    /// Sizes that take less than a minute on two cores, with a larger learning rate.
    pub const REDUCED: Self = Self {
        softmax: Sizes {
            time: 256,
            width: 512,
            heads: 8,
            batch: 8,
        },
        network: Sizes {
            time: 64,
            width: 128,
            heads: 4,
            batch: 8,
        },
        steps: Steps {
            all: 400,
            every: 10,
            lr: 3e-3,
        },
    };

    /// The published sizes.
    pub const FULL: Self = Self {
        softmax: Sizes {
            time: 1024,
            width: 2048,
            heads: 32,
            batch: 8,
        },
        network: Sizes {
            time: 128,
            width: 512,
            heads: 8,
            batch: 16,
        },
        steps: Steps {
            all: 1000,
            every: 50,
            lr: 1e-3,
        },
    };
}
