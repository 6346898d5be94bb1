//! Products of packed operands in bf16, block by block on the unit that was chosen.

use std::ops::Range;

use rayon::prelude::*;

use super::accumulate::Accumulate;
use super::isa::Isa;
use super::mat::Mat;
use super::pack::Panels;
use super::threads::Threads;
use super::tile::{Line, PANEL};
use super::{amx, avx512, portable};
use crate::ops::cpu::Shared;

/// Multiplies packed operands of the same depth.
///
/// # Safety
/// `out` must be valid for writing `left.rows` rows, `out_row` apart, of `right.rows` values.
pub unsafe fn multiply(
    unit: Isa,
    left: Panels<'_>,
    right: Panels<'_>,
    out: *mut f32,
    out_row: usize,
    onto: Accumulate,
    threads: Threads,
) {
    // SAFETY: forwarded to the caller.
    unsafe { multiply_then(unit, left, right, (out, out_row), onto, threads, &|_, _| {}) }
}

/// A function that is applied to rows and columns of a product while they are still in the cache of the thread that
/// computed them.
pub type Epilogue<'t> = &'t (dyn Fn(Range<usize>, Range<usize>) + Sync);

/// As [`multiply`], and calls `then` once for each part of the output that is finished; the parts do not overlap.
///
/// # Safety
/// As [`multiply`].
pub unsafe fn multiply_then(
    unit: Isa,
    left: Panels<'_>,
    right: Panels<'_>,
    (out, out_row): (*mut f32, usize),
    onto: Accumulate,
    threads: Threads,
    then: Epilogue<'_>,
) {
    assert!(left.steps == right.steps, "operands of different depth");
    let (panels_a, panels_b) = (left.rows.div_ceil(PANEL), right.rows.div_ceil(PANEL));
    let threads_used = match threads {
        Threads::One => 1,
        Threads::All => rayon::current_num_threads(),
    };
    let (job_a, job_b) = job_size(panels_a, panels_b, threads_used);
    let (jobs_a, jobs_b) = (panels_a.div_ceil(job_a), panels_b.div_ceil(job_b));
    let onto = onto.mat(out, out_row);
    let out = Shared(out);
    let job = |index: usize| {
        let (ja, jb) = (index % jobs_a, index / jobs_a);
        let rows = ja * job_a..((ja + 1) * job_a).min(panels_a);
        let columns = jb * job_b..((jb + 1) * job_b).min(panels_b);
        let tiles = (unit == Isa::Amx).then(amx::Tiles::configure);
        for from in (0..left.steps).step_by(DEPTH) {
            // Neighbouring columns one after the other: their rows share pages.
            for pa in rows.clone() {
                for pb in columns.clone() {
                    let (i, j) = (pa * PANEL, pb * PANEL);
                    let to = Mat::new(out.at(i * out_row + j), out_row);
                    let block = Block {
                        unit,
                        a: left.step(pa, from),
                        b: right.step(pb, from),
                        steps: DEPTH.min(left.steps - from),
                        onto: match from {
                            0 => onto.map(|onto| onto.at(i, j)),
                            _ => Some(to),
                        },
                    };
                    let (rows, columns) = (PANEL.min(left.rows - i), PANEL.min(right.rows - j));
                    // SAFETY: the block lies within `out`, and no other job writes it.
                    unsafe { block.multiply(to, rows, columns) };
                }
            }
        }
        drop(tiles);
        let of =
            |panels: Range<usize>, end: usize| panels.start * PANEL..(panels.end * PANEL).min(end);
        then(of(rows, left.rows), of(columns, right.rows));
    };
    match threads {
        Threads::One => (0..jobs_a * jobs_b).for_each(job),
        Threads::All => (0..jobs_a * jobs_b).into_par_iter().for_each(job),
    }
}

