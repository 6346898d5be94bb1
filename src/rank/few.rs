//! Computes k* of matrices for which a few dimensions suffice: nearly all matrices of collapsed heads.
//!
//! A Krylov space of G = A Aᵀ, of j dimensions with the orthonormal basis Q, gives T = Qᵀ G Q. Sums S_k of the k largest eigenvalues
//! are then bounded on both sides: S_k(T) <= S_k(G) <= S_k(T) + tr G - tr T. The lower bound is Cauchy's interlacing. For the upper
//! one let P be the projection on the space, R = 1 - P: Aᵀ A = Aᵀ P A + Aᵀ R A has G's eigenvalues, and by Ky Fan its S_k is at most
//! the sum of both parts'. The first part has T's eigenvalues, and no S_k of the second is more than its trace, tr G - tr T.

use nalgebra::SMatrix;

/// Dimensions of the space.
const DIMENSIONS: usize = 4;

/// Lanes of a sum, since a single sum would serialise the additions.
const LANES: usize = 32;

/// Returns k* of the row-major `t x t` matrix `a`, whose sum of squares is `total`, if both bounds are farther than
/// `margin` from `enough`. `scratch` is reusable memory.
#[inline(always)]
pub(super) fn few(
    a: &[f32],
    t: usize,
    (total, enough): (f64, f64),
    margin: f64,
    scratch: &mut Vec<f32>,
) -> Option<usize> {
    if t <= DIMENSIONS || total <= 0.0 {
        return None;
    }
    scratch.clear();
    scratch.resize((DIMENSIONS + 2) * t, 0.0);
    let (image, rest) = scratch.split_at_mut(t);
    let (next, basis) = rest.split_at_mut(t);
    // Rows of attention sum to one: a vector of ones is near the largest singular vector of a matrix that attends to
    // few columns.
    image.fill(1.0);
    times_gram(a, t, image, next);
    let mut tridiagonal = SMatrix::<f64, DIMENSIONS, DIMENSIONS>::zeros();
    let mut held = 0.0;
    for j in 0..DIMENSIONS {
        let norm = dot(next, next).sqrt();
        if j == 0 && norm <= f32::MIN_POSITIVE {
            return None;
        }
        if j > 0 {
            // The space is exhausted: the rest is rounding, without a direction. Both bounds also hold with fewer
            // dimensions.
            if f64::from(norm) <= EXHAUSTED * total {
                break;
            }
            tridiagonal[(j, j - 1)] = f64::from(norm);
            tridiagonal[(j - 1, j)] = f64::from(norm);
        }
        let (before, now) = basis.split_at_mut(j * t);
        let now = &mut now[..t];
        for (q, &x) in now.iter_mut().zip(&*next) {
            *q = x / norm;
        }
        image.copy_from_slice(now);
        let alpha = times_gram(a, t, image, next);
        tridiagonal[(j, j)] = f64::from(alpha);
        held += f64::from(alpha);
        // A Rayleigh quotient is a lower bound of the largest eigenvalue.
        if j == 0 && held >= enough + margin {
            return Some(1);
        }
        // Values that f32 cannot represent are left to f64.
        let outside = total - held;
        if !outside.is_finite() || outside > HOPELESS[j] * total {
            return None;
        }
        for _ in 0..2 {
            for q in before.chunks_exact(t).chain([&*now]) {
                let share = dot(q, next);
                for (x, &q) in next.iter_mut().zip(q) {
                    *x -= share * q;
                }
            }
        }
    }
    let mut values = tridiagonal.symmetric_eigenvalues();
    values.as_mut_slice().sort_by(|x, y| y.total_cmp(x));
    let mut sum = 0.0;
    let outside = total - held;
    for (k, value) in values.iter().enumerate() {
        if k > 0 && sum + outside > enough - margin {
            return None;
        }
        sum += value;
        if sum >= enough + margin {
            return Some(k + 1);
        }
    }
    None
}

/// Size of a new direction, as a share of the total, below which it is only rounding error.
const EXHAUSTED: f64 = 1e-4;

/// The largest share of the total that may lie outside the space for a further iteration to be worthwhile.
const HOPELESS: [f64; DIMENSIONS] = [0.6, 0.35, 0.25, 0.2];

/// Computes `out = A Aᵀ v`, and replaces `v` by `Aᵀ v`. Returns vᵀ A Aᵀ v.
#[inline(always)]
fn times_gram(a: &[f32], t: usize, v: &mut [f32], out: &mut [f32]) -> f32 {
    out.copy_from_slice(v);
    v.fill(0.0);
    for (row, &x) in a.chunks_exact(t).zip(&*out) {
        for (v, &a) in v.iter_mut().zip(row) {
            *v += x * a;
        }
    }
    for (row, out) in a.chunks_exact(t).zip(out) {
        *out = dot(row, v);
    }
    dot(v, v)
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in a.by_ref().zip(b.by_ref()) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(a).zip(b) {
            *lane += x * y;
        }
    }
    let rest = a.remainder().iter().zip(b.remainder());
    for (lane, (&x, &y)) in lanes.iter_mut().zip(rest) {
        *lane += x * y;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::k_star;

    /// Returns attention in which each row gives some columns their shares, and the rest to the token itself.
    fn to_sinks(t: usize, shares: &[f32]) -> Vec<f32> {
        let mut a = vec![0f32; t * t];
        for (i, row) in a.chunks_exact_mut(t).enumerate() {
            row[i] += 1.0;
            // Rows that attend to one sink each give a large singular value for each sink, here in the ratio 5 : 3 : 2.
            let which = [0, 1, 2, 0, 1, 0, 2, 1, 0, 0][i % 10] % shares.len();
            row[which] += shares[which];
            row[i] -= shares[which];
        }
        a
    }

    #[test]
    fn collapsed_heads_are_told_and_others_left() {
        let t = 100;
        let (mut scratch, mut told) = (Vec::new(), Vec::new());
        let identity = to_sinks(t, &[0.0]);
        for shares in [
            &[0.99f32][..],
            &[0.9],
            &[0.98, 0.98],
            &[0.97, 0.98, 0.99],
            &[0.0],
            // Matrices of a rank of at most the number of dimensions, which exhaust the space.
            &[1.0, 1.0, 1.0],
            &[1.0, 1.0],
            &[1.0],
        ] {
            let a = to_sinks(t, shares);
            let total: f64 = a.iter().map(|&x| f64::from(x).powi(2)).sum();
            let k = few(&a, t, (total, 0.9 * total), 1e-5 * total, &mut scratch);
            if let Some(k) = k {
                assert_eq!(k, k_star(&a, t, 0.9).unwrap(), "{shares:?}");
            }
            told.push(k);
        }
        let ranks = [1, 1, 2, 3].map(Some).into_iter().chain([None]);
        assert!(ranks.chain([3, 2, 1].map(Some)).eq(told));
        assert_eq!(k_star(&identity, t, 0.9).unwrap(), 90);
    }

    #[test]
    fn what_has_no_mass_or_no_room_is_left() {
        let mut scratch = Vec::new();
        assert_eq!(few(&[0.0; 64], 8, (0.0, 0.0), 0.0, &mut scratch), None);
        assert_eq!(few(&[1.0; 9], 3, (9.0, 8.0), 0.0, &mut scratch), None);
    }
}
