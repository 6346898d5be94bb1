//! Matrix products in f32 or with operands rounded to bf16, on the best unit this machine has.
//!
//! Products go through packed panels of bf16 tiles (see [`pack`]): 32 rows of `a` against 32 columns of `b` at a time.
//! On AMX a tile instruction multiplies 16x32 by 32x16 values, an order of magnitude faster than AVX-512's f32. So
//! f32 takes that way, too: each f32 is the exact sum of three bf16 (8 bits of significand each), and the six products
//! of parts above 2^-24 give what an f32 product gives, up to the order of its roundings (Henry, Tang and Heinecke,
//! "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations", arXiv 1904.06376).
//! Without AMX, f32 goes to the `gemm` crate.

mod amx;
mod avx512;
mod pack;
mod portable;

use rayon::prelude::*;
use std::cell::Cell;
use std::sync::LazyLock;

use super::Shared;
use crate::ops::Compute;
use pack::{Line, PANEL, TILE};
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
#[derive(Clone, Copy, PartialEq, Eq)]
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
            let units = Unit::available();
            let wanted = std::env::var("HEIRLOOM_UNIT").unwrap_or_default();
            let named = units.iter().find(|u| u.name() == wanted);
            *named.unwrap_or(&units[0])
        });
        *CHOSEN
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

/// How operands are packed and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    unit: Unit,
    /// bf16 values that stand for an f32.
    parts: usize,
}

impl How {
    /// The way through packed panels, if that is the best one here.
    pub fn packed(compute: Compute) -> Option<Self> {
        let unit = Unit::chosen();
        match compute {
            Compute::Bf16 => Some(Self { unit, parts: 1 }),
            Compute::F32 if unit == Unit::Amx => Some(Self { unit, parts: 3 }),
            Compute::F32 => None,
        }
    }

    /// Columns of a large right operand of which a caller should ask for products at a time, if it goes on with them.
    pub fn columns(self) -> usize {
        match self.parts {
            1 => 512,
            _ => 256,
        }
    }

    /// Panels of the right operand that a job takes, and steps of 32 along `k` that it takes at once. Together they stay
    /// in a second-level cache of 1 MiB; shorter steps would read and write sums more often.
    fn job_right(self) -> (usize, usize) {
        match self.parts {
            1 => (16, 24),
            _ => (8, 12),
        }
    }

    /// Lines of one step of 32 along `k` in a panel.
    fn step_lines(self) -> usize {
        self.parts * PANEL
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
    // Small products are read rather than multiplied: packing f32 in parts would cost more than it saves.
    let few = compute == Compute::F32 && (threads == Threads::One || m.min(n).min(k) < TILE);
    // SAFETY: forwarded to the caller.
    unsafe {
        match How::packed(compute) {
            Some(how) if !few => {
                let (mut left, mut right) = PACKED.take();
                left.fill(how, Side::Left, a, m, k, threads);
                right.fill(how, Side::Right, b.t(), n, k, threads);
                multiply(
                    how,
                    left.all(),
                    right.all(),
                    out,
                    out_row,
                    accumulate,
                    threads,
                );
                PACKED.set((left, right));
            }
            _ => plain((m, k, n), out, out_row, accumulate, a, b, threads),
        }
    }
}

thread_local! {
    /// Memory for packed operands. Taken out while in use, so that nested products get their own.
    static PACKED: Cell<(Packed, Packed)> = const { Cell::new((Packed::new(), Packed::new())) };
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
    how: How,
    left: Panels<'_>,
    right: Panels<'_>,
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
    threads: Threads,
) {
    assert!(left.steps == right.steps, "operands of different depth");
    let (panels_a, panels_b) = (left.rows.div_ceil(PANEL), right.rows.div_ceil(PANEL));
    let (job_right, depth) = how.job_right();
    let jobs_a = panels_a.div_ceil(JOB_LEFT);
    let jobs_b = panels_b.div_ceil(job_right);
    let out = Shared(out);
    let job = |index: usize| {
        let (ja, jb) = (index % jobs_a, index / jobs_a);
        let rows = ja * JOB_LEFT..((ja + 1) * JOB_LEFT).min(panels_a);
        let columns = jb * job_right..((jb + 1) * job_right).min(panels_b);
        let _tiles = (how.unit == Unit::Amx).then(amx::Tiles::configure);
        for from in (0..left.steps).step_by(depth) {
            // Neighbouring columns one after the other: their rows share pages.
            for pa in rows.clone() {
                for pb in columns.clone() {
                    let (i, j) = (pa * PANEL, pb * PANEL);
                    let block = Block {
                        how,
                        a: left.step(pa, from),
                        b: right.step(pb, from),
                        steps: depth.min(left.steps - from),
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

/// Panels of the left operand that one job multiplies with [`How::job_right`] of the right one.
const JOB_LEFT: usize = 4;

/// 32x32 values of a product.
struct Block<'p> {
    how: How,
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
        let lines = steps * self.how.step_lines();
        let (a, b) = (self.a[..lines].as_ptr(), self.b[..lines].as_ptr());
        // SAFETY: forwarded to the caller; the units were found at start.
        unsafe {
            match (self.how.unit, self.how.parts) {
                (Unit::Amx, 1) => amx::block(a, b, steps, out, out_row, accumulate),
                (Unit::Amx, _) => amx::block_in_parts(a, b, steps, out, out_row, accumulate),
                (Unit::Avx512, 1) => avx512::block::<1>(a, b, steps, out, out_row, accumulate),
                (Unit::Avx512, _) => avx512::block::<3>(a, b, steps, out, out_row, accumulate),
                (Unit::Portable, 1) => portable::block::<1>(a, b, steps, out, out_row, accumulate),
                (Unit::Portable, _) => portable::block::<3>(a, b, steps, out, out_row, accumulate),
            }
        }
    }
}

/// Pairs of parts whose products count in f32: all down to 2^-16 of the largest.
const PAIRS: [(usize, usize); 6] = [(0, 2), (0, 0), (2, 0), (1, 0), (1, 1), (0, 1)];

/// The pairs for operands of P parts.
const fn pairs<const P: usize>() -> &'static [(usize, usize)] {
    match P {
        1 => &[(0, 0)],
        _ => &PAIRS,
    }
}
