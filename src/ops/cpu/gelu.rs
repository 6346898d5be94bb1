//! GELU with the tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415), GPT-2's `gelu_new`.

use rayon::prelude::*;

use super::ELEMENTS_PER_TASK;
use super::math::{self, Arithmetic};

/// `out = 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
pub fn forward(out: &mut [f32], x: &[f32]) {
    assert_eq!(out.len(), x.len());
    out.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(out, x)| {
            simd!(A => piece::<A>(out, x));
        });
}

/// [`forward`] of a piece, within `simd!`.
#[inline(always)]
pub fn piece<A: Arithmetic>(out: &mut [f32], x: &[f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = x * math::gelu_factor::<A>(x).0;
    }
}

/// `d *= gelu'(x)`.
pub fn backward(d: &mut [f32], x: &[f32]) {
    assert_eq!(d.len(), x.len());
    d.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(d, x)| {
            simd!(A => piece_backward::<A>(d, x));
        });
}

/// [`backward`] of a piece, within `simd!`.
#[inline(always)]
pub fn piece_backward<A: Arithmetic>(d: &mut [f32], x: &[f32]) {
    for (d, &x) in d.iter_mut().zip(x) {
        *d *= math::gelu_factor::<A>(x).1;
    }
}

/// `out = x Φ(x)` with the normal distribution's Φ.
pub fn forward_erf(out: &mut [f32], x: &[f32]) {
    assert_eq!(out.len(), x.len());
    out.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(out, x)| {
            simd!(A => {
                for (o, &x) in out.iter_mut().zip(x) {
                    *o = x * phi::<A>(x);
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
            simd!(A => {
                for (d, &x) in d.iter_mut().zip(x) {
                    let density = INV_SQRT_TAU * math::exp::<A>(-0.5 * x * x);
                    *d *= A::mul_add(x, density, phi::<A>(x));
                }
            });
        });
}

#[inline(always)]
fn phi<A: Arithmetic>(x: f32) -> f32 {
    0.5 * (1.0 + math::erf::<A>(x * std::f32::consts::FRAC_1_SQRT_2))
}
