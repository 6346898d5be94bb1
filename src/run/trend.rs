//! Trends of the validation loss: straight lines by least squares, their errors, and the verdict on a plateau.

use super::event::Plateau;

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

/// The last (phase step, validation loss) pairs after the phase's start (whose loss belongs to what was inherited, not to training);
/// none when they are too few for a slope.
pub fn recent(evals: &[(f64, f64)]) -> &[(f64, f64)] {
    let trained = evals.partition_point(|e| e.0 <= 0.0);
    let from = trained.max(evals.len().saturating_sub(SLOPE_POINTS));
    let recent = &evals[from..];
    if recent.len() < SLOPE_LEAST {
        &[]
    } else {
        recent
    }
}

/// Slope of the validation loss per 1000 steps over the last (phase step, validation loss) pairs, with its standard error.
pub fn slope_per_1k(evals: &[(f64, f64)]) -> Option<(f64, f64)> {
    let line = Line::fit(recent(evals))?;
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
}
