//! Matrix products in f32 or with operands rounded to bf16, on the best unit this machine has.
//!
//! f32 goes to the `gemm` crate, which has no products of bf16 on AMX or AVX-512. bf16 goes through packed panels (see [`pack`]): 32 rows
//! of `a` are multiplied with 32 columns of `b` at a time, by tile instructions (AMX), by AVX-512's dot products or by plain loops.

mod accumulate;
mod amx;
mod avx512;
mod isa;
mod mat;
mod pack;
mod portable;
mod single;
mod threads;
mod tile;
mod tiles;

use std::cell::Cell;

use crate::ops::Precision;
pub use accumulate::Accumulate;
pub use isa::Isa;
pub use mat::Mat;
pub use pack::{Packed, Panels, Right, fill_both};
pub use threads::Threads;
pub use tile::Side;
pub use tiles::{Epilogue, multiply, multiply_then};

/// `out[m, n] = onto[m, n] + a[m, k] b[k, n]`; `out`'s rows lie `out_row` apart. No size is zero.
///
/// # Safety
/// The pointers must be valid for the sizes and strides given, `out` for writing and apart from the others.
#[allow(clippy::too_many_arguments)]
pub unsafe fn matmul(
    compute: Precision,
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    onto: Accumulate,
    a: Mat,
    b: Mat,
    threads: Threads,
) {
    // SAFETY: forwarded to the caller.
    unsafe {
        match compute {
            Precision::F32 => single::multiply((m, k, n), out, out_row, onto, a, b, threads),
            Precision::Bf16 => {
                let out = (out, out_row);
                matmul_bf16_then((m, k, n), out, onto, a, b, threads, &|_, _| {});
            }
        }
    }
}

/// As [`matmul`] in bf16, and calls `then` once for each part of the output that is finished; the parts do not overlap.
///
/// # Safety
/// As [`matmul`].
pub unsafe fn matmul_bf16_then(
    (m, k, n): (usize, usize, usize),
    out: (*mut f32, usize),
    onto: Accumulate,
    a: Mat,
    b: Mat,
    threads: Threads,
    then: Epilogue<'_>,
) {
    let (unit, (mut left, mut right)) = (Isa::chosen(), PACKED.take());
    // SAFETY: forwarded to the caller; the packed operands live until the product is done.
    unsafe {
        let a = left.pieces(unit, Side::Left, a, m, k);
        let b = right.pieces(unit, Side::Right, b.t(), n, k);
        fill_both(&a, &b, threads);
        multiply_then(unit, left.all(), right.all(), out, onto, threads, then);
    }
    PACKED.set((left, right));
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
    onto: Accumulate,
    a: Mat,
    b: &Right<'_>,
) {
    // SAFETY: forwarded to the caller.
    unsafe {
        match b.packed {
            None => single::multiply((m, k, n), out, out_row, onto, a, b.mat, Threads::One),
            Some(right) => {
                let (unit, (mut left, other)) = (Isa::chosen(), PACKED.take());
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
        compute: Precision,
        (m, k, n): (usize, usize, usize),
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
    ) -> Vec<f64> {
        let round = |x: f32| match compute {
            Precision::F32 => f64::from(x),
            Precision::Bf16 => f64::from(bf16::from_f32(x)),
        };
        let at = |i, j| (0..k).map(|l| round(a(i, l)) * round(b(l, j))).sum();
        (0..m * n).map(|i| at(i / n, i % n)).collect()
    }

    /// The multiplying function, with its name.
    type Multiply = Box<dyn Fn((usize, usize, usize), *mut f32, usize, Accumulate, Mat, Mat)>;

    fn ways(compute: Precision) -> Vec<(&'static str, Multiply)> {
        // SAFETY (of all): the test's operands have these sizes.
        match compute {
            Precision::F32 => {
                let one: Multiply = Box::new(|size, out, row, onto, a, b| unsafe {
                    single::multiply(size, out, row, onto, a, b, Threads::One);
                });
                let all: Multiply = Box::new(|size, out, row, onto, a, b| unsafe {
                    single::multiply(size, out, row, onto, a, b, Threads::All);
                });
                vec![("one thread", one), ("all threads", all)]
            }
            Precision::Bf16 => Isa::available()
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

    /// Every unit, with operands as they are and transposed, ragged and with several jobs, agrees with products in f64 up to rounding. The
    /// product is added to the previous values, and no other memory changes.
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
        for compute in [Precision::F32, Precision::Bf16] {
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
                            (Accumulate::Nothing, "nothing"),
                            (Accumulate::Out, "out"),
                            (Accumulate::Other(Mat::repeated(&others[..n])), "a row"),
                            (Accumulate::Other(Mat::rows(&others, n)), "others"),
                        ] {
                            let what = format!("{name} {m}x{k}x{n} {ta} {tb} onto {what}");
                            let row = n + 3;
                            let mut out = vec![0.5f32; m * row];
                            multiply((m, k, n), out.as_mut_ptr(), row, onto, left, right);
                            for (i, out) in out.chunks_exact(row).enumerate() {
                                for (j, got) in out[..n].iter().enumerate() {
                                    let before = match onto {
                                        Accumulate::Nothing => 0.0,
                                        Accumulate::Out => 0.5,
                                        Accumulate::Other(mat) if mat.row == 0 => others[j],
                                        Accumulate::Other(_) => others[i * n + j],
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
