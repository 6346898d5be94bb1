//! Means over validation windows and their standard errors.

/// Returns how many windows of `time` tokens and their targets `even_starts` can lay over a text of `n_tokens` without
/// overlap: floor((n_tokens - 1) / time), at least 1.
///
/// Disjoint means that no token is read twice as an input and none is predicted twice: starts lie at least `time` apart.
/// (The last target of a window may be the first input of the next one.) `even_starts` spreads the starts over
/// n_tokens - time - 1 places, so that neighbours of N windows are at least floor((n_tokens - time - 1) / (N - 1)) apart:
/// `time` or more exactly when N is at most this number.
pub fn disjoint_windows(n_tokens: usize, time: usize) -> usize {
    (n_tokens.saturating_sub(1) / time.max(1)).max(1)
}

/// Returns the mean of window losses (or of paired differences) and its standard error; the error is NaN where there are
/// fewer than two disjoint windows. `disjoint` is the text's [`disjoint_windows`].
///
/// Disjoint windows are taken as independent: s / sqrt(n) with the sample standard deviation s (ddof 1).
///
/// Overlapping windows are the same tokens several times. Each is the mean of one block of `time` consecutive token
/// losses, so that all of them are *overlapping batch means*; the variance of their mean is
///
/// ```text
///     (1/n) Σ (x_i - mean)² / (B - 1)        B = `disjoint` blocks
/// ```
///
/// (Meketon and Schmeiser, "Overlapping batch means: something for nothing?", Winter Simulation Conference 1984: the
/// sample variance of the blocks at every offset, divided as for the B disjoint blocks that the text holds. It is the
/// average over all ways to cut the text into disjoint blocks, and has 2/3 of the variance of a single cut.) With n = B
/// both formulas are the same.
pub fn mean_stderr(values: &[f64], disjoint: usize) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len().min(disjoint) < 2 {
        return (mean, f64::NAN);
    }
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    if values.len() > disjoint {
        return (mean, (squares / n / (disjoint as f64 - 1.0)).sqrt());
    }
    let var = squares / (n - 1.0);
    (mean, (var / n).sqrt())
}

/// Returns mean and standard error of the paired differences `model - reference` (positive: the model is worse).
pub fn paired_gap(model: &[f64], reference: &[f64], disjoint: usize) -> (f64, f64) {
    debug_assert_eq!(model.len(), reference.len());
    let differences: Vec<f64> = model.iter().zip(reference).map(|(a, b)| a - b).collect();
    mean_stderr(&differences, disjoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::even_starts;

    #[test]
    fn the_paired_error_leaves_out_what_both_share() {
        // Window difficulty varies by nats, the models differ by 0.1 with a little noise.
        let reference: Vec<f64> = (0..50).map(|i| 3.0 + f64::from(i % 7)).collect();
        let model: Vec<f64> = reference
            .iter()
            .enumerate()
            .map(|(i, r)| r + 0.1 + if i % 2 == 0 { 0.01 } else { -0.01 })
            .collect();
        let (gap, stderr) = paired_gap(&model, &reference, 50);
        assert!((gap - 0.1).abs() < 1e-12);
        // sd with ddof 1 of ±0.01 is 0.01 * sqrt(50/49).
        assert!((stderr - 0.01 * (50f64 / 49.0).sqrt() / 50f64.sqrt()).abs() < 1e-12);
        assert!(mean_stderr(&reference, 50).1 > 0.2);
    }

    #[test]
    fn one_window_has_no_error() {
        assert!(mean_stderr(&[1.0], 1).1.is_nan());
        assert!(mean_stderr(&[1.0], 9).1.is_nan());
        // Eight times the same window are one.
        assert!(mean_stderr(&[1.0; 8], 1).1.is_nan());
    }

    #[test]
    fn as_many_windows_are_disjoint_as_even_starts_keep_apart() {
        let apart = |n, t, windows| {
            let starts = even_starts(n, t, windows);
            starts.windows(2).all(|w| w[1] - w[0] >= t)
        };
        for (n, t) in [
            (3000, 128),
            (98, 48),
            (101, 10),
            (49, 48),
            (4096, 1),
            (1025, 128),
            (1024, 128),
        ] {
            let most = disjoint_windows(n, t);
            assert!(apart(n, t, most), "{n} {t} {most}");
            assert!(!apart(n, t, most + 1), "{n} {t} {most}");
        }
        assert_eq!(disjoint_windows(3000, 128), 23);
        assert_eq!(disjoint_windows(129, 128), 1);
    }

    /// Token differences, windows and errors as `make_block_error_fixture.py` computes them with numpy.
    #[derive(serde::Deserialize)]
    struct Fixture {
        time: usize,
        /// In units of 1e-4 nats.
        token_differences: Vec<i32>,
        cases: Vec<Case>,
        /// The error from non-overlapping blocks, averaged over every offset of the cut.
        over_all_cuts: f64,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        windows: usize,
        mean: f64,
        stderr: f64,
        as_if_independent: f64,
    }

    #[test]
    fn more_windows_of_the_same_text_are_no_new_evidence() {
        let text = include_str!("../../tests/fixtures/block_error.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        let (n, t) = (fixture.token_differences.len() + 1, fixture.time);
        let tokens: Vec<f64> = fixture
            .token_differences
            .iter()
            .map(|&d| f64::from(d) * 1e-4)
            .collect();
        assert_eq!(fixture.cases.len(), 3);
        for case in &fixture.cases {
            let starts = even_starts(n, t, case.windows);
            let window = |&s: &usize| tokens[s..s + t].iter().sum::<f64>() / t as f64;
            let values: Vec<f64> = starts.iter().map(window).collect();
            let (mean, stderr) = mean_stderr(&values, disjoint_windows(n, t));
            assert!((mean - case.mean).abs() < 1e-12);
            assert!(
                (stderr - case.stderr).abs() < 1e-12,
                "{stderr} {}",
                case.stderr
            );
            // Whatever number of windows was asked for, it is the error of the disjoint blocks.
            assert!(
                (stderr / fixture.over_all_cuts - 1.0).abs() < 0.15,
                "{}: {stderr}",
                case.windows
            );
            if case.windows > 100 {
                assert!(case.as_if_independent < 0.35 * stderr);
            }
        }
    }
}
