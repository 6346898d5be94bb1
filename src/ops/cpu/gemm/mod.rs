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

use super::{ROWS_PER_TASK, Shared};
use crate::ops::Compute;
use pack::{Line, PANEL};
pub use pack::{Packed, Panels, Right, Side};

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

    /// The same row again and again.
    pub fn repeated(row: &[f32]) -> Self {
        Self::strided(row, 0, 0)
    }

    /// A matrix that starts at `offset` and whose rows lie `row` apart.
    pub fn strided(data: &[f32], offset: usize, row: usize) -> Self {
        Self {
            ptr: data[offset..].as_ptr(),
            row,
            col: 1,
        }
    }

    /// The matrix that begins `rows` further down and `cols` further right.
    fn at(self, rows: usize, cols: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_add(rows * self.row + cols * self.col),
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

/// What a product is added to.
#[derive(Clone, Copy)]
pub enum Onto {
    Nothing,
    /// What is there already.
    Out,
    Other(Mat),
}

impl Onto {
    fn mat(self, out: *const f32, row: usize) -> Option<Mat> {
        match self {
            Self::Nothing => None,
            Self::Out => Some(Mat {
                ptr: out,
                row,
                col: 1,
            }),
            Self::Other(mat) => Some(mat),
        }
    }
}

/// `out[m, n] = onto[m, n] + a[m, k] b[k, n]`; `out`'s rows lie `out_row` apart. No size is zero.
///
/// # Safety
/// The pointers must be valid for the sizes and strides given, `out` for writing and apart from the others.
#[allow(clippy::too_many_arguments)]
pub unsafe fn matmul(
    compute: Compute,
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    onto: Onto,
    a: Mat,
    b: Mat,
    threads: Threads,
) {
    // SAFETY: forwarded to the caller.
    unsafe {
        match compute {
            Compute::F32 => plain((m, k, n), out, out_row, onto, a, b, threads),
            Compute::Bf16 => {
                let (unit, (mut left, mut right)) = (Unit::chosen(), PACKED.take());
                left.fill(unit, Side::Left, a, m, k, threads);
                right.fill(unit, Side::Right, b.t(), n, k, threads);
                multiply(unit, left.all(), right.all(), out, out_row, onto, threads);
                PACKED.set((left, right));
            }
        }
    }
}

/// As [`matmul`] on this thread, with the first `k` rows and `n` columns of a right operand that several products share:
/// all of its rows, or a multiple of 32.
///
/// # Safety
/// As [`matmul`].
pub unsafe fn matmul_shared(
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    onto: Onto,
    a: Mat,
    b: &Right<'_>,
) {
    // SAFETY: forwarded to the caller.
    unsafe {
        match b.packed {
            None => plain((m, k, n), out, out_row, onto, a, b.mat, Threads::One),
            Some(right) => {
                let (unit, (mut left, other)) = (Unit::chosen(), PACKED.take());
                left.fill(unit, Side::Left, a, m, k, Threads::One);
                let right = right.part(k, n);
                multiply(unit, left.all(), right, out, out_row, onto, Threads::One);
                PACKED.set((left, other));
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
    onto: Onto,
    a: Mat,
    b: Mat,
    threads: Threads,
) {
    if let Onto::Other(onto) = onto {
        let out = Shared(out);
        let copy = |i: usize| {
            let (from, to) = (onto.at(i, 0).ptr, out.at(i * out_row));
            // SAFETY: forwarded to the caller; tasks write different rows.
            unsafe { std::ptr::copy_nonoverlapping(from, to, n) };
        };
        match threads {
            Threads::One => (0..m).for_each(copy),
            Threads::All => (0..m)
                .into_par_iter()
                .with_min_len(ROWS_PER_TASK)
                .for_each(copy),
        }
    }
    let part = |(m, n): (usize, usize), out: *mut f32, a: Mat, b: Mat, parallelism| {
        // SAFETY: forwarded to the caller.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out,
                1,
                out_row as isize,
                !matches!(onto, Onto::Nothing),
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
    };
    match threads {
        Threads::One => part((m, n), out, a, b, gemm::Parallelism::None),
        Threads::All if m * n <= LARGE => {
            let threads = rayon::current_num_threads();
            part((m, n), out, a, b, gemm::Parallelism::Rayon(threads));
        }
        Threads::All => {
            let (down, across) = (m.div_ceil(PART.0), n.div_ceil(PART.1));
            let out = Shared(out);
            (0..down * across).into_par_iter().for_each(|index| {
                let (i, j) = (index % down * PART.0, index / down * PART.1);
                let size = (PART.0.min(m - i), PART.1.min(n - j));
                let out = out.at(i * out_row + j);
                part(size, out, a.at(i, 0), b.at(0, j), gemm::Parallelism::None);
            });
        }
    }
}

/// Outputs of more values than this, a vocabulary's, are divided into parts of so many rows and columns: left to divide them
/// itself, the crate packs operands whole, which takes their memory again and is slower.
const LARGE: usize = 4 << 20;
const PART: (usize, usize) = (768, 512);

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
    onto: Onto,
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
        let _tiles = (unit == Unit::Amx).then(amx::Tiles::configure);
        for from in (0..left.steps).step_by(DEPTH) {
            // Neighbouring columns one after the other: their rows share pages.
            for pa in rows.clone() {
                for pb in columns.clone() {
                    let (i, j) = (pa * PANEL, pb * PANEL);
                    let to = Mat {
                        ptr: out.at(i * out_row + j),
                        row: out_row,
                        col: 1,
                    };
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
    unit: Unit,
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
            let sums = Mat {
                ptr: full.as_mut_ptr(),
                row: PANEL,
                col: 1,
            };
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
                Unit::Amx => amx::block(a, b, steps, out, onto),
                Unit::Avx512 => avx512::block(a, b, steps, out, onto),
                Unit::Portable => portable::block(a, b, steps, out, onto),
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

    /// The product itself, with f64 sums of operands rounded as `compute` rounds them.
    fn exact(
        compute: Compute,
        (m, k, n): (usize, usize, usize),
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
    ) -> Vec<f64> {
        let round = |x: f32| match compute {
            Compute::F32 => f64::from(x),
            Compute::Bf16 => f64::from(bf16::from_f32(x)),
        };
        let at = |i, j| (0..k).map(|l| round(a(i, l)) * round(b(l, j))).sum();
        (0..m * n).map(|i| at(i / n, i % n)).collect()
    }

    /// What multiplies, with its name.
    type Multiply = Box<dyn Fn((usize, usize, usize), *mut f32, usize, Onto, Mat, Mat)>;

    fn ways(compute: Compute) -> Vec<(&'static str, Multiply)> {
        // SAFETY (of all): the test's operands have these sizes.
        match compute {
            Compute::F32 => {
                let one: Multiply = Box::new(|size, out, row, onto, a, b| unsafe {
                    plain(size, out, row, onto, a, b, Threads::One);
                });
                let all: Multiply = Box::new(|size, out, row, onto, a, b| unsafe {
                    plain(size, out, row, onto, a, b, Threads::All);
                });
                vec![("one thread", one), ("all threads", all)]
            }
            Compute::Bf16 => Unit::available()
                .into_iter()
                .map(|unit| {
                    let way: Multiply = Box::new(move |(m, k, n), out, row, onto, a, b| unsafe {
                        let (mut l, mut r) = (Packed::default(), Packed::default());
                        l.fill(unit, Side::Left, a, m, k, Threads::One);
                        r.fill(unit, Side::Right, b.t(), n, k, Threads::All);
                        multiply(unit, l.all(), r.all(), out, row, onto, Threads::All);
                    });
                    (unit.name(), way)
                })
                .collect(),
        }
    }

    /// Every way, operands as they are and transposed, ragged and with several jobs: within rounding of products in f64,
    /// added to whatever it is, and nothing else touched.
    #[test]
    fn products_agree_with_f64() {
        let sizes = [
            (1, 1, 1),
            (33, 100, 31),
            (70, 45, 90),
            (64, 64, 64),
            (130, 800, 530),
            (800, 20, 40),
            (2100, 3, 2050),
        ];
        for compute in [Compute::F32, Compute::Bf16] {
            let ways = ways(compute);
            for (m, k, n) in sizes {
                for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                    let (a, b) = (values(m * k + 1, 3), values(k * n + 1, 5));
                    let at_a = |i, l| a[if ta { l * m + i } else { i * k + l }];
                    let at_b = |l, j| b[if tb { j * k + l } else { l * n + j }];
                    let want = exact(compute, (m, k, n), at_a, at_b);
                    let left = match ta {
                        true => Mat::rows(&a, m).t(),
                        false => Mat::rows(&a, k),
                    };
                    let right = match tb {
                        true => Mat::rows(&b, k).t(),
                        false => Mat::rows(&b, n),
                    };
                    let size = want.iter().fold(1f64, |s, w| s.max(w.abs()));
                    let others = values(m * n, 11);
                    for (name, multiply) in &ways {
                        for (onto, what) in [
                            (Onto::Nothing, "nothing"),
                            (Onto::Out, "out"),
                            (Onto::Other(Mat::repeated(&others[..n])), "a row"),
                            (Onto::Other(Mat::rows(&others, n)), "others"),
                        ] {
                            let what = format!("{name} {m}x{k}x{n} {ta} {tb} onto {what}");
                            let row = n + 3;
                            let mut out = vec![0.5f32; m * row];
                            multiply((m, k, n), out.as_mut_ptr(), row, onto, left, right);
                            for (i, out) in out.chunks_exact(row).enumerate() {
                                for (j, got) in out[..n].iter().enumerate() {
                                    let before = match onto {
                                        Onto::Nothing => 0.0,
                                        Onto::Out => 0.5,
                                        Onto::Other(mat) if mat.row == 0 => others[j],
                                        Onto::Other(_) => others[i * n + j],
                                    };
                                    let want = want[i * n + j] + f64::from(before);
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
