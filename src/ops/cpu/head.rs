//! The language-model head: logits, cross entropy whose gradients are computed in the forward pass, and log-likelihoods for
//! scores, without a `[M, V]` matrix in memory.

use std::cell::Cell;

use rayon::prelude::*;

use super::Shared;
use super::gemm::{Accumulate, Isa, Mat, Packed, Side, Threads, fill_both, matmul, multiply};
use super::math::{self, Arithmetic};
use crate::ops::Precision;

/// `logits = x wteᵀ`.
pub fn logits(compute: Precision, logits: &mut [f32], x: &[f32], wte: &[f32], c: usize, v: usize) {
    let m = x.len() / c;
    assert!(logits.len() == m * v && wte.len() == v * c);
    // SAFETY: sizes were asserted; `logits` is a separate `&mut`.
    unsafe {
        matmul(
            compute,
            (m, c, v),
            logits.as_mut_ptr(),
            v,
            Accumulate::Nothing,
            Mat::rows(x, c),
            Mat::rows(wte, c).t(),
            Threads::All,
        );
    }
}

/// The targets of losses.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// `[M, C]`.
    pub x: &'a [f32],
    /// `[V, C]`.
    pub wte: &'a [f32],
    pub targets: &'a [u32],
    /// Factor of the gradients.
    pub scale: f32,
}

impl Operands<'_> {
    /// M, C and V.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let (m, c) = (self.targets.len(), self.x.len() / self.targets.len());
        assert!(self.x.len() == m * c && self.wte.len().is_multiple_of(c));
        (m, c, self.wte.len() / c)
    }
}

/// `dx` and `dwte`.
type Grads<'a> = Option<(&'a mut [f32], &'a mut [f32])>;

/// Loss of every row, and with `grads = (dx, dwte)` the gradients of their sum times the scale: `dx = …`,
/// `dwte += …`. `chunk` is scratch for whole rows of logits.
pub fn cross_entropy(
    compute: Precision,
    losses: &mut [f32],
    grads: Grads<'_>,
    chunk: &mut [f32],
    of: Operands<'_>,
) {
    assert_eq!(losses.len(), of.targets.len());
    if let Some((dx, dwte)) = &grads {
        assert!(dx.len() == of.x.len() && dwte.len() == of.wte.len());
    }
    match compute {
        Precision::F32 => by_rows(losses, grads, chunk, of),
        Precision::Bf16 => by_columns(losses, grads, of),
    }
}

/// Computes losses and gradients in pieces of complete rows, for f32: each product is computed once.
fn by_rows(losses: &mut [f32], mut grads: Grads<'_>, chunk: &mut [f32], of: Operands<'_>) {
    let Operands {
        x,
        wte,
        targets,
        scale,
    } = of;
    let (m, c, v) = of.sizes();
    let rows = rows_of_piece(m, chunk, v);
    for (piece, losses) in losses.chunks_mut(rows).enumerate() {
        let (from, m) = (piece * rows, losses.len());
        let x = &x[from * c..][..m * c];
        let chunk = &mut chunk[..m * v];
        logits(Precision::F32, chunk, x, wte, c, v);
        let want_grads = grads.is_some();
        chunk
            .par_chunks_mut(v)
            .zip(losses.par_iter_mut())
            .zip(&targets[from..from + m])
            .for_each(|((row, loss), &target)| {
                *loss = simd!(A => loss_row::<A>(row, target as usize, want_grads, scale));
            });
        if let Some((dx, dwte)) = &mut grads {
            let dx = &mut dx[from * c..][..m * c];
            input_gradients(Precision::F32, chunk, (dx, dwte), x, wte, (m, c, v));
        }
    }
}

/// Returns the number of rows of a piece of `m` rows of logits. Pieces are few and of similar size: each reads the weights, and
/// reads and writes their gradients.
fn rows_of_piece(m: usize, chunk: &[f32], v: usize) -> usize {
    let rows = chunk.len() / v;
    assert!(rows > 0, "no room for a row of logits");
    m.div_ceil(m.div_ceil(rows))
}

/// Computes the log-likelihoods of all targets in nats; `chunk` is scratch for complete rows of logits.
///
/// In f32 the exponentials of a row are summed in f64. Next to one that is close to 1, a sum in f32 loses those below
/// 6e-8, which are most of a vocabulary: up to 1e-5 nats a token, always in the same direction.
pub fn log_likelihoods(compute: Precision, chunk: &mut [f32], of: Operands<'_>) -> Vec<f64> {
    if of.targets.is_empty() {
        return Vec::new();
    }
    let (m, c, v) = of.sizes();
    if compute == Precision::Bf16 {
        let mut losses = vec![0.0; m];
        by_columns(&mut losses, None, of);
        return losses.into_iter().map(|loss| -f64::from(loss)).collect();
    }
    let mut all = vec![0.0; m];
    let rows = rows_of_piece(m, chunk, v);
    for (piece, all) in all.chunks_mut(rows).enumerate() {
        let (from, m) = (piece * rows, all.len());
        let chunk = &mut chunk[..m * v];
        logits(compute, chunk, &of.x[from * c..][..m * c], of.wte, c, v);
        chunk
            .par_chunks(v)
            .zip(all)
            .zip(&of.targets[from..from + m])
            .for_each(|((row, found), &target)| {
                *found = simd!(A => log_likelihood::<A>(row, target as usize));
            });
    }
    all
}

