//! Linear layers.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::columns::{add_rows, column_sums, rows_of_piece};
use super::gemm::{Accumulate, Mat, Threads, matmul};
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
