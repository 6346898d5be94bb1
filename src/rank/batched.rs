//! Computes k* of many matrices at once: in f32, with a matrix in each lane of the CPU's vectors, and in f64 where f32 is too
//! inexact.
//!
//! The squared singular values of A are the eigenvalues of G = A Aᵀ. Householder reflections make G tridiagonal, and implicit QL
//! steps without square roots (Pal, Walker and Kahan's variant, as LAPACK's ssterf) find its eigenvalues. No step branches on
//! one matrix's numbers: a lane that has finished keeps its values while the others continue. `nalgebra` decomposes one
//! matrix at a time in f64, so it is used only for the matrices that f32 cannot decide.
//!
//! Before that, each matrix is tried in a few dimensions ([`few`](super::few)), which decides half of a language
//! model's.
//!
//! In f32 a sum of eigenvalues is off by some 1e-6 of the total for matrices of a hundred rows. If a sum is closer than
//! [`margin`] to the bound, that matrix is decided in f64 ([`k_star`]): answers equal those of f64.

use pulp::{Simd, WithSimd};

use super::approximate::{RankError, bound, check_finite, check_shape, k_star};
use super::few::few;

/// Largest size of matrices that are decided in parallel. A vector of larger ones would need half a gigabyte, and with ranks of
/// hundreds the sums are so close that f32 seldom decides.
pub const MOST_SIDE_BY_SIDE: usize = 1024;

/// Distance from the bound, as a share of the total, below which a sum in f32 is not trusted. Of SmolLM2's matrices the
/// largest errors were 1.1e-6 of the total at 100 rows, 2.9e-6 at 1024.
fn margin(t: usize, total: f64) -> f64 {
    3e-6 * (t as f64).sqrt() * total
}

/// Bytes that a thread needs in addition to the given `t x t` matrices.
pub fn scratch_bytes(t: usize) -> u64 {
    let one = (t * t) as u64;
    match t <= MOST_SIDE_BY_SIDE {
        true => 2 * LANES * 4 * one,
        // The matrix, its product with itself, and the buffers of the decomposition.
        false => 4 * 8 * one,
    }
}

/// Lanes of the widest vectors.
const LANES: u64 = 16;

/// Steps after which QL has always converged: a lane needs two or three.
const STEPS: usize = 40;

/// Returns k* of each row-major `t x t` matrix in `all`, as [`k_star`] computes it.
///
/// # Errors
/// As [`k_star`], with the number of the matrix.
pub fn k_stars(all: &[f32], t: usize, tau: f64) -> Result<Vec<usize>, (usize, RankError)> {
    let matrices: Vec<&[f32]> = all.chunks_exact((t * t).max(1)).collect();
    let first = matrices.first().copied().unwrap_or(all);
    check_shape(first, t, tau).map_err(|error| (0, error))?;
    let (totals, mut found) = pulp::Arch::new().dispatch(Quick {
        matrices: &matrices,
        t,
        tau,
    });
    for (i, (a, (total, _))) in matrices.iter().zip(&totals).enumerate() {
        check_finite(a, t, *total).map_err(|error| (i, error))?;
    }
    let left: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
    let squares = match t <= MOST_SIDE_BY_SIDE {
        true => eigenvalues(&left.iter().map(|&i| matrices[i]).collect::<Vec<_>>(), t),
        false => Vec::new(),
    };
    for (n, &i) in left.iter().enumerate() {
        let quick = squares.get(n * t..(n + 1) * t);
        found[i] = quick.and_then(|squares| decide(squares, totals[i]));
    }
    let each = found.into_iter().zip(matrices).enumerate();
    each.map(|(i, (k, a))| {
        k.map_or_else(|| k_star(a, t, tau), Ok)
            .map_err(|error| (i, error))
    })
    .collect()
}

/// Computes the part of each matrix alone: its sum of squares, the bound, and k* if that is quick.
struct Quick<'a> {
    matrices: &'a [&'a [f32]],
    t: usize,
    tau: f64,
}

impl WithSimd for Quick<'_> {
    type Output = (Vec<(f64, f64)>, Vec<Option<usize>>);

    // Compiled for the CPU's instruction set: plain loops, which the compiler vectorises.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let mut scratch = Vec::new();
        let (mut totals, mut found) = (Vec::new(), Vec::new());
        for a in self.matrices {
            let (total, enough) = bound(a, self.tau);
            totals.push((total, enough));
            let margin = margin(self.t, total);
            found.push(few(a, self.t, (total, enough), margin, &mut scratch));
        }
        (totals, found)
    }
}

