//! The expected loss: which curve it rests on, the ways to get there, and how far off it may be.

use super::curve::{Curve, Point};
use super::methods::{self, Estimate, Goal};
use super::question::{Question, Template};
use super::shape::{GAIN, Shape};
use crate::run::event::Interval;
use crate::text;

/// Standard errors on each side of nine tenths of a normal distribution.
const NINETY: f64 = 1.645;
/// Shares of a phase up to which its evaluations are left out: while the loss descends from its start, or while the model adapts to new
/// rates, they show nothing about the end.
const LEAD_FROM: f64 = 0.03;
const LAW_FROM: f64 = 0.05;
/// Fewest evaluations after that.
pub const LEAST: usize = 4;
/// The share by which a smaller model gains less from annealing than a template of the same schedule, and its standard
/// deviation: from random weights, and from trained ones.
const COLD_LOSS: (f64, f64) = (0.10, 0.17);
const WARM_LOSS: (f64, f64) = (0.03, 0.05);
/// The gain of annealing as a share of a template's, where the template ran another schedule, and its standard
/// deviation.
const CARRIED: (f64, f64) = (0.9, 0.35);
/// The exponent that is expected of a start from random weights, and from trained ones.
const COLD_EXPONENT: f64 = 0.8;
const WARM_EXPONENT: f64 = 0.08;
/// Error of a forecast as a share of the fall still to come, and its value for trainings of less than [`SHORT`] steps. In these the descent
/// from the start takes a third of the training; and for a start from trained weights, a curve from random weights shows only the effect of
/// annealing.
const FALL_ERROR: f64 = 0.02;
const SHORT_FALL_ERROR: f64 = 0.12;
const SHORT: u64 = 10_000;
/// Least variance of an estimate, and the share of its squared scatter that is added.
const LEAST_VARIANCE: f64 = 1e-5;
const SCATTER_SHARE: f64 = 0.03;
/// The evaluation at the end also has scatter: this share of the scatter of evaluations.
const END_SCATTER: f64 = 0.2;
/// The share of the squared differences between ways that counts as an error.
const APART: f64 = 0.5;
/// Up to this share of a phase, another schedule's curve is of use only where the error at nine tenths is smaller than the
/// fall, or than this, in nats.
const EARLY: f64 = 0.3;
const MOST_ERROR: f64 = 0.02;

/// A template and the law that was fitted to it.
struct Found<'a> {
    template: &'a Template<'a>,
    shape: Shape,
    /// Whether it ran the schedule that the phase in question runs.
    is_same: bool,
}

/// Counts the evaluations that carry information: those after the first share of the phase.
pub fn used(question: &Question<'_>) -> usize {
    let from = LAW_FROM * question.to as f64;
    let points = question.curve.points().iter();
    points.filter(|p| p.0 as f64 > from).count()
}

/// Returns the expected loss and what it rests on, or the reason why it cannot be forecast.
pub fn expected(question: &Question<'_>, used: usize) -> Result<(Interval, String), String> {
    let (curve, step) = (question.curve, question.to);
    if curve.is_broken() {
        return Err("the latest evaluation is not finite".into());
    }
    let Some((now, last)) = curve.last() else {
        return Err("nothing has been evaluated yet".into());
    };
    if step <= now {
        return Err(format!("step {} is past", text::thousands(step)));
    }
    if used < LEAST {
        return Err(format!(
            "{} after the first {:.0} % of {} steps, and a forecast needs {LEAST}",
            text::plural(used, "evaluation"),
            100.0 * LAW_FROM,
            text::thousands(step)
        ));
    }
    let to = step as f64;
    let rates = curve
        .with_sums(LEAD_FROM * to, step)
        .zip(curve.course().peak(step));
    let Some(((points, sums), peak)) = rates else {
        return Err("the learning rates of this phase are not known".into());
    };
    if sums.rates <= 0.0 {
        return Err("the learning rate is 0".into());
    }
    let goal = Goal { step: to, sums };
    let later = &points[points.partition_point(|p| p.step <= LAW_FROM * to)..];
    let current = mean(later.iter().rev().take(3).map(|p| p.loss));
    let found = found(question);
    // A template that ran the same schedule to the end can be followed step by step.
    let followed = found.as_ref().filter(|f| f.is_followed_by(curve, step));
    let mut estimates = vec![by_law(later, &goal, curve, found.as_ref(), peak)];
    let mut own_error = 0.0;
    if let Some(found) = followed {
        let (ways, error) = by_curve(&points, later, &goal, curve, found);
        estimates.extend(ways);
        own_error = error;
    }
    let estimates: Vec<Estimate> = estimates.into_iter().flatten().collect();
    let loss = weighted(&estimates).ok_or(NO_COURSE)?;
    let scatter = estimates.iter().map(|e| e.scatter);
    let end = END_SCATTER * scatter.fold(f64::INFINITY, f64::min);
    let share = match step < SHORT || followed.is_none() {
        true => SHORT_FALL_ERROR,
        false => FALL_ERROR,
    };
    let fall = share * (current - loss.loss);
    let terms = [loss.error, own_error, end, fall];
    let error = NINETY * terms.iter().map(|e| e * e).sum::<f64>().sqrt();
    if !(loss.loss.is_finite() && error.is_finite()) {
        return Err(NO_COURSE.into());
    }
    // An early forecast whose error exceeds the fall that it expects is of no use.
    let is_vague = (now as f64) < EARLY * to && error > MOST_ERROR.max((last - loss.loss).abs());
    let rests_on = match (&found, followed) {
        (Some(found), Some(_)) => {
            let name = found.template.name;
            format!("{name}'s curve under the same {} schedule", kind(curve))
        }
        (Some(found), None) if is_vague && !found.is_same => {
            return Err(format!("{} ran another schedule", found.template.name));
        }
        (_, None) if is_vague => {
            return Err("no finished phase shows the effect of annealing".into());
        }
        (Some(found), None) => {
            let name = found.template.name;
            match found.is_same {
                true => format!("{name}'s annealing under the same {} schedule", kind(curve)),
                false => format!(
                    "{name}'s annealing, carried over to a {} schedule,",
                    kind(curve)
                ),
            }
        }
        (None, _) => format!(
            "what annealing brings elsewhere, a {} schedule",
            kind(curve)
        ),
    };
    let interval = Interval {
        value: loss.loss,
        low: loss.loss - error,
        high: loss.loss + error,
    };
    Ok((interval, rests_on))
}

