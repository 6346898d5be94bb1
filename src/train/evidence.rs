//! What a decision rests on: slope, plateau, forecasts and the cost of growing.

use super::state::{EvalRecord, TrainState};
use crate::run::event::{Forecast, PhaseResult, Plateau, Suggestion};

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
    /// Ordinary least squares; `None` with fewer than three points or when all x are equal.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        if points.len() < 3 {
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

/// The last evaluations after the phase's start (whose loss belongs to what was inherited, not to training).
fn recent(evals: &[EvalRecord]) -> &[EvalRecord] {
    let trained = evals.partition_point(|e| e.phase_step == 0);
    let from = trained.max(evals.len().saturating_sub(SLOPE_POINTS));
    &evals[from..]
}

/// Slope of the validation loss per 1000 steps over the last evaluations, with its standard error.
pub fn slope_per_1k(evals: &[EvalRecord]) -> Option<(f64, f64)> {
    let recent = recent(evals);
    if recent.len() < SLOPE_LEAST {
        return None;
    }
    let points: Vec<_> = recent
        .iter()
        .map(|e| (e.phase_step as f64, e.val_loss))
        .collect();
    let line = Line::fit(&points)?;
    Some((1000.0 * line.slope, 1000.0 * line.slope_stderr))
}

/// A plateau is likely when the slope's interval of two standard errors does not lie below zero.
pub fn plateau(slope: Option<(f64, f64)>) -> Plateau {
    match slope {
        None => Plateau::InsufficientData,
        Some((slope, stderr)) if slope + 2.0 * stderr >= 0.0 => Plateau::Likely,
        Some(_) => Plateau::No,
    }
}

/// Validation loss expected at `at_phase_step` without growth: a line in the logarithm of the step through the last
/// evaluations, since loss falls about as fast in each doubling.
pub fn forecast(evals: &[EvalRecord], at_phase_step: u64) -> Option<Forecast> {
    let recent = recent(evals);
    if recent.len() < SLOPE_LEAST {
        return None;
    }
    let points: Vec<_> = recent
        .iter()
        .map(|e| ((e.phase_step as f64).ln(), e.val_loss))
        .collect();
    let (val_loss, stderr) = Line::fit(&points)?.predict((at_phase_step as f64).ln());
    Some(Forecast {
        val_loss,
        stderr,
        at_phase_step,
    })
}

/// Validation loss expected at the end of a round with `layers`: a line through the rounds so far (the present one
/// included). `None` before two growths.
pub fn forecast_grown(
    rounds: &[(usize, f64)],
    layers: usize,
    at_phase_step: u64,
) -> Option<Forecast> {
    let points: Vec<_> = rounds.iter().map(|&(l, loss)| (l as f64, loss)).collect();
    let (val_loss, stderr) = Line::fit(&points)?.predict(layers as f64);
    Some(Forecast {
        val_loss,
        stderr,
        at_phase_step,
    })
}

/// Layers and validation loss of the finished rounds and the present one.
pub fn rounds_so_far(state: &TrainState, layers: usize, val_loss: f64) -> Vec<(usize, f64)> {
    let finished = |r: &PhaseResult| (r.layers, r.val_loss);
    let mut all: Vec<_> = state.rounds.iter().map(|r| finished(&r.result)).collect();
    all.push((layers, val_loss));
    all
}

/// What the evidence speaks for, and why.
pub fn suggest(
    matched: bool,
    at_end: bool,
    plateau: Plateau,
    can_grow: bool,
    gap: (f64, f64),
    layers: usize,
) -> (Suggestion, String) {
    let (gap, stderr) = gap;
    if matched {
        let why = format!("{layers} layers match the reference: gap {gap:+.4} ±{stderr:.4}");
        return (Suggestion::Stop, why);
    }
    let behind = format!("{layers} layers are {gap:.4} ±{stderr:.4} behind the reference");
    match (at_end || plateau == Plateau::Likely, can_grow) {
        (true, true) => (Suggestion::Grow, behind),
        (true, false) => (
            Suggestion::Stop,
            format!("{behind}, and no layer is left to inherit"),
        ),
        (false, _) => (
            Suggestion::TrainOn,
            format!("{behind}, but still improving"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evals(losses: &[f64]) -> Vec<EvalRecord> {
        let record = |(i, &val_loss): (usize, &f64)| EvalRecord {
            phase_step: 50 * i as u64,
            val_loss,
            stderr: 0.01,
            gap: None,
            gap_stderr: None,
            matched: false,
        };
        losses.iter().enumerate().map(record).collect()
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
        let slope = slope_per_1k(&falling);
        assert!((slope.unwrap().0 - -1.98).abs() < 0.1, "{slope:?}");
        assert_eq!(plateau(slope), Plateau::No);
        let flat = evals(&[9.0, 2.600, 2.602, 2.599, 2.601, 2.600]);
        assert_eq!(plateau(slope_per_1k(&flat)), Plateau::Likely);
        assert_eq!(
            plateau(slope_per_1k(&evals(&[9.0, 3.0, 2.9]))),
            Plateau::InsufficientData
        );
    }

    #[test]
    fn growth_is_forecast_only_after_two_growths() {
        assert!(forecast_grown(&[(4, 2.0), (6, 1.9)], 8, 200).is_none());
        let f = forecast_grown(&[(4, 2.0), (6, 1.9), (8, 1.8)], 10, 200).unwrap();
        assert!((f.val_loss - 1.7).abs() < 1e-9);
    }

    #[test]
    fn suggestions_follow_the_evidence() {
        let s = |matched, at_end, plateau, can_grow| {
            suggest(matched, at_end, plateau, can_grow, (0.04, 0.002), 4).0
        };
        assert_eq!(s(true, true, Plateau::No, true), Suggestion::Stop);
        assert_eq!(s(false, true, Plateau::No, true), Suggestion::Grow);
        assert_eq!(s(false, false, Plateau::No, true), Suggestion::TrainOn);
        assert_eq!(s(false, false, Plateau::Likely, true), Suggestion::Grow);
        assert_eq!(s(false, true, Plateau::No, false), Suggestion::Stop);
    }
}