/// Returns k* if f32 can decide it: `(total, enough)` are exact.
fn decide(squares: &[f32], (total, enough): (f64, f64)) -> Option<usize> {
    let mut values: Vec<f64> = squares.iter().map(|&s| f64::from(s)).collect();
    let (sum, margin) = (values.iter().sum::<f64>(), margin(values.len(), total));
    // Also if a value is not finite, or a lane did not converge.
    if (sum - total).abs() > margin || !sum.is_finite() {
        return None;
    }
    values.sort_by(|x, y| y.total_cmp(x));
    let mut sum = 0.0;
    for (k, value) in values.iter().enumerate() {
        sum += value;
        if (sum - enough).abs() <= margin {
            return None;
        }
        if sum > enough {
            return Some(k + 1);
        }
    }
    None
}

/// Returns the squared singular values of each matrix, in no order; NaN where a matrix is better decided alone.
fn eigenvalues(matrices: &[&[f32]], t: usize) -> Vec<f32> {
    pulp::Arch::new().dispatch(Eigenvalues { matrices, t })
}

struct Eigenvalues<'a> {
    matrices: &'a [&'a [f32]],
    t: usize,
}

impl WithSimd for Eigenvalues<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let (t, lanes) = (self.t, S::F32_LANES);
        let zero = simd.splat_f32s(0.0);
        let mut found = vec![0f32; self.matrices.len() * t];
        let (mut a, mut g) = (vec![zero; t * t], vec![zero; t * t]);
        let (mut d, mut e) = (vec![zero; t], vec![zero; t]);
        let mut scratch = [(); 4].map(|()| vec![zero; t]);
        let groups = self.matrices.chunks(lanes);
        for (matrices, found) in groups.zip(found.chunks_mut(lanes * t)) {
            // A group takes as long as four or five matrices one by one, whatever its size.
            if 4 * matrices.len() < lanes {
                found.fill(f32::NAN);
                continue;
            }
            a.fill(zero);
            let into: &mut [f32] = bytemuck::cast_slice_mut(&mut a);
            // Element by element through all matrices, so that writes are contiguous.
            for (i, into) in into.chunks_exact_mut(lanes).enumerate() {
                for (into, matrix) in into.iter_mut().zip(matrices) {
                    *into = matrix[i];
                }
            }
            gram(simd, &a, &mut g, t);
            let [u, v, w, p] = &mut scratch;
            tridiagonal(simd, &mut g, (&mut d, &mut e), [u, v, w, p]);
            ql(simd, &mut d, &mut e);
            let values: &[f32] = bytemuck::cast_slice(&d);
            for (lane, found) in found.chunks_exact_mut(t).enumerate() {
                for (found, &x) in found
                    .iter_mut()
                    .zip(values.iter().skip(lane).step_by(lanes))
                {
                    *found = x;
                }
            }
        }
        found
    }
}

/// Computes the lower half of A Aᵀ. Columns after a row's last nonzero value, in all matrices, are skipped: attention
/// is causal.
#[inline(always)]
fn gram<S: Simd>(simd: S, a: &[S::f32s], g: &mut [S::f32s], t: usize) {
    const ROWS: usize = 4;
    let zero = simd.splat_f32s(0.0);
    let end = |row: &[S::f32s]| -> usize {
        let numbers: &[f32] = bytemuck::cast_slice(row);
        let last = numbers.iter().rposition(|x| *x != 0.0);
        last.map_or(0, |last| last / S::F32_LANES + 1)
    };
    let ends: Vec<usize> = a.chunks_exact(t).map(end).collect();
    for first in (0..t).step_by(ROWS) {
        // The last rows are computed with those before them: computing a row twice does no harm.
        let first = first.min(t.saturating_sub(ROWS));
        let rows = ROWS.min(t - first);
        let end = ends[first..first + rows].iter().copied().max().unwrap_or(0);
        for j in 0..first + rows {
            let n = end.min(ends[j]);
            let other = &a[j * t..][..n];
            let mut sums = [zero; ROWS];
            if rows == ROWS {
                let [r0, r1, r2, r3] = [0, 1, 2, 3].map(|r| &a[(first + r) * t..][..n]);
                let each = other.iter().zip(r0).zip(r1).zip(r2).zip(r3);
                for ((((&x, &a0), &a1), &a2), &a3) in each {
                    sums[0] = simd.mul_add_e_f32s(x, a0, sums[0]);
                    sums[1] = simd.mul_add_e_f32s(x, a1, sums[1]);
                    sums[2] = simd.mul_add_e_f32s(x, a2, sums[2]);
                    sums[3] = simd.mul_add_e_f32s(x, a3, sums[3]);
                }
            } else {
                for (r, sum) in sums[..rows].iter_mut().enumerate() {
                    for (&x, &y) in other.iter().zip(&a[(first + r) * t..][..n]) {
                        *sum = simd.mul_add_e_f32s(x, y, *sum);
                    }
                }
            }
            for r in 0..rows {
                if j <= first + r {
                    g[(first + r) * t + j] = sums[r];
                }
            }
        }
    }
}