/// Returns the log-likelihood of a target from its row of logits.
#[inline(always)]
fn log_likelihood<A: Arithmetic>(row: &[f32], target: usize) -> f64 {
    let max = math::max::<A>(row);
    f64::from(row[target]) - f64::from(max) - math::sum_of_exp_f64::<A>(row, max).ln()
}

/// Propagates the gradients `d` of m rows of logits to the head's operands: `dx = d wte`, `dwte += dᵀ x`.
pub(super) fn input_gradients(
    compute: Precision,
    d: &[f32],
    (dx, dwte): (&mut [f32], &mut [f32]),
    x: &[f32],
    wte: &[f32],
    (m, c, v): (usize, usize, usize),
) {
    assert!(d.len() == m * v && x.len() == m * c && wte.len() == v * c);
    assert!(dx.len() == x.len() && dwte.len() == wte.len());
    // SAFETY: sizes were asserted: `d` is m x v, `wte` and `dwte` v x c, `x` and `dx` m x c; `dx` and `dwte` are separate `&mut`s.
    unsafe {
        matmul(
            compute,
            (m, v, c),
            dx.as_mut_ptr(),
            c,
            Accumulate::Nothing,
            Mat::rows(d, v),
            Mat::rows(wte, c),
            Threads::All,
        );
        matmul(
            compute,
            (v, m, c),
            dwte.as_mut_ptr(),
            c,
            Accumulate::Out,
            Mat::rows(d, v).t(),
            Mat::rows(x, c),
            Threads::All,
        );
    }
}

/// Cross entropy of one row of logits; with `grad` the row becomes `scale · (softmax - onehot)`.
#[inline(always)]
fn loss_row<A: Arithmetic>(row: &mut [f32], target: usize, grad: bool, scale: f32) -> f32 {
    let max = math::max::<A>(row);
    let at_target = row[target];
    let total = math::exp_in_place::<A>(row, max);
    if grad {
        let factor = scale / total;
        for z in row.iter_mut() {
            *z *= factor;
        }
        row[target] -= scale;
    }
    total.ln() + (max - at_target)
}

/// Columns of the vocabulary whose logits exist at once, and most rows that a task handles of them: what it works on stays
/// in its second-level cache.
const COLUMNS: usize = 512;
const ROWS: usize = 128;

/// Buffers that are kept between calls.
#[derive(Default)]
struct Kept {
    x_left: Packed,
    x_right: Packed,
    w_logits: Packed,
    w_input: Packed,
    d_left: Packed,
    /// Each row's log-sum-exp; while it is being found, the largest logit so far, and then the sum of exponentials.
    lse: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static KEPT: Cell<Kept> = Cell::default();
    /// A task's logits, and their gradients packed.
    static TASK: Cell<(Vec<f32>, Packed)> = Cell::default();
}

/// Computes losses and gradients in blocks of the vocabulary, for bf16, whose products are so fast that reading and writing logits would
/// take longer than computing them twice: once for the log-sum-exp, and again for the gradients (Wijmans et al., "Cut your losses in
/// large-vocabulary language models", arXiv 2411.09009, keep no logits either).
fn by_columns(losses: &mut [f32], grads: Grads<'_>, of: Operands<'_>) {
    let Operands {
        x, wte, targets, ..
    } = of;
    let (m, c, v) = of.sizes();
    let (unit, mut kept) = (Isa::chosen(), KEPT.take());
    let tasks = 2 * rayon::current_num_threads();
    let rows = m.div_ceil(tasks).next_multiple_of(32).min(ROWS);
    kept.lse.clear();
    kept.lse.resize(m, f32::NEG_INFINITY);
    kept.sums.clear();
    kept.sums.resize(m, 0.0);
    // SAFETY: all operands have the sizes that the caller asserted; every task writes its own rows or depths.
    unsafe {
        let left = &mut kept.x_left;
        left.fill(unit, Side::Left, Mat::rows(x, c), m, c, Threads::All);
    }
    let left = kept.x_left.all();
    for (from, n) in blocks(v) {
        let w = &wte[from * c..][..n * c];
        // SAFETY: as above.
        unsafe {
            let w_logits = &mut kept.w_logits;
            w_logits.fill(unit, Side::Right, Mat::rows(w, c), n, c, Threads::All);
        }
        let right = kept.w_logits.all();
        kept.lse
            .par_chunks_mut(rows)
            .zip(kept.sums.par_chunks_mut(rows))
            .zip(losses.par_chunks_mut(rows))
            .zip(targets.par_chunks(rows))
            .enumerate()
            .for_each(|(task, (((max, sums), at_target), targets))| {
                let (first, rows) = (task * rows, targets.len());
                let (mut logits, packed) = TASK.take();
                let stride = room(&mut logits, rows, n);
                // SAFETY: there is room for `rows` rows, `stride` apart.
                unsafe {
                    let left = left.rows(first, first + rows);
                    let into = logits.as_mut_ptr();
                    multiply(
                        unit,
                        left,
                        right,
                        into,
                        stride,
                        Accumulate::Nothing,
                        Threads::One,
                    );
                }
                simd!(A => {
                    let each = max.iter_mut().zip(sums).zip(at_target).zip(targets);
                    for (row, (((max, sum), at_target), &target)) in logits.chunks(stride).zip(each)
                    {
                        let row = &row[..n];
                        gather::<A>(row, max, sum);
                        if let Some(&logit) = row.get((target as usize).wrapping_sub(from)) {
                            *at_target = logit;
                        }
                    }
                });
                TASK.set((logits, packed));
            });
    }
    for ((lse, sum), loss) in kept.lse.iter_mut().zip(&kept.sums).zip(losses) {
        *lse += sum.ln();
        *loss = *lse - *loss;
    }
    if let Some(grads) = grads {
        kept.gradients(unit, grads, of, rows);
    }
    KEPT.set(kept);
}

