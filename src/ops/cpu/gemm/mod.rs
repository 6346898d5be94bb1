//! Matrix products in f32 or with operands rounded to bf16, on the best unit this machine has.
//!
//! f32 goes to the `gemm` crate. bf16 goes through packed panels (see [`pack`]): 32 rows of `a` against 32 columns of `b` at
//! a time, by tile instructions (AMX), by AVX-512's dot products or by plain loops.

mod amx;
mod avx512;
mod pack;
mod portable;

use rayon::prelude::*;
use std::cell::Cell;
use std::sync::LazyLock;

use super::Shared;
use crate::ops::Compute;
use pack::{Line, PANEL};
pub use pack::{Packed, Panels, Side};

/// A matrix operand: where it starts and how far apart its rows and columns lie. One of the two is 1.
#[derive(Clone, Copy)]
pub struct Mat {
    ptr: *const f32,
    row: usize,
    col: usize,
}

// SAFETY: a borrowed view; whoever makes one vouches that nobody writes there meanwhile.
unsafe impl Send for Mat {}
// SAFETY: as above.
unsafe impl Sync for Mat {}

impl Mat {
    /// A row-major matrix of `cols` columns.
    pub fn rows(data: &[f32], cols: usize) -> Self {
        Self::strided(data, 0, cols)
    }

    /// A matrix that starts at `offset` and whose rows lie `row` apart.
    pub fn strided(data: &[f32], offset: usize, row: usize) -> Self {
        Self {
            ptr: data[offset..].as_ptr(),
            row,
            col: 1,
        }
    }

    /// Without the first `rows` rows.
    fn skip(self, rows: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_add(rows * self.row),
            ..self
        }
    }

    /// The same matrix transposed.
    pub fn t(self) -> Self {
        Self {
            ptr: self.ptr,
            row: self.col,
            col: self.row,
        }
    }
}

/// How many threads one product may use.
#[derive(Clone, Copy)]
pub enum Threads {
    One,
    All,
}

/// What multiplies tiles of bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Intel's tile registers.
    Amx,
    /// `vdpbf16ps`.
    Avx512,
    /// Plain loops, compiled for the best vectors there are.
    Portable,
}

impl Unit {
    /// The units this machine has, best first.
    pub fn available() -> Vec<Self> {
        let mut units = vec![Self::Portable];
        if avx512::is_available() {
            units.insert(0, Self::Avx512);
            if amx::is_available() {
                units.insert(0, Self::Amx);
            }
        }
        units
    }

    /// The unit in use: the best one, or a lesser one named by `HEIRLOOM_UNIT` (`amx`, `avx512`, `portable`).
    pub fn chosen() -> Self {
        static CHOSEN: LazyLock<Unit> = LazyLock::new(|| {
            let best = Unit::available()[0];
            Unit::asked_for().ok().flatten().unwrap_or(best)
        });
        *CHOSEN
    }

    /// The unit that `HEIRLOOM_UNIT` names, if it is set.
    ///
    /// # Errors
    /// When this machine has none of that name.
    pub fn asked_for() -> Result<Option<Self>, String> {
        let Some(wanted) = std::env::var_os("HEIRLOOM_UNIT") else {
            return Ok(None);
        };
        let units = Self::available();
        let named = units.iter().find(|unit| wanted == unit.name());
        named.copied().map(Some).ok_or_else(|| {
            let names: Vec<_> = units.iter().map(|unit| unit.name()).collect();
            format!(
                "HEIRLOOM_UNIT is {wanted:?}, this machine has {}",
                names.join(", ")
            )
        })
    }

    /// Its name in `HEIRLOOM_UNIT` and in benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Portable => "portable",
        }
    }
}

