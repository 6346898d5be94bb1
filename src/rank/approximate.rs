//! k* and m* of one attention matrix.

use nalgebra::DMatrix;
use pulp::{Simd, WithSimd};

/// Slack of the threshold, so that exact ties (the identity, the previous-token matrix) are met in floating point.
const TIE: f64 = 1e-10;

/// Power steps that are tried on a collapsed matrix before the full decomposition.
const POWER_STEPS: usize = 3;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RankError {
    #[error("tau and eta must lie in (0, 1], not {0}")]
    Threshold(f64),
    #[error("{values} values do not fill a {t} x {t} matrix")]
    Shape { values: usize, t: usize },
    #[error("the attention matrix holds a number that is not finite (row {row}, column {column})")]
    NotFinite { row: usize, column: usize },
    #[error("layer {layer}, head {head}: {source}")]
    At {
        layer: usize,
        head: usize,
        source: Box<RankError>,
    },
}

/// Returns the smallest k whose k largest sigma_i^2 sum to at least `tau` of the total, for the row-major `t x t`
/// matrix `a`.
///
/// The squared singular values are the eigenvalues of A Aᵀ, computed in f64. That squares the condition number, which
/// does no harm: errors are about 1e-16 of the *largest* eigenvalue, and only sums are compared with the total.
///
/// # Errors
/// When `tau` is outside (0, 1], the shape does not fit, or a number is not finite.
pub fn k_star(a: &[f32], t: usize, tau: f64) -> Result<usize, RankError> {
    check_shape(a, t, tau)?;
    let (total, enough) = bound(a, tau);
    check_finite(a, t, total)?;
    if collapsed(a, t, enough) {
        return Ok(1);
    }
    let matrix = DMatrix::from_row_iterator(t, t, a.iter().map(|&x| f64::from(x)));
    let gram = &matrix * matrix.transpose();
    let mut squares: Vec<f64> = gram.symmetric_eigenvalues().iter().copied().collect();
    squares.sort_by(|x, y| y.total_cmp(x));
    Ok(smallest_count(&squares, enough))
}

/// Returns the sum of all sigma², and how much of it k* values must hold.
#[inline(always)]
pub(super) fn bound(a: &[f32], tau: f64) -> (f64, f64) {
    // In lanes, since a single sum would serialise the additions.
    let mut lanes = [0f64; 16];
    let mut parts = a.chunks_exact(lanes.len());
    for part in parts.by_ref() {
        for (lane, &x) in lanes.iter_mut().zip(part) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(parts.remainder()) {
        *lane += f64::from(x) * f64::from(x);
    }
    let total: f64 = lanes.iter().sum();
    (total, tau * total * (1.0 - TIE))
}

/// Whether one singular value is enough. The Rayleigh quotient |A v|² / |v|² of any v is a lower bound of the largest
/// sigma², so a "yes" is certain and a "no" is not.
fn collapsed(a: &[f32], t: usize, enough: f64) -> bool {
    let mut v: Vec<f64> = (0..t)
        .map(|j| a.iter().skip(j).step_by(t).map(|&x| f64::from(x)).sum())
        .collect();
    for _ in 0..POWER_STEPS {
        let norm2: f64 = v.iter().map(|x| x * x).sum();
        if norm2 <= 0.0 {
            return false;
        }
        let image: Vec<f64> = a
            .chunks_exact(t)
            .map(|row| row.iter().zip(&v).map(|(&x, y)| f64::from(x) * y).sum())
            .collect();
        let quotient = image.iter().map(|x| x * x).sum::<f64>() / norm2;
        // Slightly above the bound, to allow for the rounding of the quotient.
        if quotient >= enough * (1.0 + 1e-12) {
            return true;
        }
        v.fill(0.0);
        for (row, y) in a.chunks_exact(t).zip(&image) {
            for (v, &x) in v.iter_mut().zip(row) {
                *v += f64::from(x) * y;
            }
        }
    }
    false
}

/// Returns the smallest number of columns, heaviest first, whose squared norms sum to at least `eta` of the total.
///
/// # Errors
/// As [`k_star`].
pub fn m_star(a: &[f32], t: usize, eta: f64) -> Result<usize, RankError> {
    check_shape(a, t, eta)?;
    let mut columns = pulp::Arch::new().dispatch(Columns { a, t });
    let total: f64 = columns.iter().sum();
    check_finite(a, t, total)?;
    columns.sort_by(|x, y| y.total_cmp(x));
    Ok(smallest_count(&columns, eta * total * (1.0 - TIE)))
}

/// Squared norms of the columns of a `t x t` matrix, compiled for the CPU's instruction set.
struct Columns<'a> {
    a: &'a [f32],
    t: usize,
}