/// Panels of the left and of the right operand that one job multiplies, and steps of 32 along `k` that it takes at once:
/// together they stay in a second-level cache of 1 MiB, and sums are read and written seldom.
const JOB_LEFT: usize = 4;
const JOB_RIGHT: usize = 16;
const DEPTH: usize = 24;

/// Returns the panels of a job: the most there may be, or fewer where a product is so small that threads would have nothing to
/// do. A narrow model's weight gradients, 128 x 384 values, would be one job otherwise. Sums do not depend on it.
fn job_size(panels_a: usize, panels_b: usize, threads: usize) -> (usize, usize) {
    let (mut a, mut b) = (JOB_LEFT, JOB_RIGHT);
    // Two jobs a thread, so that one that is interrupted does not hold up all.
    let wanted = if threads == 1 { 1 } else { 2 * threads };
    while panels_a.div_ceil(a) * panels_b.div_ceil(b) < wanted && a * b > 1 {
        if b > a { b /= 2 } else { a /= 2 }
    }
    (a, b)
}

/// 32x32 values of a product.
struct Block<'p> {
    unit: Isa,
    a: &'p [Line],
    b: &'p [Line],
    steps: usize,
    onto: Option<Mat>,
}

impl Block<'_> {
    /// Writes the block's first `rows` and `columns`.
    ///
    /// # Safety
    /// `out` must be valid for writing them, the operands for `steps`.
    unsafe fn multiply(&self, out: Mat, rows: usize, columns: usize) {
        // SAFETY: forwarded to the caller; a ragged block goes through one of full size.
        unsafe {
            if rows == PANEL && columns == PANEL {
                return self.whole(out, self.onto);
            }
            let mut full = [0f32; PANEL * PANEL];
            if let Some(onto) = self.onto {
                for (i, full) in full.chunks_exact_mut(PANEL).enumerate().take(rows) {
                    let row = std::slice::from_raw_parts(onto.at(i, 0).ptr, columns);
                    full[..columns].copy_from_slice(row);
                }
            }
            let sums = Mat::new(full.as_mut_ptr(), PANEL);
            self.whole(sums, Some(sums));
            for (i, full) in full.chunks_exact(PANEL).enumerate().take(rows) {
                let row = std::slice::from_raw_parts_mut(out.at(i, 0).ptr.cast_mut(), columns);
                row.copy_from_slice(&full[..columns]);
            }
        }
    }

    /// # Safety
    /// As [`Self::multiply`] for all 32 rows and columns.
    unsafe fn whole(&self, out: Mat, onto: Option<Mat>) {
        let steps = self.steps;
        let lines = steps * PANEL;
        let (a, b) = (self.a[..lines].as_ptr(), self.b[..lines].as_ptr());
        // SAFETY: forwarded to the caller; the units were found at start.
        unsafe {
            match self.unit {
                Isa::Amx => amx::block(a, b, steps, out, onto),
                Isa::Avx512 => avx512::block(a, b, steps, out, onto),
                Isa::Portable => portable::block(a, b, steps, out, onto),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_products_are_work_for_all_threads() {
        let jobs = |m: usize, n: usize, threads: usize| {
            let (panels_a, panels_b) = (m.div_ceil(PANEL), n.div_ceil(PANEL));
            let (a, b) = job_size(panels_a, panels_b, threads);
            panels_a.div_ceil(a) * panels_b.div_ceil(b)
        };
        for (m, n) in [(128, 384), (128, 128), (512, 128), (1024, 64)] {
            assert!(jobs(m, n, 2) >= 4, "{m}x{n}");
            assert!(jobs(m, n, 8) >= 16, "{m}x{n}");
        }
        // Large ones, and those of one thread, keep jobs of full size.
        assert_eq!(job_size(64, 1572, 2), (JOB_LEFT, JOB_RIGHT));
        assert_eq!(job_size(4, 12, 1), (JOB_LEFT, JOB_RIGHT));
        // Fewer blocks than threads.
        assert_eq!(jobs(1, 1, 64), 1);
    }
}