impl Kept {
    fn gradients(
        &mut self,
        unit: Isa,
        (dx, dwte): (&mut [f32], &mut [f32]),
        of: Operands<'_>,
        rows: usize,
    ) {
        let Operands {
            x,
            wte,
            targets,
            scale,
        } = of;
        let (m, c, v) = of.sizes();
        // SAFETY: as in `by_columns`.
        unsafe {
            let x = Mat::rows(x, c).t();
            self.x_right.fill(unit, Side::Right, x, c, m, Threads::All);
        }
        let (left, lse) = (self.x_left.all(), &self.lse);
        for (from, n) in blocks(v) {
            let w = &wte[from * c..][..n * c];
            // SAFETY: as above.
            unsafe {
                let w = Mat::rows(w, c);
                let logits = self.w_logits.pieces(unit, Side::Right, w, n, c);
                let input = self.w_input.pieces(unit, Side::Right, w.t(), c, n);
                fill_both(&logits, &input, Threads::All);
            }
            self.d_left.shape(n, m);
            let d_left = self.d_left.by_depth(unit);
            let (w_logits, w_input) = (self.w_logits.all(), self.w_input.all());
            dx.par_chunks_mut(rows * c)
                .enumerate()
                .for_each(|(task, dx)| {
                    let (first, rows) = (task * rows, dx.len() / c);
                    let (mut d, mut packed) = TASK.take();
                    let stride = room(&mut d, rows, n);
                    // SAFETY: as above.
                    unsafe {
                        let left = left.rows(first, first + rows);
                        let into = d.as_mut_ptr();
                        multiply(
                            unit,
                            left,
                            w_logits,
                            into,
                            stride,
                            Accumulate::Nothing,
                            Threads::One,
                        );
                    }
                    simd!(A => {
                        for (i, row) in d.chunks_mut(stride).take(rows).enumerate() {
                            let (row, lse) = (&mut row[..n], lse[first + i]);
                            for z in row.iter_mut() {
                                *z = scale * math::exp::<A>(*z - lse);
                            }
                            let target = targets[first + i] as usize;
                            if let Some(z) = row.get_mut(target.wrapping_sub(from)) {
                                *z -= scale;
                            }
                        }
                    });
                    let d_mat = Mat::strided(&d, 0, stride);
                    // SAFETY: as above.
                    unsafe {
                        packed.fill(unit, Side::Left, d_mat, rows, n, Threads::One);
                        let into = dx.as_mut_ptr();
                        let add = if from > 0 {
                            Accumulate::Out
                        } else {
                            Accumulate::Nothing
                        };
                        multiply(unit, packed.all(), w_input, into, c, add, Threads::One);
                        d_left.fill(Side::Left, d_mat.t(), first, rows);
                    }
                    TASK.set((d, packed));
                });
            // SAFETY: as above.
            unsafe {
                let into = Shared(dwte.as_mut_ptr()).at(from * c);
                let (d, x) = (self.d_left.all(), self.x_right.all());
                multiply(unit, d, x, into, c, Accumulate::Out, Threads::All);
            }
        }
    }
}

/// First column and number of columns of each block.
fn blocks(v: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..v)
        .step_by(COLUMNS)
        .map(move |from| (from, COLUMNS.min(v - from)))
}

/// Makes room for `rows` rows of `n`, and returns how far apart they lie: not a power of two, whose rows would share few
/// cache lines.
fn room(logits: &mut Vec<f32>, rows: usize, n: usize) -> usize {
    let stride = n.next_multiple_of(16) + 16;
    if logits.len() < rows * stride {
        logits.resize(rows * stride, 0.0);
    }
    stride
}

/// Adds a row's exponentials to those gathered so far, relative to the largest logit.
#[inline(always)]
fn gather<A: Arithmetic>(row: &[f32], max: &mut f32, sum: &mut f32) {
    let largest = math::max::<A>(row);
    // Written so that NaN continues.
    let new = if largest < *max { *max } else { largest };
    let before = *sum * math::exp::<A>(*max - new);
    *sum = before + math::sum_of_exp::<A>(row, new);
    *max = new;
}
