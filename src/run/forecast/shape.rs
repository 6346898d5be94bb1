//! Derives the course of a phase from a finished one: the law of its loss, and what remains of it.

use super::curve::{Curve, Point, interpolate};
use super::fit::{Fit, Row};
use crate::run::schedule::Sums;

/// The part of a phase whose evaluations show nothing: the descent from the start.
const DESCENT: f64 = 0.05;
/// The share of a phase from which on residuals are known.
const RESIDUALS: f64 = 0.03;
/// Fewest evaluations of a law.
const LEAST: usize = 8;
/// Exponents that are tried.
pub(super) const EXPONENTS: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5];
/// The gain of annealing from the peak to zero, in nats, and its standard deviation: of published curves and our own.
pub(super) const GAIN: (f64, f64) = (0.16, 0.1);
/// Width in ln(step) that residuals are smoothed over.
const WIDTH: f64 = 0.1;
/// Scatter of a single evaluation that is expected, in nats.
pub(super) const SCATTER: f64 = 0.01;

/// The loss over a phase: L = L0 + A S1^-a - C S2, the momentum law of arXiv 2408.11029, and the smoothed rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The last step that is known.
    pub end: f64,
    /// a
    pub exponent: f64,
    /// C, in nats for each unit of [`Sums::annealing`].
    pub annealing: f64,
    constant: f64,
    factor: f64,
    /// ln(step) and the smoothed rest.
    rest: Vec<(f64, f64)>,
    /// Step and loss as evaluated.
    losses: Vec<(f64, f64)>,
    /// Root mean square of the smoothed rest: how badly the law fits.
    pub misfit: f64,
}

impl Shape {
    /// Fits the law; `None` with fewer than [`LEAST`] evaluations past the descent, or where the rates are not known.
    pub fn of(curve: &Curve) -> Option<Self> {
        let (end, _) = curve.last()?;
        let begin = RESIDUALS * end as f64;
        let (points, _) = curve.with_sums(begin, end)?;
        let end = end as f64;
        let past = |share: f64| points.partition_point(|p| p.step <= share * end);
        let fitted = &points[past(DESCENT)..];
        if fitted.len() < LEAST {
            return None;
        }
        let peak = curve.course().peak(end as u64)?;
        let candidates = EXPONENTS.iter().filter_map(|&exponent| {
            let fit = law(fitted, exponent, peak)?;
            Some((fit.scatter, exponent, fit.unknowns))
        });
        let best = candidates.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let (_, exponent, [constant, factor, annealing]) = best;
        let mut shape = Self {
            end,
            exponent,
            annealing,
            constant,
            factor,
            rest: Vec::new(),
            losses: points.iter().map(|p| (p.step, p.loss)).collect(),
            misfit: 0.0,
        };
        let rest: Vec<(f64, f64)> = points
            .iter()
            .map(|p| (p.step.ln(), p.loss - shape.law(&p.sums)))
            .collect();
        shape.rest = smoothed(&rest);
        let known = &shape.rest[past(DESCENT)..];
        let squares: f64 = known.iter().map(|r| r.1 * r.1).sum();
        shape.misfit = (squares / known.len() as f64).sqrt();
        Some(shape)
    }

    fn law(&self, sums: &Sums) -> f64 {
        self.constant + self.factor * sums.rates.powf(-self.exponent)
            - self.annealing * sums.annealing
    }

    /// The residual of the law at a step, smoothed.
    pub fn rest(&self, step: f64) -> f64 {
        interpolate(&self.rest, step.ln())
    }

    /// The smoothed loss at a step with these sums.
    pub fn loss(&self, step: f64, sums: &Sums) -> f64 {
        self.law(sums) + self.rest(step)
    }

    /// The loss at a step as it was evaluated, between evaluations on the line through them.
    pub fn evaluated(&self, step: f64) -> f64 {
        interpolate(&self.losses, step)
    }
}

/// Fits L0, A and C for an exponent, where rates come to `peak`. A short training does not determine C alone.
fn law(points: &[Point], exponent: f64, peak: f64) -> Option<Fit<3>> {
    let rows: Vec<_> = points
        .iter()
        .map(|p| Row {
            x: [1.0, p.sums.rates.powf(-exponent), -p.sums.annealing],
            y: p.loss,
            weight: 1.0,
        })
        .collect();
    let gain = Some((GAIN.0 / peak, GAIN.1 / peak));
    Fit::of(&rows, SCATTER, [None, None, gain])
}

/// A local line at each point, with normal weights of [`WIDTH`].
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let at = |x: f64| {
        let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(xi, yi) in points {
            let d = xi - x;
            let weight = (-0.5 * (d / WIDTH).powi(2)).exp();
            w += weight;
            wx += weight * d;
            wy += weight * yi;
            wxx += weight * d * d;
            wxy += weight * d * yi;
        }
        let determinant = w * wxx - wx * wx;
        match determinant > 1e-9 * w * w * WIDTH * WIDTH {
            true => (wxx * wy - wx * wxy) / determinant,
            false => wy / w,
        }
    };
    points.iter().map(|&(x, _)| (x, at(x))).collect()
}
