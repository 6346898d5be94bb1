//! SwiGLU (Shazeer, arXiv 2002.05202): `silu(gate) * up`.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::math::{self, Arithmetic};

/// `out[M, F]` from `gate_up[M, 2F]`.
pub fn forward(out: &mut [f32], gate_up: &[f32], f: usize) {
    assert!(out.len() * 2 == gate_up.len() && out.len().is_multiple_of(f));
    out.par_chunks_mut(ROWS_PER_TASK * f)
        .zip(gate_up.par_chunks(ROWS_PER_TASK * 2 * f))
        .for_each(|(out, gate_up)| {
            simd!(A => {
                for (out, row) in out.chunks_exact_mut(f).zip(gate_up.chunks_exact(2 * f)) {
                    let (gate, up) = row.split_at(f);
                    for ((o, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                        *o = g * math::sigmoid::<A>(g) * u;
                    }
                }
            });
        });
}

/// `d_gate_up[M, 2F]` from `d[M, F]`.
pub fn backward(d_gate_up: &mut [f32], d: &[f32], gate_up: &[f32], f: usize) {
    assert!(d_gate_up.len() == gate_up.len() && d.len() * 2 == gate_up.len());
    d_gate_up
        .par_chunks_mut(ROWS_PER_TASK * 2 * f)
        .zip(d.par_chunks(ROWS_PER_TASK * f))
        .zip(gate_up.par_chunks(ROWS_PER_TASK * 2 * f))
        .for_each(|((d_gate_up, d), gate_up)| {
            simd!(A => {
                let rows = d_gate_up.chunks_exact_mut(2 * f).zip(d.chunks_exact(f));
                for ((d_row, d), row) in rows.zip(gate_up.chunks_exact(2 * f)) {
                    let (d_gate, d_up) = d_row.split_at_mut(f);
                    let (gate, up) = row.split_at(f);
                    let into = d_gate.iter_mut().zip(d_up);
                    for (((d_gate, d_up), &d), (&g, &u)) in into.zip(d).zip(gate.iter().zip(up)) {
                        let s = math::sigmoid::<A>(g);
                        *d_up = d * g * s;
                        *d_gate = d * u * s * A::mul_add(g, 1.0 - s, 1.0);
                    }
                }
            });
        });
}