/// Computes the diagonal, and the squares of the off-diagonal elements, `e[i]` between `i` and `i + 1`, of a similar
/// tridiagonal matrix. Works on the lower half of `g`; the four others are scratch.
#[inline(always)]
fn tridiagonal<S: Simd>(
    simd: S,
    g: &mut [S::f32s],
    (d, e): (&mut [S::f32s], &mut [S::f32s]),
    [u, v, w, p]: [&mut [S::f32s]; 4],
) {
    let t = d.len();
    let (zero, one, half) = (
        simd.splat_f32s(0.0),
        simd.splat_f32s(1.0),
        simd.splat_f32s(0.5),
    );
    let tiny = simd.splat_f32s(f32::MIN_POSITIVE);
    e[t - 1] = zero;
    // The last row's elements left of the diagonal are reflected onto the one next to it, and so on upwards, so that
    // the remaining work is at the beginning of memory. `v` and `w` are the previous reflection, with which rows are
    // still to be updated: G -= v wᵀ + w vᵀ, with w negative. Updating a row and multiplying it by the next reflection
    // is done in one pass.
    let mut before: Option<usize> = None;
    for n in (1..t).rev() {
        // The row that determines the next reflection.
        let row = &mut g[n * t..][..n + 1];
        if before.is_some() {
            update(simd, row, v, w, n);
        }
        d[n] = row[n];
        u[..n].copy_from_slice(&row[..n]);
        let mut norm2 = zero;
        for &x in &u[..n] {
            norm2 = simd.mul_add_e_f32s(x, x, norm2);
        }
        e[n - 1] = norm2;
        // u = x + sign(x) |x| e, and beta = 2 / uᵀu = 1 / (|x|² + |x| |x_last|).
        let (norm, last) = (simd.sqrt_f32s(norm2), u[n - 1]);
        let product = simd.mul_add_e_f32s(norm, simd.abs_f32s(last), norm2);
        let inverse = simd.div_f32s(one, product);
        let beta = simd.select_f32s(simd.greater_than_f32s(product, tiny), inverse, zero);
        u[n - 1] = simd.add_f32s(last, with_sign(simd, norm, last));
        // p = beta G u, from the lower half only.
        p[..n].fill(zero);
        for i in 0..n {
            let row = &mut g[i * t..][..i + 1];
            let ui = u[i];
            let mut sum;
            if before.is_some() {
                let (vi, wi) = (v[i], w[i]);
                sum = zero;
                let each = row[..i].iter_mut().zip(&v[..i]).zip(&w[..i]);
                for (((x, &vj), &wj), (&uj, pj)) in each.zip(u[..i].iter().zip(&mut p[..i])) {
                    let y = simd.mul_add_e_f32s(vi, wj, simd.mul_add_e_f32s(wi, vj, *x));
                    *x = y;
                    sum = simd.mul_add_e_f32s(y, uj, sum);
                    *pj = simd.mul_add_e_f32s(y, ui, *pj);
                }
                let twice = simd.mul_f32s(vi, wi);
                row[i] = simd.add_f32s(row[i], simd.add_f32s(twice, twice));
            } else {
                sum = zero;
                for ((&x, &uj), pj) in row[..i].iter().zip(&u[..i]).zip(&mut p[..i]) {
                    sum = simd.mul_add_e_f32s(x, uj, sum);
                    *pj = simd.mul_add_e_f32s(x, ui, *pj);
                }
            }
            sum = simd.mul_add_e_f32s(row[i], ui, sum);
            p[i] = simd.add_f32s(p[i], sum);
        }
        let mut inner = zero;
        for (p, &u) in p[..n].iter_mut().zip(&u[..n]) {
            *p = simd.mul_f32s(*p, beta);
            inner = simd.mul_add_e_f32s(*p, u, inner);
        }
        // w = p - (beta / 2) (pᵀu) u, negative.
        let share = simd.mul_f32s(simd.mul_f32s(half, beta), inner);
        for ((w, &p), (v, &u)) in w.iter_mut().zip(&p[..n]).zip(v.iter_mut().zip(&u[..n])) {
            *w = simd.sub_f32s(simd.mul_f32s(share, u), p);
            *v = u;
        }
        before = Some(n);
    }
    if before.is_some() {
        update(simd, &mut g[..1], v, w, 0);
    }
    d[0] = g[0];
}