/// `out[m, n] = a[m, k] b[k, n]`, added to `out` if `accumulate`; `out`'s rows lie `out_row` apart.
///
/// # Safety
/// The three pointers must be valid for the sizes and strides given, `out` for writing and apart from the others.
#[allow(clippy::too_many_arguments)]
pub unsafe fn matmul(
    compute: Compute,
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
    a: Mat,
    b: Mat,
    threads: Threads,
) {
    // SAFETY: forwarded to the caller.
    unsafe {
        match compute {
            Compute::F32 => plain((m, k, n), out, out_row, accumulate, a, b, threads),
            Compute::Bf16 => {
                let (unit, (mut left, mut right)) = (Unit::chosen(), PACKED.take());
                left.fill(unit, Side::Left, a, m, k, threads);
                right.fill(unit, Side::Right, b.t(), n, k, threads);
                multiply(
                    unit,
                    left.all(),
                    right.all(),
                    out,
                    out_row,
                    accumulate,
                    threads,
                );
                PACKED.set((left, right));
            }
        }
    }
}

thread_local! {
    /// Memory for packed operands. Taken out while in use, so that nested products get their own.
    static PACKED: Cell<(Packed, Packed)> = Cell::default();
}

/// f32 through the `gemm` crate.
///
/// # Safety
/// As [`matmul`].
unsafe fn plain(
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
    a: Mat,
    b: Mat,
    threads: Threads,
) {
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(rayon::current_num_threads()),
    };
    // SAFETY: forwarded to the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_row as isize,
            accumulate,
            a.ptr,
            a.col as isize,
            a.row as isize,
            b.ptr,
            b.col as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Multiplies packed operands of the same depth.
