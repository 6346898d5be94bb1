//! Sums over the rows of a matrix, column by column: gradients of biases and of norms' weights.

use std::cell::Cell;

use rayon::prelude::*;

use super::ROWS_PER_TASK;

/// Pieces that rows are divided into at most, so that partial sums stay small next to what is summed.
const MOST_PIECES: usize = 64;

/// Returns the number of rows of a piece. It depends on the number of rows alone, and with it the order of addition.
pub fn rows_of_piece(rows: usize) -> usize {
    rows.div_ceil(MOST_PIECES).next_multiple_of(ROWS_PER_TASK)
}

/// Adds to `into` what pieces of rows contribute: `add(i, piece, sums)` adds the i-th piece's part to zeros, on any thread, and
/// the parts are added in the order of the pieces.
pub fn column_sums<P: IndexedParallelIterator>(
    into: &mut [f32],
    pieces: P,
    add: impl Fn(usize, P::Item, &mut [f32]) + Sync,
) {
    thread_local! {
        /// Taken out while in use: this thread may work on other pieces meanwhile.
        static PARTS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    }
    let columns = into.len();
    if columns == 0 {
        return;
    }
    let mut parts = PARTS.take();
    parts.clear();
    parts.resize(pieces.len() * columns, 0.0);
    parts
        .par_chunks_mut(columns)
        .zip(pieces)
        .enumerate()
        .for_each(|(i, (sums, piece))| add(i, piece, sums));
    simd!(add_rows(into, &parts));
    PARTS.set(parts);
}

/// `sums[N] += Σ_rows x[M, N]`, four rows at a time.
#[inline(always)]
pub fn add_rows(sums: &mut [f32], x: &[f32]) {
    let n = sums.len();
    let fours = x.chunks_exact(4 * n);
    let rest = fours.remainder();
    for four in fours {
        let (ab, cd) = four.split_at(2 * n);
        let ((a, b), (c, d)) = (ab.split_at(n), cd.split_at(n));
        for i in 0..n {
            sums[i] += (a[i] + b[i]) + (c[i] + d[i]);
        }
    }
    for row in rest.chunks_exact(n) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums have the same bits with any number of threads, and are near those in f64.
    #[test]
    fn columns_are_summed_in_one_order() {
        for (rows, n) in [(1, 1), (3, 5), (31, 16), (33, 40), (300, 7), (5000, 33)] {
            let x: Vec<f32> = (0..rows * n)
                .map(|i| ((i * 7919 % 10007) as f32 - 5000.0) * 3e-4)
                .collect();
            let sums = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.unwrap().install(|| {
                    let mut sums = vec![0.5; n];
                    let pieces = x.par_chunks(rows_of_piece(rows) * n);
                    column_sums(&mut sums, pieces, |_, x, sums| add_rows(sums, x));
                    sums
                })
            };
            let got = sums(1);
            assert_eq!(got, sums(3));
            for (j, got) in got.iter().enumerate() {
                let column = x.iter().skip(j).step_by(n);
                let want = 0.5 + column.map(|&v| f64::from(v)).sum::<f64>();
                assert!((f64::from(*got) - want).abs() < 1e-3, "{got}, not {want}");
            }
        }
    }
}
