//! The tied language-model head: logits, and cross entropy whose gradients are made in the forward pass.

use rayon::prelude::*;

use super::{Mat, Threads, math, matmul, simd};

/// `logits = x wteᵀ`.
pub fn logits(logits: &mut [f32], x: &[f32], wte: &[f32], c: usize, v: usize) {
    let m = x.len() / c;
    assert!(logits.len() == m * v && wte.len() == v * c);
    // SAFETY: sizes were asserted; `logits` is a separate `&mut`.
    unsafe {
        matmul(
            (m, c, v),
            logits.as_mut_ptr(),
            v,
            false,
            Mat::rows(x, c),
            Mat::rows(wte, c).t(),
            1.0,
            Threads::All,
        );
    }
}

/// Loss of every row, and with `grads = (dx, dwte)` the gradients of their sum times `scale`: `dx = …`,
/// `dwte += …`. Rows are done in pieces that fit `chunk`.
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy(
    losses: &mut [f32],
    mut grads: Option<(&mut [f32], &mut [f32])>,
    chunk: &mut [f32],
    x: &[f32],
    wte: &[f32],
    targets: &[u32],
    scale: f32,
    c: usize,
) {
    let v = wte.len() / c;
    let rows = chunk.len() / v;
    assert!(rows > 0 && losses.len() == targets.len() && x.len() == targets.len() * c);
    for (piece, losses) in losses.chunks_mut(rows).enumerate() {
        let (from, m) = (piece * rows, losses.len());
        let x = &x[from * c..][..m * c];
        let chunk = &mut chunk[..m * v];
        logits(chunk, x, wte, c, v);
        let want_grads = grads.is_some();
        chunk
            .par_chunks_mut(v)
            .zip(losses.par_iter_mut())
            .zip(&targets[from..from + m])
            .for_each(|((row, loss), &target)| {
                *loss = simd(|| loss_row(row, target as usize, want_grads, scale));
            });
        if let Some((dx, dwte)) = &mut grads {
            // SAFETY: `chunk` is m x v, `wte` and `dwte` v x c, `dx`'s piece m x c; all are separate.
            unsafe {
                matmul(
                    (m, v, c),
                    dx[from * c..][..m * c].as_mut_ptr(),
                    c,
                    false,
                    Mat::rows(chunk, v),
                    Mat::rows(wte, c),
                    1.0,
                    Threads::All,
                );
                matmul(
                    (v, m, c),
                    dwte[..v * c].as_mut_ptr(),
                    c,
                    true,
                    Mat::rows(chunk, v).t(),
                    Mat::rows(x, c),
                    1.0,
                    Threads::All,
                );
            }
        }
    }
}

/// Cross entropy of one row of logits; with `grad` the row becomes `scale · (softmax - onehot)`.
#[inline(always)]
fn loss_row(row: &mut [f32], target: usize, grad: bool, scale: f32) -> f32 {
    let max = math::max(row);
    let at_target = row[target];
    for z in row.iter_mut() {
        *z = math::exp(*z - max);
    }
    let total = math::sum(row);
    if grad {
        let factor = scale / total;
        for z in row.iter_mut() {
            *z *= factor;
        }
        row[target] -= scale;
    }
    total.ln() + (max - at_target)
}
