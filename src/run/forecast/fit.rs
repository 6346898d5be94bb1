//! Linear least squares with few unknowns.

/// A row of a fit: the coefficients of the unknowns, the value, and its weight.
pub struct Row<const K: usize> {
    pub x: [f64; K],
    pub y: f64,
    pub weight: f64,
}

/// The prior of an unknown: its mean and its standard deviation.
pub type Prior = Option<(f64, f64)>;

/// The unknowns, their covariance and the standard deviation of the rows of weight 1 around them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit<const K: usize> {
    pub unknowns: [f64; K],
    pub covariance: [[f64; K]; K],
    pub scatter: f64,
}

/// Residuals of more than this many standard deviations count less (Huber's weights): a spike is not a trend.
const HUBER: f64 = 2.5;
/// Passes of reweighting.
const PASSES: usize = 5;

impl<const K: usize> Fit<K> {
    /// Fits rows whose scatter is expected to be about `scatter`; `None` where the rows do not determine the unknowns.
    pub fn of(rows: &[Row<K>], scatter: f64, priors: [Prior; K]) -> Option<Self> {
        let mut weights: Vec<f64> = rows.iter().map(|row| row.weight).collect();
        let mut found = None;
        let mut sigma = scatter.max(1e-9);
        for _ in 0..PASSES {
            let variance = sigma * sigma;
            let mut matrix = [[0.0; K]; K];
            let mut right = [0.0; K];
            for (row, weight) in rows.iter().zip(&weights) {
                for i in 0..K {
                    for (j, cell) in matrix[i].iter_mut().enumerate() {
                        *cell += weight * row.x[i] * row.x[j] / variance;
                    }
                    right[i] += weight * row.x[i] * row.y / variance;
                }
            }
            for (i, prior) in priors.iter().enumerate() {
                if let Some((mean, deviation)) = prior {
                    matrix[i][i] += deviation.powi(-2);
                    right[i] += mean * deviation.powi(-2);
                }
            }
            let covariance = inverse(matrix)?;
            let mut unknowns = [0.0; K];
            for (unknown, row) in unknowns.iter_mut().zip(&covariance) {
                *unknown = dot(row, &right);
            }
            let (mut squares, mut count) = (0.0, 0.0);
            for (row, weight) in rows.iter().zip(&weights) {
                squares += weight * (row.y - dot(&row.x, &unknowns)).powi(2);
                count += weight;
            }
            // The expected scatter counts as one more row.
            let free = (count - K as f64 + 1.0).max(1.0);
            sigma = ((squares + scatter * scatter) / free).sqrt().max(1e-6);
            for (row, weight) in rows.iter().zip(&mut weights) {
                let far = (row.y - dot(&row.x, &unknowns)).abs();
                *weight = row.weight * (HUBER * sigma / far.max(1e-12)).min(1.0);
            }
            found = Some(Self {
                unknowns,
                covariance,
                scatter: sigma,
            });
        }
        found
    }

    /// The value at `x` and its standard error.
    pub fn at(&self, x: &[f64; K]) -> (f64, f64) {
        let mut variance = 0.0;
        for (xi, row) in x.iter().zip(&self.covariance) {
            variance += xi * dot(row, x);
        }
        (dot(&self.unknowns, x), variance.max(0.0).sqrt())
    }
}

fn dot<const K: usize>(a: &[f64; K], b: &[f64; K]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gauss-Jordan with pivots; `None` for a matrix that is singular to working precision.
fn inverse<const K: usize>(mut a: [[f64; K]; K]) -> Option<[[f64; K]; K]> {
    let mut b = [[0.0; K]; K];
    (0..K).for_each(|i| b[i][i] = 1.0);
    let size = a.iter().flatten().fold(0.0f64, |most, x| most.max(x.abs()));
    for i in 0..K {
        let pivot = (i..K).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs()))?;
        a.swap(i, pivot);
        b.swap(i, pivot);
        let scale = a[i][i];
        if !scale.is_finite() || scale.abs() <= 1e-14 * size {
            return None;
        }
        for j in 0..K {
            a[i][j] /= scale;
            b[i][j] /= scale;
        }
        for other in (0..K).filter(|&other| other != i) {
            let factor = a[other][i];
            for j in 0..K {
                a[other][j] -= factor * a[i][j];
                b[other][j] -= factor * b[i][j];
            }
        }
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(x: &[f64], y: &[f64]) -> Vec<Row<2>> {
        let row = |(&x, &y): (&f64, &f64)| Row {
            x: [1.0, x],
            y,
            weight: 1.0,
        };
        x.iter().zip(y).map(row).collect()
    }

    #[test]
    fn a_line_agrees_with_textbook_values() {
        // Anscombe's first set: 3.0001 + 0.5001 x, standard error of the slope 0.1179.
        let x = [10., 8., 13., 9., 11., 14., 6., 4., 12., 7., 5.];
        let y = [
            8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68,
        ];
        let fit = Fit::of(&line(&x, &y), 1.237, [None, None]).unwrap();
        assert!((fit.unknowns[0] - 3.0001).abs() < 1e-3, "{fit:?}");
        assert!((fit.unknowns[1] - 0.5001).abs() < 1e-3, "{fit:?}");
        assert!(
            (fit.covariance[1][1].sqrt() - 0.1179).abs() < 0.006,
            "{fit:?}"
        );
        assert!((fit.at(&[1.0, 9.0]).0 - 7.501).abs() < 1e-2);
    }

    #[test]
    fn a_spike_hardly_moves_the_line_and_a_prior_holds_what_rows_do_not_say() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|x| 2.0 - 0.1 * x).collect();
        y[7] += 5.0;
        let fit = Fit::of(&line(&x, &y), 0.01, [None, None]).unwrap();
        assert!((fit.unknowns[1] + 0.1).abs() < 0.01, "{fit:?}");
        // One x alone determines no slope, but a prior does.
        let same = line(&[1.0; 5], &[2.0; 5]);
        assert_eq!(Fit::of(&same, 0.01, [None, None]), None);
        let fit = Fit::of(&same, 0.01, [None, Some((0.5, 0.1))]).unwrap();
        assert!((fit.unknowns[1] - 0.5).abs() < 1e-6, "{fit:?}");
        assert!((fit.unknowns[0] - 1.5).abs() < 1e-6, "{fit:?}");
    }
}