///
/// # Safety
/// `out` must be valid for writing `left.rows` rows, `out_row` apart, of `right.rows` values.
pub unsafe fn multiply(
    unit: Unit,
    left: Panels<'_>,
    right: Panels<'_>,
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
    threads: Threads,
) {
    assert!(left.steps == right.steps, "operands of different depth");
    let (panels_a, panels_b) = (left.rows.div_ceil(PANEL), right.rows.div_ceil(PANEL));
    let jobs_a = panels_a.div_ceil(JOB_LEFT);
    let jobs_b = panels_b.div_ceil(JOB_RIGHT);
    let out = Shared(out);
    let job = |index: usize| {
        let (ja, jb) = (index % jobs_a, index / jobs_a);
        let rows = ja * JOB_LEFT..((ja + 1) * JOB_LEFT).min(panels_a);
        let columns = jb * JOB_RIGHT..((jb + 1) * JOB_RIGHT).min(panels_b);
        let _tiles = (unit == Unit::Amx).then(amx::Tiles::configure);
        for from in (0..left.steps).step_by(DEPTH) {
            // Neighbouring columns one after the other: their rows share pages.
            for pa in rows.clone() {
                for pb in columns.clone() {
                    let (i, j) = (pa * PANEL, pb * PANEL);
                    let block = Block {
                        unit,
                        a: left.step(pa, from),
                        b: right.step(pb, from),
                        steps: DEPTH.min(left.steps - from),
                        accumulate: accumulate || from > 0,
                    };
                    let (rows, columns) = (PANEL.min(left.rows - i), PANEL.min(right.rows - j));
                    // SAFETY: the block lies within `out`, and no other job writes it.
                    unsafe { block.multiply(out.at(i * out_row + j), out_row, rows, columns) };
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
    unit: Unit,
    a: &'p [Line],
    b: &'p [Line],
    steps: usize,
    accumulate: bool,
}

impl Block<'_> {
    /// Writes the block's first `rows` and `columns`.
    ///
    /// # Safety
    /// `out` must be valid for them, the operands for `steps`.
    unsafe fn multiply(&self, out: *mut f32, out_row: usize, rows: usize, columns: usize) {
        // SAFETY: forwarded to the caller; a ragged block goes through one of full size.
        unsafe {
            if rows == PANEL && columns == PANEL {
                return self.whole(out, out_row);
            }
            let mut full = [0f32; PANEL * PANEL];
            if self.accumulate {
                for i in 0..rows {
                    let row = std::slice::from_raw_parts(out.add(i * out_row), columns);
                    full[i * PANEL..][..columns].copy_from_slice(row);
                }
            }
            self.whole(full.as_mut_ptr(), PANEL);
            for i in 0..rows {
                let row = std::slice::from_raw_parts_mut(out.add(i * out_row), columns);
                row.copy_from_slice(&full[i * PANEL..][..columns]);
            }
        }
    }

    /// # Safety
    /// As [`Self::multiply`] for all 32 rows and columns.
    unsafe fn whole(&self, out: *mut f32, out_row: usize) {
        let &Self {
            steps, accumulate, ..
        } = self;
        let lines = steps * PANEL;
        let (a, b) = (self.a[..lines].as_ptr(), self.b[..lines].as_ptr());
        // SAFETY: forwarded to the caller; the units were found at start.
        unsafe {
            match self.unit {
                Unit::Amx => amx::block(a, b, steps, out, out_row, accumulate),
                Unit::Avx512 => avx512::block(a, b, steps, out, out_row, accumulate),
                Unit::Portable => portable::block(a, b, steps, out, out_row, accumulate),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 7919 % 10007) as f32 - 5000.0) * 3e-4)
            .collect()
    }

    /// Every unit, both types, operands as they are and transposed, ragged and with several jobs: within rounding of
    /// products in f64, added to what was there or not, and nothing else touched.
    #[test]
    fn products_agree_with_f64() {
        for (m, k, n) in [
            (1, 1, 1),
            (33, 100, 31),
            (70, 45, 90),
            (64, 64, 64),
            (130, 800, 530),
        ] {
            for (ta, tb) in [(false, false), (false, true), (true, false)] {
                let (a, b) = (values(m * k, 3), values(k * n, 5));
                let left = if ta {
                    Mat::rows(&a, m).t()
                } else {
                    Mat::rows(&a, k)
                };
                let right = if tb {
                    Mat::rows(&b, k).t()
                } else {
                    Mat::rows(&b, n)
                };
                for compute in [Compute::F32, Compute::Bf16] {
                    let round = |x: f32| match compute {
                        Compute::F32 => f64::from(x),
                        Compute::Bf16 => f64::from(bf16::from_f32(x)),
                    };
                    let at = |i: usize, j: usize| -> f64 {
                        let a = (0..k).map(|l| round(a[if ta { l * m + i } else { i * k + l }]));
                        let b = (0..k).map(|l| round(b[if tb { j * k + l } else { l * n + j }]));
                        a.zip(b).map(|(a, b)| a * b).sum()
                    };
                    let want: Vec<f64> = (0..m * n).map(|i| at(i / n, i % n)).collect();
                    let size = want.iter().fold(1f64, |s, w| s.max(w.abs()));
                    let units = Unit::available();
                    let units = if compute == Compute::F32 {
                        &units[..1]
                    } else {
                        &units
                    };
                    for &unit in units {
                        for accumulate in [false, true] {
                            let what =
                                format!("{unit:?} {compute:?} {m}x{k}x{n} {ta} {tb} {accumulate}");
                            let row = n + 3;
                            let mut out = vec![0.5f32; m * row];
                            let into = out.as_mut_ptr();
                            // SAFETY: the operands have these sizes, `out` rows of `row`.
                            unsafe {
                                if compute == Compute::F32 {
                                    let size = (m, k, n);
                                    plain(size, into, row, accumulate, left, right, Threads::One);
                                } else {
                                    let (mut l, mut r) = (Packed::default(), Packed::default());
                                    l.fill(unit, Side::Left, left, m, k, Threads::One);
                                    r.fill(unit, Side::Right, right.t(), n, k, Threads::All);
                                    let (l, r) = (l.all(), r.all());
                                    multiply(unit, l, r, into, row, accumulate, Threads::All);
                                }
                            }
                            for (i, out) in out.chunks_exact(row).enumerate() {
                                let before = if accumulate { 0.5 } else { 0.0 };
                                for (j, got) in out[..n].iter().enumerate() {
                                    let want = want[i * n + j] + before;
                                    let off = (f64::from(*got) - want).abs();
                                    assert!(off < 3e-6 * size, "{what}: {got}, not {want}");
                                }
                                assert!(out[n..].iter().all(|&x| x == 0.5), "{what}: wrote beside");
                            }
                        }
                    }
                }
            }
        }
    }
}
