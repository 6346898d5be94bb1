//! GELU with the tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415), GPT-2's `gelu_new`.

use rayon::prelude::*;

use super::{ELEMENTS_PER_TASK, math};

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `out = 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
pub fn forward(out: &mut [f32], x: &[f32]) {
    assert_eq!(out.len(), x.len());
    out.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(out, x)| {
            simd!({
                for (o, &x) in out.iter_mut().zip(x) {
                    let t = math::tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
                    *o = 0.5 * x * (1.0 + t);
                }
            });
        });
}

/// `d *= gelu'(x)`.
pub fn backward(d: &mut [f32], x: &[f32]) {
    assert_eq!(d.len(), x.len());
    d.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(d, x)| {
            simd!({
                for (d, &x) in d.iter_mut().zip(x) {
                    let t = math::tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
                    let inner = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
                    *d *= 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner;
                }
            });
        });
}

/// `out = x Φ(x)` with the normal distribution's Φ.
pub fn forward_erf(out: &mut [f32], x: &[f32]) {
    assert_eq!(out.len(), x.len());
    out.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(out, x)| {
            simd!({
                for (o, &x) in out.iter_mut().zip(x) {
                    *o = x * phi(x);
                }
            });
        });
}

/// `d *= Φ(x) + x φ(x)`.
pub fn backward_erf(d: &mut [f32], x: &[f32]) {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    assert_eq!(d.len(), x.len());
    d.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(d, x)| {
            simd!({
                for (d, &x) in d.iter_mut().zip(x) {
                    *d *= phi(x) + x * INV_SQRT_TAU * math::exp(-0.5 * x * x);
                }
            });
        });
}

#[inline(always)]
fn phi(x: f32) -> f32 {
    0.5 * (1.0 + math::erf(x * std::f32::consts::FRAC_1_SQRT_2))
}