/// The name of the schedule that a curve followed last.
fn kind(curve: &Curve) -> &'static str {
    let schedule = curve.course().schedule();
    schedule.map_or("measured", |schedule| schedule.kind.name())
}

const NO_COURSE: &str = "the evaluations do not determine a curve";

/// The best template: the first of the same schedule, else the first.
fn found<'a>(question: &'a Question<'_>) -> Option<Found<'a>> {
    let course = question.curve.course();
    let all = question.templates.iter().filter_map(|template| {
        let shape = Shape::of(template.curve)?;
        Some(Found {
            is_same: course.is_like(template.curve.course(), question.to),
            template,
            shape,
        })
    });
    let mut all: Vec<Found<'_>> = all.collect();
    let followed = |f: &Found<'_>| f.is_followed_by(question.curve, question.to);
    let best = all.iter().position(followed);
    let best = best.or_else(|| all.iter().position(|f| f.is_same));
    (!all.is_empty()).then(|| all.swap_remove(best.unwrap_or(0)))
}

impl Found<'_> {
    /// Whether a phase up to `to` can be held against the template step by step.
    fn is_followed_by(&self, curve: &Curve, to: u64) -> bool {
        let starts_alike = self.template.curve.is_cold() == curve.is_cold();
        self.is_same && self.shape.end >= to as f64 && (starts_alike || to >= SHORT)
    }
}

/// The law alone, with a template's annealing where there is one.
fn by_law(
    later: &[Point],
    goal: &Goal,
    curve: &Curve,
    found: Option<&Found<'_>>,
    peak: f64,
) -> Option<Estimate> {
    let exponent = match curve.is_cold() {
        true => COLD_EXPONENT,
        false => WARM_EXPONENT,
    };
    let usual = GAIN.0 / peak.max(f64::MIN_POSITIVE);
    let annealing = match found {
        Some(found) => {
            let expected = found.shape.annealing.max(0.1 * usual);
            (CARRIED.0 * expected, CARRIED.1 * expected)
        }
        None => (usual, usual * GAIN.1 / GAIN.0),
    };
    methods::law(later, goal, exponent, annealing)
}

/// The ways that follow a template's curve, and the error of what they take from it.
fn by_curve(
    points: &[Point],
    later: &[Point],
    goal: &Goal,
    curve: &Curve,
    found: &Found<'_>,
) -> ([Option<Estimate>; 2], f64) {
    let shape = &found.shape;
    // The share of the annealing that is still to come.
    let annealed = later.last().map_or(0.0, |p| p.sums.annealing) / goal.sums.annealing;
    let still = if annealed.is_finite() {
        (1.0 - annealed).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let gain = shape.annealing * goal.sums.annealing * still;
    let (less, spread) = match (curve.is_cold(), found.template.curve.is_cold()) {
        (true, _) => COLD_LOSS,
        (false, true) => WARM_LOSS,
        // An earlier round, which began from trained weights as this one did.
        (false, false) => (0.0, WARM_LOSS.1),
    };
    let corrected = |estimate: Estimate| Estimate {
        loss: estimate.loss + less * gain,
        ..estimate
    };
    let ways = [
        methods::lead(points, shape, goal).map(corrected),
        methods::shared(later, shape, goal).map(corrected),
    ];
    let misfit = shape.misfit * still;
    (ways, (spread * gain).hypot(misfit))
}

/// The estimates' mean by what each is worth, with the error of that mean.
fn weighted(estimates: &[Estimate]) -> Option<Estimate> {
    let variance =
        |e: &Estimate| e.error * e.error + LEAST_VARIANCE + SCATTER_SHARE * e.scatter * e.scatter;
    let weights: Vec<f64> = estimates.iter().map(|e| 1.0 / variance(e)).collect();
    let sum: f64 = weights.iter().sum();
    (sum > 0.0 && sum.is_finite()).then_some(())?;
    let pairs = || estimates.iter().zip(&weights);
    let loss = pairs().map(|(e, w)| w * e.loss).sum::<f64>() / sum;
    // The ways rest on the same evaluations, so that the differences between them count as an error.
    let apart = pairs()
        .map(|(e, w)| w * (e.loss - loss).powi(2))
        .sum::<f64>()
        / sum;
    Some(Estimate {
        loss,
        error: (1.0 / sum + APART * apart).sqrt(),
        scatter: 0.0,
    })
}

/// Returns the mean of values; 0 for no values.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    sum / f64::from(n.max(1))
}