/// Computes row `i` of G -= v wᵀ + w vᵀ up to its diagonal, with w negative.
#[inline(always)]
fn update<S: Simd>(simd: S, row: &mut [S::f32s], v: &[S::f32s], w: &[S::f32s], i: usize) {
    let (vi, wi) = (v[i], w[i]);
    for ((x, &vj), &wj) in row.iter_mut().zip(v).zip(w) {
        *x = simd.mul_add_e_f32s(vi, wj, simd.mul_add_e_f32s(wi, vj, *x));
    }
}

/// Returns `x`, which is positive, with the sign of `of`.
#[inline(always)]
fn with_sign<S: Simd>(simd: S, x: S::f32s, of: S::f32s) -> S::f32s {
    let negative = simd.less_than_f32s(of, simd.splat_f32s(0.0));
    simd.select_f32s(negative, simd.neg_f32s(x), x)
}

/// Computes eigenvalues in place of `d`. `e` holds squares.
#[inline(always)]
fn ql<S: Simd>(simd: S, d: &mut [S::f32s], e: &mut [S::f32s]) {
    let t = d.len();
    let of = |x: f32| simd.splat_f32s(x);
    let (zero, one, two) = (of(0.0), of(1.0), of(2.0));
    let (eps2, tiny, least) = (
        of(f32::EPSILON * f32::EPSILON),
        of(f32::MIN_POSITIVE),
        of(1e-30),
    );
    for l in 0..t.saturating_sub(1) {
        for _ in 0..STEPS {
            let (here, next, square) = (d[l], d[l + 1], e[l]);
            let small = simd.mul_f32s(eps2, simd.abs_f32s(simd.mul_f32s(here, next)));
            let works = simd.and_m32s(
                simd.greater_than_f32s(square, small),
                simd.greater_than_f32s(square, tiny),
            );
            if simd.first_true_m32s(works) == S::F32_LANES {
                break;
            }
            // Wilkinson's shift.
            let root = simd.sqrt_f32s(square);
            let half = simd.div_f32s(simd.sub_f32s(next, here), simd.mul_f32s(two, root));
            let r = simd.sqrt_f32s(simd.mul_add_e_f32s(half, half, one));
            let below = simd.add_f32s(half, with_sign(simd, r, half));
            let shift = simd.sub_f32s(here, simd.div_f32s(root, below));
            let sigma = simd.select_f32s(works, shift, zero);
            let (mut c, mut s) = (one, zero);
            let mut gamma = simd.sub_f32s(d[t - 1], sigma);
            let mut p = simd.mul_f32s(gamma, gamma);
            for m in (l..t - 1).rev() {
                let square = e[m];
                let r = simd.add_f32s(p, square);
                if m + 1 < t - 1 {
                    e[m + 1] = simd.select_f32s(works, simd.mul_f32s(s, r), e[m + 1]);
                }
                let some = simd.greater_than_f32s(r, zero);
                let inverse = simd.select_f32s(some, simd.div_f32s(one, r), zero);
                let before = c;
                c = simd.select_f32s(some, simd.mul_f32s(p, inverse), one);
                s = simd.mul_f32s(square, inverse);
                let (old, here) = (gamma, d[m]);
                let turned = simd.mul_f32s(c, simd.sub_f32s(here, sigma));
                gamma = simd.sub_f32s(turned, simd.mul_f32s(s, old));
                let moved = simd.add_f32s(old, simd.sub_f32s(here, gamma));
                p = simd.select_f32s(
                    simd.greater_than_f32s(c, least),
                    simd.div_f32s(simd.mul_f32s(gamma, gamma), c),
                    simd.mul_f32s(before, square),
                );
                d[m + 1] = simd.select_f32s(works, moved, d[m + 1]);
            }
            e[l] = simd.select_f32s(works, simd.mul_f32s(s, p), e[l]);
            d[l] = simd.select_f32s(works, simd.add_f32s(sigma, gamma), d[l]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the causal softmax of noise, with a sharpness and a sink of the given strengths.
    fn attention(t: usize, sharp: f32, sink: f32, seed: u64) -> Vec<f32> {
        let noise = |i: u64| {
            let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        };
        let mut a = vec![0f32; t * t];
        for (i, row) in a.chunks_exact_mut(t).enumerate() {
            let mut sum = 0.0;
            for (j, x) in row[..=i].iter_mut().enumerate() {
                let score = sharp * noise((i * t + j) as u64) + if j == 0 { sink } else { 0.0 };
                *x = score.exp();
                sum += *x;
            }
            row[..=i].iter_mut().for_each(|x| *x /= sum);
        }
        a
    }

    #[test]
    fn many_at_once_are_as_one_by_one() {
        for t in [1, 2, 3, 17, 40, 100] {
            let kinds = [0.0, 1.0, 3.0, 8.0, 20.0];
            let sinks = [0.0, 2.0, 5.0, 9.0];
            let mut all = Vec::new();
            for (i, sharp) in kinds.iter().enumerate() {
                for (j, sink) in sinks.iter().enumerate() {
                    all.extend(attention(t, *sharp, *sink, (10 * i + j) as u64));
                }
            }
            // Exact ties, zeros, and a matrix that is not causal.
            all.extend((0..t * t).map(|i| f32::from(i % t == i / t)));
            all.extend(vec![0f32; t * t]);
            all.extend(vec![1.0 / t as f32; t * t]);
            for tau in [0.5, 0.8, 0.9, 0.95, 1.0] {
                let want: Vec<usize> = all
                    .chunks_exact(t * t)
                    .map(|a| k_star(a, t, tau).unwrap())
                    .collect();
                assert_eq!(k_stars(&all, t, tau).unwrap(), want, "t = {t}, tau = {tau}");
            }
        }
    }

    #[test]
    fn long_windows_are_decided_side_by_side_too() {
        let t = 300;
        let kinds = [
            (0.5, 2.0),
            (3.0, 0.0),
            (8.0, 3.0),
            (1.0, 0.5),
            (5.0, 1.0),
            (2.0, 2.0),
        ]
        .into_iter()
        .enumerate();
        let all: Vec<f32> = kinds
            .flat_map(|(i, (sharp, sink))| attention(t, sharp, sink, i as u64))
            .collect();
        let one_by_one = all.chunks_exact(t * t).map(|a| k_star(a, t, 0.9).unwrap());
        assert_eq!(
            k_stars(&all, t, 0.9).unwrap(),
            one_by_one.collect::<Vec<_>>()
        );
    }

    #[test]
    fn most_need_no_f64() {
        let t = 100;
        let all: Vec<f32> = (0..16)
            .flat_map(|i| attention(t, 0.5 * i as f32, 3.0, i as u64))
            .collect();
        let matrices: Vec<&[f32]> = all.chunks_exact(t * t).collect();
        let squares = eigenvalues(&matrices, t);
        let decided = matrices.iter().zip(squares.chunks_exact(t));
        let decided = decided.filter(|(a, squares)| decide(squares, bound(a, 0.9)).is_some());
        assert!(decided.count() >= 14);
    }

    #[test]
    fn the_matrix_that_is_none_is_named() {
        let t = 6;
        let mut all = attention(t, 1.0, 0.0, 1).repeat(20);
        all[18 * t * t + 7] = f32::NAN;
        let (which, error) = k_stars(&all, t, 0.9).unwrap_err();
        assert_eq!(which, 18);
        assert!(matches!(error, RankError::NotFinite { row: 1, column: 1 }));
    }
}
