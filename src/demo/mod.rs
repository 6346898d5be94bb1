//! How attention collapses, in two toys (the authors' attention-collapse-demo, restated in docs/analysis.md): what softmax does to the
//! rank of scores, and what training does to a network of nothing but attention.
//!
//! No text, no run, no terminal: numbers come out as they are found.

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

/// Both toys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demo {
    pub softmax: Sizes,
    pub network: Sizes,
    pub steps: Steps,
}

impl Demo {
    /// Within a minute on two cores; the learning rate is larger as well.
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

    /// As published.
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
