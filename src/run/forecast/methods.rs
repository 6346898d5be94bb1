//! Ways to extrapolate a loss to a later step.

use super::curve::Point;
use super::fit::{Fit, Row};
use super::shape::{EXPONENTS, SCATTER, Shape};
use crate::run::schedule::Sums;

/// Exponent of the lead's law.
const LEAD: f64 = 0.4;
/// Standard deviation of the logarithm of an exponent.
const EXPONENT_SPREAD: f64 = 0.7;

/// A loss that one method estimates, and its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub loss: f64,
    pub error: f64,
    /// Scatter of the evaluations around the fitted curve.
    pub scatter: f64,
}

/// The step that a forecast is for.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    pub step: f64,
    pub sums: Sums,
}

impl Goal {
    /// S1^-a, 0 at the goal.
    fn power(&self, sums: &Sums, exponent: f64) -> f64 {
        (sums.rates / self.sums.rates).powf(-exponent) - 1.0
    }
}

/// Extrapolates the difference to a template of the same schedule, c0 + c1 S1^-0.4. The effect of annealing cancels out.
pub fn lead(points: &[Point], shape: &Shape, goal: &Goal) -> Option<Estimate> {
    let row = |p: &Point| Row {
        x: [1.0, goal.power(&p.sums, LEAD)],
        y: p.loss - shape.evaluated(p.step),
        weight: 1.0,
    };
    let rows: Vec<_> = points.iter().map(row).collect();
    let fit = Fit::of(&rows, SCATTER, [None, None])?;
    let (lead, error) = fit.at(&[1.0, 0.0]);
    Some(Estimate {
        loss: lead + shape.loss(goal.step, &goal.sums),
        error,
        scatter: fit.scatter,
    })
}

/// Extrapolates the loss by the law with the exponent, the annealing and the rest of a template of the same schedule.
pub fn shared(points: &[Point], shape: &Shape, goal: &Goal) -> Option<Estimate> {
    let last = points.last()?.step;
    let row = |p: &Point| {
        let annealed = shape.annealing * (p.sums.annealing - goal.sums.annealing);
        Row {
            x: [1.0, goal.power(&p.sums, shape.exponent)],
            y: p.loss + annealed - shape.rest(p.step) + shape.rest(goal.step),
            weight: (p.step / last).sqrt(),
        }
    };
    let rows: Vec<_> = points.iter().map(row).collect();
    let fit = Fit::of(&rows, SCATTER, [None, None])?;
    let (loss, error) = fit.at(&[1.0, 0.0]);
    Some(Estimate {
        loss,
        error,
        scatter: fit.scatter,
    })
}

/// Extrapolates the loss by the law alone, with every exponent by what speaks for it. `exponent` is the one that is expected,
/// `annealing` C and its standard deviation.
pub fn law(
    points: &[Point],
    goal: &Goal,
    exponent: f64,
    annealing: (f64, f64),
) -> Option<Estimate> {
    let free = points.len() as f64 - 2.0;
    let mut all = Vec::with_capacity(EXPONENTS.len());
    for candidate in EXPONENTS {
        let row = |p: &Point| Row {
            x: [
                1.0,
                goal.power(&p.sums, candidate),
                goal.sums.annealing - p.sums.annealing,
            ],
            y: p.loss,
            weight: 1.0,
        };
        let rows: Vec<_> = points.iter().map(row).collect();
        // Losses differ by far less than this factor from what one unit of S1^-a makes of them.
        let vague = Some((0.0, 100.0));
        let Some(fit) = Fit::of(&rows, SCATTER, [None, vague, Some(annealing)]) else {
            continue;
        };
        let gain = (fit.unknowns[2] - annealing.0) / annealing.1;
        let power = (candidate / exponent).ln() / EXPONENT_SPREAD;
        let likelihood = -free * fit.scatter.ln() - 0.5 * gain * gain - 0.5 * power * power;
        let (loss, error) = fit.at(&[1.0, 0.0, 0.0]);
        all.push((likelihood, loss, error, fit.scatter));
    }
    let most = all.iter().map(|c| c.0).fold(f64::NEG_INFINITY, f64::max);
    let (mut weights, mut loss, mut scatter) = (0.0, 0.0, 0.0);
    for c in &mut all {
        c.0 = (c.0 - most).exp();
        weights += c.0;
        loss += c.0 * c.1;
        scatter += c.0 * c.3;
    }
    (weights > 0.0).then_some(())?;
    let loss = loss / weights;
    let variance = |c: &(f64, f64, f64, f64)| c.0 * (c.2 * c.2 + (c.1 - loss).powi(2));
    let variance = all.iter().map(variance).sum::<f64>() / weights;
    Some(Estimate {
        loss,
        error: variance.sqrt(),
        scatter: scatter / weights,
    })
}
