//! Trends of the validation loss: straight lines by least squares, their errors, the verdict on a plateau, and whether the
//! evaluations say anything at all. Evidence, panel, prompt and policy all ask here.

use super::event::{Forecast, Plateau};

/// Evaluations that a slope looks back on.
const SLOPE_POINTS: usize = 6;
/// Fewest evaluations for a slope.
const SLOPE_LEAST: usize = 4;

/// A line through points by least squares, with the standard errors that follow from its residuals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    n: f64,
    mean_x: f64,
    mean_y: f64,
    sxx: f64,
    pub slope: f64,
    pub slope_stderr: f64,
    residual: f64,
}

impl Line {
    /// Ordinary least squares; `None` with fewer than three points, when all x are equal, or when a value is not finite.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
        if points.len() < 3 || !points.iter().all(finite) {
            return None;
        }
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
        let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
        let sxx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        if sxx <= 0.0 {
            return None;
        }
        let sxy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        let slope = sxy / sxx;
        let rss: f64 = points
            .iter()
            .map(|p| (p.1 - mean_y - slope * (p.0 - mean_x)).powi(2))
            .sum();
        let residual = (rss / (n - 2.0)).sqrt();
        Some(Self {
            n,
            mean_x,
            mean_y,
            sxx,
            slope,
            slope_stderr: residual / sxx.sqrt(),
            residual,
        })
    }

    /// The line's value at `x` and the standard error of a new observation there.
    pub fn predict(&self, x: f64) -> (f64, f64) {
        let far = (x - self.mean_x).powi(2) / self.sxx;
        let stderr = self.residual * (1.0 + 1.0 / self.n + far).sqrt();
        (self.mean_y + self.slope * (x - self.mean_x), stderr)
    }
}

/// What the latest evaluations of a phase say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend<'e> {
    recent: &'e [(f64, f64)],
    /// Slope of the validation loss per 1000 steps with its standard error.
    pub slope_per_1k: Option<(f64, f64)>,
    pub plateau: Plateau,
    /// Why there are no figures although there are evaluations: some of them are not finite.
    pub warning: Option<&'static str>,
}

/// The warning of a [`Trend`].
const NOT_FINITE: &str = "the latest evaluations are not all finite: insufficient data";

impl<'e> Trend<'e> {
    /// Looks at the (phase step, validation loss) pairs of a phase, oldest first; a loss that is not finite is NaN or
    /// infinite. The evaluation at the phase's start is left out: its loss belongs to what was inherited.
    pub fn of(evals: &'e [(f64, f64)]) -> Self {
        let trained = evals.partition_point(|e| e.0 <= 0.0);
        let from = trained.max(evals.len().saturating_sub(SLOPE_POINTS));
        let all = &evals[from..];
        let recent = if all.len() < SLOPE_LEAST { &[] } else { all };
        let per_1k = |line: Line| (1000.0 * line.slope, 1000.0 * line.slope_stderr);
        let slope_per_1k = Line::fit(recent).map(per_1k);
        let last = evals.len().saturating_sub(1);
        let finite = evals[from.min(last)..].iter().all(|e| e.1.is_finite());
        Self {
            recent,
            slope_per_1k,
            // Likely when the slope's interval of two standard errors does not lie below zero.
            plateau: match slope_per_1k {
                None => Plateau::InsufficientData,
                Some((slope, stderr)) if slope + 2.0 * stderr >= 0.0 => Plateau::Likely,
                Some(_) => Plateau::No,
            },
            warning: (!finite).then_some(NOT_FINITE),
        }
    }

    /// Validation loss expected at `at_phase_step` without growth: a line in the logarithm of the step through the last
    /// evaluations, since loss falls about as fast in each doubling. `None`: insufficient data.
    pub fn forecast(&self, at_phase_step: u64) -> Option<Forecast> {
        let points: Vec<_> = self
            .recent
            .iter()
            .map(|&(step, loss)| (step.ln(), loss))
            .collect();
        let (val_loss, stderr) = Line::fit(&points)?.predict((at_phase_step as f64).ln());
        Some(Forecast {
            val_loss,
            stderr,
            at_phase_step,
        })
    }
}

/// What a paired gap and its standard error are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapData {
    /// Both are finite: the gap can match.
    Measured,
    /// The gap is finite, its error is not known: a single validation window. It never matches.
    NoError,
    /// The model's loss or the reference's is NaN or infinite. It never matches, and nothing is decided on it.
    NotFinite,
}

impl GapData {
    pub fn of(gap: f64, stderr: f64) -> Self {
        match (gap.is_finite(), stderr.is_finite()) {
            (true, true) => Self::Measured,
            (true, false) => Self::NoError,
            (false, _) => Self::NotFinite,
        }
    }
}

