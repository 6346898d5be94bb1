//! Muon's element-wise loops.

use rayon::prelude::*;

use super::optimizer::sum_of_squares;
use super::{ELEMENTS_PER_TASK, ROWS_PER_TASK};
use crate::ops::Block;

/// Updates the momentum of a block, and writes the direction that follows from it to `x`.
pub fn momentum(
    x: &mut [f32],
    m: &mut [f32],
    g: &[f32],
    block: Block,
    momentum: f32,
    grad_scale: f32,
) {
    assert!(x.len() == block.elements() && m.len() == g.len());
    let (columns, of) = (block.columns, block.first..block.first + block.columns);
    x.par_chunks_mut(ROWS_PER_TASK * columns)
        .zip(m.par_chunks_mut(ROWS_PER_TASK * block.stride))
        .zip(g.par_chunks(ROWS_PER_TASK * block.stride))
        .for_each(|((x, m), g)| {
            let rows = m.chunks_exact_mut(block.stride);
            let rows = rows.zip(g.chunks_exact(block.stride));
            for (x, (m, g)) in x.chunks_exact_mut(columns).zip(rows) {
                let (m, g) = (&mut m[of.clone()], &g[of.clone()]);
                simd!({
                    for ((x, m), g) in x.iter_mut().zip(m).zip(g) {
                        let g = g * grad_scale;
                        *m += (1.0 - momentum) * (g - *m);
                        *x = *m + (1.0 - momentum) * (g - *m);
                    }
                });
            }
        });
}

/// Updates the weights of a block by a step in the direction of `x`.
pub fn weights(p: &mut [f32], x: &[f32], block: Block, keep: f32, lr: f32) {
    assert!(x.len() == block.elements());
    let (columns, of) = (block.columns, block.first..block.first + block.columns);
    p.par_chunks_mut(ROWS_PER_TASK * block.stride)
        .zip(x.par_chunks(ROWS_PER_TASK * columns))
        .for_each(|(p, x)| {
            let rows = p.chunks_exact_mut(block.stride);
            for (p, x) in rows.zip(x.chunks_exact(columns)) {
                let p = &mut p[of.clone()];
                simd!({
                    for (p, x) in p.iter_mut().zip(x) {
                        *p = *p * keep - lr * x;
                    }
                });
            }
        });
}

/// Computes `x = x / max(‖x‖, eps)`.
pub fn to_unit_norm(x: &mut [f32], eps: f32) {
    let norm = (sum_of_squares(x).sqrt() as f32).max(eps);
    x.par_chunks_mut(ELEMENTS_PER_TASK)
        .for_each(|part| simd!(part.iter_mut().for_each(|x| *x /= norm)));
}

/// Computes `out = a out + b x`.
pub fn blend(out: &mut [f32], a: f32, x: &[f32], b: f32) {
    assert!(out.len() == x.len());
    out.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(x.par_chunks(ELEMENTS_PER_TASK))
        .for_each(|(out, x)| {
            simd!({
                for (out, x) in out.iter_mut().zip(x) {
                    *out = a * *out + b * x;
                }
            });
        });
}
