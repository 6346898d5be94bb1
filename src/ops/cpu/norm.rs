//! LayerNorm (Ba, Kiros and Hinton, arXiv 1607.06450), with the biased variance of PyTorch's, and RMSNorm (Zhang and
//! Sennrich, arXiv 1910.07467).

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::columns::{column_sums, rows_of_piece};
use super::math::{self, Arithmetic, LANES};

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
            simd!(A => {
                let rows = out.chunks_exact_mut(c).zip(x.chunks_exact(c));
                for ((out, x), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
                    let mu = math::sum(x) / c as f32;
                    let r = 1.0 / (math::sum_sq::<A>(x, mu) / c as f32 + eps).sqrt();
                    *mean = mu;
                    *rstd = r;
                    match bias {
                        Some(b) => {
                            for ((o, x), (w, b)) in out.iter_mut().zip(x).zip(w.iter().zip(b)) {
                                *o = A::mul_add((x - mu) * r, *w, *b);
                            }
                        }
                        None => {
                            for ((o, x), w) in out.iter_mut().zip(x).zip(w) {
                                *o = (x - mu) * r * w;
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
            simd!(A => {
                let rows = out.chunks_exact_mut(c).zip(x.chunks_exact(c));
                for ((out, x), scale) in rows.zip(scale) {
                    let r = 1.0 / (math::sum_sq::<A>(x, 0.0) / c as f32 + eps).sqrt();
                    *scale = r;
                    for ((o, x), w) in out.iter_mut().zip(x).zip(w) {
                        *o = x * r * w;
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
    let each = rows_of_piece(m);
    column_sums(dw, dx.par_chunks_mut(each * c), |piece, dx, dw| {
        simd!(A => {
            for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                let row = piece * each + i;
                let (x, dy) = (&x[row * c..][..c], &dy[row * c..][..c]);
                rms_row::<A>(dx, dw, dy, x, w, scale[row]);
            }
        });
    });
}

#[inline(always)]
fn rms_row<A: Arithmetic>(
    dx: &mut [f32],
    dw: &mut [f32],
    dy: &[f32],
    x: &[f32],
    w: &[f32],
    r: f32,
) {
    let n = dx.len();
    let (dw, dy, x, w) = (&mut dw[..n], &dy[..n], &x[..n], &w[..n]);
    let [_, sum] = input_sums::<A>(dy, x, w, 0.0);
    let factor = r * r * (sum / n as f32);
    for i in 0..n {
        dx[i] = A::mul_add(r, A::mul_add(dy[i], w[i], -(x[i] * factor)), dx[i]);
    }
    for i in 0..n {
        dw[i] = A::mul_add(dy[i], x[i] * r, dw[i]);
    }
}

/// LayerNorm's gradients: `dx += …` and `dwb += …` (`[dw]` or `[dw, db]`).
pub fn backward(dx: &mut [f32], dwb: &mut [f32], dy: &[f32], x: &[f32], w: &[f32], stats: &[f32]) {
    let c = w.len();
    let m = x.len() / c;
    assert!(dx.len() == m * c && dy.len() == m * c && stats.len() == 2 * m);
    assert!(dwb.len() == c || dwb.len() == 2 * c);
    let (mean, rstd) = stats.split_at(m);
    let each = rows_of_piece(m);
    column_sums(dwb, dx.par_chunks_mut(each * c), |piece, dx, dwb| {
        simd!(A => {
            let (dw, db) = dwb.split_at_mut(c);
            for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                let row = piece * each + i;
                let (x, dy) = (&x[row * c..][..c], &dy[row * c..][..c]);
                layer_row::<A>(dx, dw, dy, x, w, (mean[row], rstd[row]));
                for (db, dy) in db.iter_mut().zip(dy) {
                    *db += dy;
                }
            }
        });
    });
}

#[inline(always)]
fn layer_row<A: Arithmetic>(
    dx: &mut [f32],
    dw: &mut [f32],
    dy: &[f32],
    x: &[f32],
    w: &[f32],
    (mu, r): (f32, f32),
) {
    let n = dx.len();
    let (dw, dy, x, w) = (&mut dw[..n], &dy[..n], &x[..n], &w[..n]);
    let [sum, sum_x] = input_sums::<A>(dy, x, w, mu);
    let (mean, mean_x) = (sum / n as f32, r * r * (sum_x / n as f32));
    // Two loops of few operands each, since one of all of them would not be vectorised.
    for i in 0..n {
        let g = A::mul_add(dy[i], w[i], -mean);
        dx[i] = A::mul_add(r, A::mul_add(mu - x[i], mean_x, g), dx[i]);
    }
    for i in 0..n {
        dw[i] = A::mul_add(dy[i], (x[i] - mu) * r, dw[i]);
    }
}

/// `Σ dy w` and `Σ dy w (x - mean)` of a row.
#[inline(always)]
fn input_sums<A: Arithmetic>(dy: &[f32], x: &[f32], w: &[f32], mean: f32) -> [f32; 2] {
    let mut lanes = [[0f32; LANES]; 2];
    let mut add = |i: usize, dy: f32, x: f32, w: f32| {
        let g = dy * w;
        lanes[0][i] += g;
        lanes[1][i] = A::mul_add(g, x - mean, lanes[1][i]);
    };
    let chunks = (
        dy.chunks_exact(LANES),
        x.chunks_exact(LANES),
        w.chunks_exact(LANES),
    );
    let rests = (
        chunks.0.remainder(),
        chunks.1.remainder(),
        chunks.2.remainder(),
    );
    for ((dy, x), w) in chunks.0.zip(chunks.1).zip(chunks.2) {
        for i in 0..LANES {
            add(i, dy[i], x[i], w[i]);
        }
    }
    for (i, ((dy, x), w)) in rests.0.iter().zip(rests.1).zip(rests.2).enumerate() {
        add(i, *dy, *x, *w);
    }
    lanes.map(math::total)
}
