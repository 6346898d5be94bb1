//! How attention collapses, in two toys (the authors' attention-collapse-demo, restated in docs/analysis.md): what softmax does to the
//! rank of scores, and what training does to a network of nothing but attention.
//!
//! No text, no run, no terminal: numbers come out as they are found.

mod known;
mod network;
mod softmax;

use candle_core::{Device, Result, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

pub use known::{Known, Told};
pub use network::{Probe, train};
pub use softmax::{Head, heads};

use crate::rank::{RankError, k_stars};

/// Share of the squared singular values that ranks are taken at.
pub const TAU: f64 = 0.9;

/// Sizes of one toy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Tokens of a window.
    pub time: usize,
    pub width: usize,
    pub heads: usize,
    pub batch: usize,
}

/// How long the network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    pub all: usize,
    /// Steps between probes.
    pub every: usize,
    /// Adam's learning rate.
    pub lr: f64,
}

/// Both toys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demo {
    pub softmax: Sizes,
    pub network: Sizes,
    pub steps: Steps,
}

impl Demo {
    /// Within a minute on two cores; the learning rate is larger, too.
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

impl Sizes {
    fn head_size(self) -> usize {
        self.width / self.heads
    }
}

/// What stops a toy.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Rank(#[from] RankError),
}

/// Normal numbers of this deviation.
fn noise(rng: &mut ChaCha8Rng, shape: &[usize], deviation: f64) -> Result<Tensor> {
    let n = shape.iter().product();
    let normal = StandardNormal.sample_iter(rng).take(n);
    let all: Vec<f32> = normal.map(|x: f32| x * deviation as f32).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)
}

/// Softmax over the last dimension, of ops that candle has gradients of.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    // The largest drops out of the quotient: no gradient need pass it.
    let largest = scores.max_keepdim(candle_core::D::Minus1)?.detach();
    let e = scores.broadcast_sub(&largest)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(candle_core::D::Minus1)?)
}

/// k* of each matrix of `[N, T, T]`.
fn ranks(matrices: &Tensor) -> std::result::Result<Vec<usize>, DemoError> {
    let t = matrices.dim(1)?;
    let values = matrices.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
    k_stars(&values, t, TAU).map_err(|(_, error)| error.into())
}