/// Puts a gap into words: `+0.0412 ±0.0023`, `+0.0412 (no error)` with one validation window, or `not finite`.
pub fn gap_words(gap: Option<f64>, stderr: Option<f64>) -> String {
    let (gap, stderr) = (gap.unwrap_or(f64::NAN), stderr.unwrap_or(f64::NAN));
    match GapData::of(gap, stderr) {
        GapData::Measured => format!("{gap:+.4} ±{stderr:.4}"),
        GapData::NoError => format!("{gap:+.4} (no error)"),
        GapData::NotFinite => "not finite".into(),
    }
}

/// A loss with as many digits as mean something: `4.1234`, `1.9e11`.
pub fn loss(loss: f64) -> String {
    match loss.abs() < 1000.0 {
        true => format!("{loss:.4}"),
        false => format!("{loss:.1e}"),
    }
}

/// Puts a loss into words: `2.0412 ±0.0104`, `2.0412` without an error, or `not finite`.
pub fn loss_words(loss: f64, stderr: f64) -> String {
    match GapData::of(loss, stderr) {
        GapData::Measured => format!("{} ±{}", self::loss(loss), self::loss(stderr)),
        GapData::NoError => self::loss(loss),
        GapData::NotFinite => "not finite".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evals(losses: &[f64]) -> Vec<(f64, f64)> {
        let pair = |(i, &loss): (usize, &f64)| (50.0 * i as f64, loss);
        losses.iter().enumerate().map(pair).collect()
    }

    #[test]
    fn the_line_agrees_with_textbook_values() {
        // Anscombe's first quartet set: slope 0.5001 ± 0.1179, residual standard error 1.237.
        let x = [10., 8., 13., 9., 11., 14., 6., 4., 12., 7., 5.];
        let y = [
            8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68,
        ];
        let points: Vec<_> = x.into_iter().zip(y).collect();
        let line = Line::fit(&points).unwrap();
        assert!((line.slope - 0.5001).abs() < 1e-4);
        assert!((line.slope_stderr - 0.1179).abs() < 1e-4);
        assert!((line.residual - 1.2366).abs() < 1e-4);
        assert!((line.predict(9.0).0 - 7.501).abs() < 1e-3);
    }

    #[test]
    fn falling_loss_is_no_plateau_and_flat_noise_is() {
        let falling = evals(&[9.0, 3.0, 2.9, 2.8, 2.71, 2.6]);
        let trend = Trend::of(&falling);
        assert!(
            (trend.slope_per_1k.unwrap().0 - -1.98).abs() < 0.1,
            "{trend:?}"
        );
        assert_eq!(trend.plateau, Plateau::No);
        assert!(trend.warning.is_none() && trend.forecast(400).is_some());
        let flat = evals(&[9.0, 2.600, 2.602, 2.599, 2.601, 2.600]);
        assert_eq!(Trend::of(&flat).plateau, Plateau::Likely);
        let few = evals(&[9.0, 3.0, 2.9]);
        assert_eq!(Trend::of(&few).plateau, Plateau::InsufficientData);
        assert_eq!(Trend::of(&few).warning, None, "too few is no fault");
        assert_eq!(Trend::of(&[]).plateau, Plateau::InsufficientData);
    }

    #[test]
    fn evaluations_that_are_not_finite_are_insufficient_data_and_a_warning() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for place in 1..6 {
                let mut all = evals(&[9.0, 3.0, 2.9, 2.8, 2.71, 2.6]);
                all[place].1 = bad;
                let trend = Trend::of(&all);
                assert_eq!(trend.plateau, Plateau::InsufficientData, "{bad} at {place}");
                assert_eq!((trend.slope_per_1k, trend.forecast(400)), (None, None));
                assert!(trend.warning.is_some());
            }
            // Also where there are too few for a slope, and at a phase's start.
            assert!(Trend::of(&evals(&[9.0, bad])).warning.is_some());
            assert!(Trend::of(&evals(&[bad])).warning.is_some());
        }
        // Once six finite ones have followed, the trend is theirs.
        let healed = evals(&[9.0, f64::NAN, 3.0, 2.9, 2.8, 2.71, 2.6, 2.5]);
        assert_eq!(Trend::of(&healed).plateau, Plateau::No);
        assert_eq!(Trend::of(&healed).warning, None);
    }

    #[test]
    fn a_gap_without_an_error_is_told_from_one_that_is_not_finite() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(GapData::of(-0.5, 0.004), GapData::Measured);
        assert_eq!(GapData::of(-0.5, nan), GapData::NoError);
        for gap in [nan, inf, -inf] {
            assert_eq!(GapData::of(gap, 0.004), GapData::NotFinite);
            assert_eq!(GapData::of(gap, nan), GapData::NotFinite);
        }
    }
}
