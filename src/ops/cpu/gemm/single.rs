//! Products in f32, by the `gemm` crate.

use rayon::prelude::*;

use super::accumulate::Accumulate;
use super::mat::Mat;
use super::threads::Threads;
use crate::ops::cpu::{ROWS_PER_TASK, Shared};

/// `out[m, n] = onto[m, n] + a[m, k] b[k, n]`.
///
/// # Safety
/// As [`super::matmul`].
pub unsafe fn multiply(
    (m, k, n): (usize, usize, usize),
    out: *mut f32,
    out_row: usize,
    onto: Accumulate,
    a: Mat,
    b: Mat,
    threads: Threads,
) {
    if let Accumulate::Other(onto) = onto {
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
                !matches!(onto, Accumulate::Nothing),
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

/// Outputs of more values than this, such as a vocabulary's logits, are divided into parts of [`PART`] rows and columns. The crate would
/// pack complete operands, which takes as much memory again and is slower.
const LARGE: usize = 4 << 20;
const PART: (usize, usize) = (768, 512);
