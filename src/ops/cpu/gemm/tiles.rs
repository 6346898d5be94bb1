//! Products of packed operands in bf16, block by block on the unit that was chosen.

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
    assert!(left.steps == right.steps, "operands of different depth");
    let (panels_a, panels_b) = (left.rows.div_ceil(PANEL), right.rows.div_ceil(PANEL));
    let jobs_a = panels_a.div_ceil(JOB_LEFT);
    let jobs_b = panels_b.div_ceil(JOB_RIGHT);
    let onto = onto.mat(out, out_row);
    let out = Shared(out);
    let job = |index: usize| {
        let (ja, jb) = (index % jobs_a, index / jobs_a);
        let rows = ja * JOB_LEFT..((ja + 1) * JOB_LEFT).min(panels_a);
        let columns = jb * JOB_RIGHT..((jb + 1) * JOB_RIGHT).min(panels_b);
        let _tiles = (unit == Isa::Amx).then(amx::Tiles::configure);
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