impl WithSimd for Columns<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        let mut columns = vec![0f64; self.t];
        for row in self.a.chunks_exact(self.t.max(1)) {
            for (c, &x) in columns.iter_mut().zip(row) {
                let x = f64::from(x);
                *c += x * x;
            }
        }
        columns
    }
}

fn smallest_count(descending: &[f64], enough: f64) -> usize {
    let mut sum = 0.0;
    for (i, x) in descending.iter().enumerate() {
        sum += x;
        if sum >= enough {
            return i + 1;
        }
    }
    descending.len()
}

/// # Errors
/// When `tau` is not in (0, 1], or `a` is not square.
pub(super) fn check_shape(a: &[f32], t: usize, tau: f64) -> Result<(), RankError> {
    if !(tau > 0.0 && tau <= 1.0) {
        return Err(RankError::Threshold(tau));
    }
    if t == 0 || a.len() != t * t {
        return Err(RankError::Shape { values: a.len(), t });
    }
    Ok(())
}

/// Looks for values that are not finite only if the sum of all squares is not finite.
///
/// # Errors
/// Names the place of the first.
pub(super) fn check_finite(a: &[f32], t: usize, total: f64) -> Result<(), RankError> {
    let bad = || a.iter().position(|x| !x.is_finite());
    match (!total.is_finite()).then(bad).flatten() {
        Some(i) => Err(RankError::NotFinite {
            row: i / t,
            column: i % t,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(t: usize, f: impl Fn(usize, usize) -> f64) -> Vec<f32> {
        (0..t * t).map(|i| f(i / t, i % t) as f32).collect()
    }

    fn uniform_causal(t: usize) -> Vec<f32> {
        matrix(t, |i, j| if j <= i { 1.0 / (i + 1) as f64 } else { 0.0 })
    }

    /// The test vectors of the method's definition, T = 100, tau = eta = 0.90.
    #[test]
    fn known_matrices_have_their_known_ranks() {
        let t = 100;
        let one = |yes: bool| if yes { 1.0 } else { 0.0 };
        let cases = [
            ("uniform causal", uniform_causal(t), 5, 30),
            ("identity", matrix(t, |i, j| one(i == j)), 90, 90),
            (
                "previous token",
                matrix(t, |i, j| one(j == i.saturating_sub(1))),
                89,
                89,
            ),
            ("first column", matrix(t, |_, j| one(j == 0)), 1, 1),
            ("uniform", matrix(t, |_, _| 0.01), 1, 90),
        ];
        for (name, a, k, m) in cases {
            assert_eq!(k_star(&a, t, 0.9).unwrap(), k, "k* of {name}");
            assert_eq!(m_star(&a, t, 0.9).unwrap(), m, "m* of {name}");
        }
    }

    #[test]
    fn the_threshold_moves_the_rank() {
        let a = uniform_causal(100);
        let k = [0.80, 0.85, 0.90, 0.95].map(|tau| k_star(&a, 100, tau).unwrap());
        assert_eq!(k, [3, 4, 5, 8]);
        assert_eq!(k_star(&uniform_causal(1024), 1024, 0.9).unwrap(), 7);
    }

    /// Random causal attention matrices compared with numpy's SVD in f64: tests/fixtures/make_rank_fixture.py.
    #[test]
    fn ranks_are_those_of_numpys_svd() {
        let text = include_str!("../../tests/fixtures/rank.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 20);
        for case in &cases {
            let t = case["t"].as_u64().unwrap() as usize;
            let a: Vec<f32> = serde_json::from_value(case["a"].clone()).unwrap();
            for want in case["want"].as_array().unwrap() {
                let tau = want["tau"].as_f64().unwrap();
                let got = (
                    k_star(&a, t, tau).unwrap() as u64,
                    m_star(&a, t, tau).unwrap() as u64,
                );
                let want = (want["k"].as_u64().unwrap(), want["m"].as_u64().unwrap());
                assert_eq!(got, want, "{} at tau {tau}", case["name"]);
            }
        }
    }

    #[test]
    fn what_is_no_attention_matrix_is_refused() {
        assert_eq!(k_star(&[1.0; 4], 2, 0.0), Err(RankError::Threshold(0.0)));
        assert_eq!(
            k_star(&[1.0; 5], 2, 0.9),
            Err(RankError::Shape { values: 5, t: 2 })
        );
        let nan = [1.0, 0.0, f32::NAN, 1.0];
        assert_eq!(
            m_star(&nan, 2, 0.9),
            Err(RankError::NotFinite { row: 1, column: 0 })
        );
    }
}
