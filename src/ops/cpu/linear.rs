//! Linear layers.

use std::ops::Range;

use rayon::prelude::*;

use super::columns::{add_rows, column_sums, rows_of_piece};
use super::gemm::{Accumulate, Mat, Threads, matmul, matmul_bf16_then};
use super::{ROWS_PER_TASK, Shared, gelu};
use crate::ops::{Layout, Precision};

/// The weight as a `[k, n]` matrix.
fn weight(w: &[f32], layout: Layout, (k, n): (usize, usize)) -> Mat {
    match layout {
        Layout::InOut => Mat::rows(w, n),
        Layout::OutIn => Mat::rows(w, k).t(),
    }
}

/// `out = x w (+ bias) (+ residual)`.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    compute: Precision,
    out: &mut [f32],
    x: &[f32],
    w: &[f32],
    layout: Layout,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    (k, n): (usize, usize),
) {
    let m = out.len() / n;
    assert!(
        out.len() == m * n
            && x.len() == m * k
            && w.len() == k * n
            && bias.is_none_or(|b| b.len() == n)
            && residual.is_none_or(|r| r.len() == m * n),
        "linear: {m}x{k} times {k}x{n}"
    );
    let onto = match (bias, residual) {
        (None, None) => Accumulate::Nothing,
        (Some(bias), None) => Accumulate::Other(Mat::repeated(bias)),
        (None, Some(residual)) => Accumulate::Other(Mat::rows(residual, n)),
        (Some(bias), Some(residual)) if compute == Precision::Bf16 => {
            let onto = Accumulate::Other(Mat::rows(residual, n));
            let at = Shared(out.as_mut_ptr());
            let then = |rows: Range<usize>, columns: Range<usize>| {
                let bias = &bias[columns.clone()];
                simd!(for row in rows {
                    let first = row * n + columns.start;
                    // SAFETY: rows and columns of `out`; the product gives each part to one call, after it has been written.
                    let out = unsafe { std::slice::from_raw_parts_mut(at.at(first), bias.len()) };
                    for (o, b) in out.iter_mut().zip(bias) {
                        *o += b;
                    }
                });
            };
            let (a, b) = (Mat::rows(x, k), weight(w, layout, (k, n)));
            // SAFETY: sizes were asserted; `out` is a separate `&mut`.
            return unsafe {
                matmul_bf16_then((m, k, n), (at.at(0), n), onto, a, b, Threads::All, &then);
            };
        }
        (Some(bias), Some(residual)) => {
            let tasks = out.par_chunks_mut(ROWS_PER_TASK * n);
            let tasks = tasks.zip(residual.par_chunks(ROWS_PER_TASK * n));
            tasks.for_each(|(out, residual)| simd!(sums(out, residual, bias)));
            Accumulate::Out
        }
    };
    // SAFETY: sizes were asserted; `out` is a separate `&mut`.
    unsafe {
        matmul(
            compute,
            (m, k, n),
            out.as_mut_ptr(),
            n,
            onto,
            Mat::rows(x, k),
            weight(w, layout, (k, n)),
            Threads::All,
        );
    }
}

/// `pre = x w (+ bias)` in bf16, and `act = gelu(pre)` part by part, by the thread that computed it, while it is in its cache.
pub fn forward_gelu(
    [act, pre]: [&mut [f32]; 2],
    x: &[f32],
    w: &[f32],
    layout: Layout,
    bias: Option<&[f32]>,
    (k, n): (usize, usize),
) {
    assert_eq!(act.len(), pre.len());
    let m = pre.len() / n;
    assert!(
        pre.len() == m * n
            && x.len() == m * k
            && w.len() == k * n
            && bias.is_none_or(|b| b.len() == n),
        "linear and gelu: {m}x{k} times {k}x{n}"
    );
    let onto = match bias {
        None => Accumulate::Nothing,
        Some(bias) => Accumulate::Other(Mat::repeated(bias)),
    };
    let (act, pre) = (Shared(act.as_mut_ptr()), Shared(pre.as_mut_ptr()));
    let then = |rows: Range<usize>, columns: Range<usize>| {
        simd!(A => {
            for row in rows {
                let at = row * n + columns.start;
                // SAFETY: rows and columns of both, which have the same size; the product gives each part to one call, after it has
                // been written.
                let (act, pre) = unsafe {
                    (
                        std::slice::from_raw_parts_mut(act.at(at), columns.len()),
                        std::slice::from_raw_parts(pre.at(at), columns.len()),
                    )
                };
                gelu::piece::<A>(act, pre);
            }
        });
    };
    let (a, b) = (Mat::rows(x, k), weight(w, layout, (k, n)));
    // SAFETY: sizes were asserted; `pre` is a separate `&mut`.
    unsafe { matmul_bf16_then((m, k, n), (pre.at(0), n), onto, a, b, Threads::All, &then) };
}

#[inline(always)]
fn sums(out: &mut [f32], residual: &[f32], bias: &[f32]) {
    let n = bias.len();
    for (out, residual) in out.chunks_exact_mut(n).zip(residual.chunks_exact(n)) {
        for ((o, r), b) in out.iter_mut().zip(residual).zip(bias) {
            *o = r + b;
        }
    }
}

