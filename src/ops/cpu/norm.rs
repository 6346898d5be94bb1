//! LayerNorm (Ba, Kiros and Hinton, arXiv 1607.06450), with the biased variance of PyTorch's, and RMSNorm (Zhang and
//! Sennrich, arXiv 1910.07467).

use rayon::prelude::*;

use super::{ROWS_PER_TASK, math};

/// Writes the normalised rows, and mean and 1/std of each row to `stats[2, M]`.
pub fn forward(
    out: &mut [f32],
    stats: &mut [f32],
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
) {
    let c = w.len();
    let m = x.len() / c;
    assert!(out.len() == m * c && stats.len() == 2 * m && bias.is_none_or(|b| b.len() == c));
    let (mean, rstd) = stats.split_at_mut(m);
    out.par_chunks_mut(ROWS_PER_TASK * c)
        .zip(x.par_chunks(ROWS_PER_TASK * c))
        .zip(mean.par_chunks_mut(ROWS_PER_TASK))
        .zip(rstd.par_chunks_mut(ROWS_PER_TASK))
        .for_each(|(((out, x), mean), rstd)| {
            simd!({
                let rows = out.chunks_exact_mut(c).zip(x.chunks_exact(c));
                for ((out, x), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
                    let mu = math::sum(x) / c as f32;
                    let r = 1.0 / (math::sum_sq(x, mu) / c as f32 + eps).sqrt();
                    *mean = mu;
                    *rstd = r;
                    match bias {
                        Some(b) => {
                            for i in 0..c {
                                out[i] = (x[i] - mu) * r * w[i] + b[i];
                            }
                        }
                        None => {
                            for i in 0..c {
                                out[i] = (x[i] - mu) * r * w[i];
                            }
                        }
                    }
                }
            });
        });
}

/// `out = x / rms(x) * w`; 1/rms goes to the second half of `stats[2, M]`, as LayerNorm's 1/std.
pub fn rms_forward(out: &mut [f32], stats: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    let c = w.len();
    let m = x.len() / c;
    assert!(out.len() == m * c && stats.len() == 2 * m);
    out.par_chunks_mut(ROWS_PER_TASK * c)
        .zip(x.par_chunks(ROWS_PER_TASK * c))
        .zip(stats[m..].par_chunks_mut(ROWS_PER_TASK))
        .for_each(|((out, x), scale)| {
            simd!({
                let rows = out.chunks_exact_mut(c).zip(x.chunks_exact(c));
                for ((out, x), scale) in rows.zip(scale) {
                    let r = 1.0 / (math::sum_sq(x, 0.0) / c as f32 + eps).sqrt();
                    *scale = r;
                    for i in 0..c {
                        out[i] = x[i] * r * w[i];
                    }
                }
            });
        });
}

/// RMSNorm's gradients: `dx += …` and `dw += …`.
pub fn rms_backward(
    dx: &mut [f32],
    dw: &mut [f32],
    dy: &[f32],
    x: &[f32],
    w: &[f32],
    stats: &[f32],
) {
    let c = w.len();
    let m = x.len() / c;
    assert!(dx.len() == m * c && dy.len() == m * c && dw.len() == c && stats.len() == 2 * m);
    let scale = &stats[m..];
    dx.par_chunks_mut(ROWS_PER_TASK * c)
        .enumerate()
        .for_each(|(task, dx)| {
            simd!({
                for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                    let row = task * ROWS_PER_TASK + i;
                    let (x, dy, r) = (&x[row * c..][..c], &dy[row * c..][..c], scale[row]);
                    let mut lanes = [0f32; 16];
                    for i in 0..c {
                        // dy·w·x̂, summed in lanes so that the loop vectorises
                        lanes[i % 16] += dy[i] * w[i] * x[i] * r;
                    }
                    let mean = lanes.iter().sum::<f32>() / c as f32;
                    for i in 0..c {
                        dx[i] += r * (dy[i] * w[i] - x[i] * r * mean);
                    }
                }
            });
        });
    weight_columns(
        dw,
        |part, from, row| {
            let r = scale[row];
            let (x, dy) = (&x[row * c + from..], &dy[row * c + from..]);
            for ((d, x), dy) in part.iter_mut().zip(x).zip(dy) {
                *d += dy * x * r;
            }
        },
        m,
    );
}

/// `dx += …` and `dwb += …` (`[dw]` or `[dw, db]`).
pub fn backward(dx: &mut [f32], dwb: &mut [f32], dy: &[f32], x: &[f32], w: &[f32], stats: &[f32]) {
    let c = w.len();
    let m = x.len() / c;
    assert!(dx.len() == m * c && dy.len() == m * c && stats.len() == 2 * m);
    assert!(dwb.len() == c || dwb.len() == 2 * c);
    let (mean, rstd) = stats.split_at(m);
    dx.par_chunks_mut(ROWS_PER_TASK * c)
        .enumerate()
        .for_each(|(task, dx)| {
            simd!({
                for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                    let row = task * ROWS_PER_TASK + i;
                    let (x, dy) = (&x[row * c..][..c], &dy[row * c..][..c]);
                    input_row(dx, dy, x, w, mean[row], rstd[row]);
                }
            });
        });
    let (dw, db) = dwb.split_at_mut(c);
    weight_columns(
        dw,
        |part, from, row| {
            let (mu, r) = (mean[row], rstd[row]);
            let (x, dy) = (&x[row * c + from..], &dy[row * c + from..]);
            for ((d, x), dy) in part.iter_mut().zip(x).zip(dy) {
                *d += dy * (x - mu) * r;
            }
        },
        m,
    );
    if !db.is_empty() {
        super::linear::backward_bias(db, dy);
    }
}

#[inline(always)]
fn input_row(dx: &mut [f32], dy: &[f32], x: &[f32], w: &[f32], mu: f32, r: f32) {
    let c = w.len();
    let mut lanes = [[0f32; 16]; 2];
    for i in 0..c {
        // dy·w and dy·w·x̂, summed in lanes so that the loop vectorises
        let g = dy[i] * w[i];
        lanes[0][i % 16] += g;
        lanes[1][i % 16] += g * (x[i] - mu) * r;
    }
    let mean_g = lanes[0].iter().sum::<f32>() / c as f32;
    let mean_gx = lanes[1].iter().sum::<f32>() / c as f32;
    for i in 0..c {
        let xhat = (x[i] - mu) * r;
        dx[i] += r * (dy[i] * w[i] - mean_g - xhat * mean_gx);
    }
}

/// Accumulates over rows with columns split over tasks, so that each column has one order of addition.
fn weight_columns(dw: &mut [f32], f: impl Fn(&mut [f32], usize, usize) + Sync, rows: usize) {
    const COLUMNS: usize = 64;
    dw.par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(task, part)| {
            simd!({
                for row in 0..rows {
                    f(part, task * COLUMNS, row);
                }
            });
        });
}
