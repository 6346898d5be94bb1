//! Arithmetic of both examples: noise, softmax and the ranks of matrices.

use candle_core::{Device, Result, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::error::DemoError;
use crate::rank::k_stars;

/// Share of the squared singular values that defines the ranks.
pub const TAU: f64 = 0.9;

/// Returns normally distributed numbers of this standard deviation.
pub(super) fn noise(rng: &mut ChaCha8Rng, shape: &[usize], deviation: f64) -> Result<Tensor> {
    let n = shape.iter().product();
    let normal = StandardNormal.sample_iter(rng).take(n);
    let all: Vec<f32> = normal.map(|x: f32| x * deviation as f32).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)
}

/// Computes the softmax over the last dimension from operations for which candle has gradients.
pub(super) fn softmax(scores: &Tensor) -> Result<Tensor> {
    // The largest score cancels in the quotient, so it needs no gradient.
    let largest = scores.max_keepdim(candle_core::D::Minus1)?.detach();
    let e = scores.broadcast_sub(&largest)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(candle_core::D::Minus1)?)
}

/// Returns k* of each matrix of `[N, T, T]`.
pub(super) fn ranks(matrices: &Tensor) -> std::result::Result<Vec<usize>, DemoError> {
    let t = matrices.dim(1)?;
    let values = matrices.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
    k_stars(&values, t, TAU).map_err(|(_, error)| error.into())
}