/// `dx = dy wᵀ`.
pub fn backward_input(
    compute: Precision,
    dx: &mut [f32],
    dy: &[f32],
    w: &[f32],
    layout: Layout,
    (k, n): (usize, usize),
) {
    let m = dy.len() / n;
    assert!(dx.len() == m * k && dy.len() == m * n && w.len() == k * n);
    // SAFETY: sizes were asserted; `dx` is a separate `&mut`.
    unsafe {
        matmul(
            compute,
            (m, n, k),
            dx.as_mut_ptr(),
            k,
            Accumulate::Nothing,
            Mat::rows(dy, n),
            weight(w, layout, (k, n)).t(),
            Threads::All,
        );
    }
}

/// `d_pre = (dy wᵀ) gelu'(pre)` in bf16, part by part as in [`forward_gelu`].
pub fn backward_gelu(
    d_pre: &mut [f32],
    dy: &[f32],
    w: &[f32],
    layout: Layout,
    pre: &[f32],
    (k, n): (usize, usize),
) {
    assert_eq!(d_pre.len(), pre.len());
    let m = dy.len() / n;
    assert!(d_pre.len() == m * k && dy.len() == m * n && w.len() == k * n);
    let d_pre = Shared(d_pre.as_mut_ptr());
    let then = |rows: Range<usize>, columns: Range<usize>| {
        simd!(A => {
            for row in rows {
                let at = row * k + columns.start;
                // SAFETY: rows and columns of `d_pre`; the product gives each part to one call, after it has been written.
                let d = unsafe { std::slice::from_raw_parts_mut(d_pre.at(at), columns.len()) };
                gelu::piece_backward::<A>(d, &pre[at..][..columns.len()]);
            }
        });
    };
    let (a, b) = (Mat::rows(dy, n), weight(w, layout, (k, n)).t());
    let (out, onto) = ((d_pre.at(0), k), Accumulate::Nothing);
    // SAFETY: sizes were asserted; `d_pre` is a separate `&mut`.
    unsafe { matmul_bf16_then((m, n, k), out, onto, a, b, Threads::All, &then) };
}

/// `dw += xᵀ dy`.
pub fn backward_weight(
    compute: Precision,
    dw: &mut [f32],
    layout: Layout,
    x: &[f32],
    dy: &[f32],
    (k, n): (usize, usize),
) {
    let m = dy.len() / n;
    assert!(dw.len() == k * n && x.len() == m * k && dy.len() == m * n);
    let (sizes, a, b) = match layout {
        Layout::InOut => ((k, m, n), Mat::rows(x, k).t(), Mat::rows(dy, n)),
        Layout::OutIn => ((n, m, k), Mat::rows(dy, n).t(), Mat::rows(x, k)),
    };
    // SAFETY: sizes were asserted; `dw` is a separate `&mut`.
    unsafe {
        matmul(
            compute,
            sizes,
            dw.as_mut_ptr(),
            sizes.2,
            Accumulate::Out,
            a,
            b,
            Threads::All,
        );
    }
}

/// `db += Σ_rows dy`.
pub fn backward_bias(db: &mut [f32], dy: &[f32]) {
    let n = db.len();
    let pieces = dy.par_chunks(rows_of_piece(dy.len() / n) * n);
    column_sums(db, pieces, |_, dy, sums| simd!(add_rows(sums, dy)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 7919 % 10007) as f32 - 5000.0) * 3e-4)
            .collect()
    }

    /// The result has the same bits as the product followed by GELU, with and without bias, ragged, with one job and several.
    #[test]
    fn gelu_within_a_product_changes_nothing() {
        let compute = Precision::Bf16;
        for (m, k, n) in [(1, 3, 5), (70, 33, 90), (300, 20, 700)] {
            let (x, w) = (values(m * k, 1), values(k * n, 2));
            let (bias, dy) = (values(n, 3), values(m * n, 4));
            for layout in [Layout::InOut, Layout::OutIn] {
                for bias in [None, Some(&bias[..])] {
                    let [mut pre, mut act] = [vec![9.0; m * n], vec![9.0; m * n]];
                    forward_gelu([&mut act, &mut pre], &x, &w, layout, bias, (k, n));
                    let [mut want, mut want_act] = [vec![0.0; m * n], vec![0.0; m * n]];
                    forward(compute, &mut want, &x, &w, layout, bias, None, (k, n));
                    gelu::forward(&mut want_act, &want);
                    assert!(pre == want && act == want_act, "{m}x{k}x{n}");
                }
                let mut d = vec![9.0; m * k];
                backward_gelu(&mut d, &dy, &w, layout, &x, (k, n));
                let mut want = vec![0.0; m * k];
                backward_input(compute, &mut want, &dy, &w, layout, (k, n));
                gelu::backward(&mut want, &x);
                assert!(d == want, "backward {m}x{k}x{n}");
            }
        }
    }
}
