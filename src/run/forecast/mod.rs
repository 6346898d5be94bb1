//! Where a phase's validation loss is going: the loss and the gap at its end, and whether the fall is over.
//!
//! A phase's own first evaluations do not show what annealing the learning rate will bring. That comes from another phase, the
//! template: the reference's own curve, or an earlier round's ([`shape`]). Two quantities are never mixed: the *gap*, to the
//! loss of the finished reference, and the *lead*, to a template's loss at the same step, which is used here alone.
//!
//! The constants below were fitted to published curves and to small trainings of our own; `docs/advice.md` has the
//! measurements.

mod curve;
mod fit;
mod known;
mod log;
mod methods;
mod shape;
#[cfg(test)]
mod tests;

pub use curve::Curve;
pub use known::{Known, Past};
pub use log::read as read_log;

use methods::{Estimate, Goal};
use shape::{GAIN, Shape};

use super::event::{Forecast, Interval, Plateau, Prospect, Verdict};
use super::table;

/// Standard errors on each side of nine tenths of a normal distribution.
const NINETY: f64 = 1.645;
/// The first evaluations of a phase, of the descent from its start or of a model that gets used to new rates, say nothing:
/// shares of the phase up to which they are left out.
const LEAD_FROM: f64 = 0.03;
const LAW_FROM: f64 = 0.05;
/// Fewest evaluations after that.
pub const LEAST: usize = 4;
/// The share by which a smaller model gains less from annealing than a template of the same schedule, and its standard
/// deviation: from random weights, and from trained ones.
const COLD_LOSS: (f64, f64) = (0.10, 0.12);
const WARM_LOSS: (f64, f64) = (0.03, 0.06);
/// What annealing brings as a share of a template's, where the template ran another schedule, and its standard deviation.
const CARRIED: (f64, f64) = (0.9, 0.35);
/// The exponent that is expected of a start from random weights, and from trained ones.
const COLD_EXPONENT: f64 = 0.8;
const WARM_EXPONENT: f64 = 0.08;
/// Error of a forecast as a share of the fall still to come, and the same of trainings of less than [`SHORT`] steps: there
/// the descent from the start takes a third of the training, and of a start from trained weights the curve of one from random
/// weights says no more than what annealing brings.
const FALL_ERROR: f64 = 0.04;
const SHORT_FALL_ERROR: f64 = 0.12;
const SHORT: u64 = 10_000;
/// Least variance of an estimate, and the share of its squared scatter that is added.
const LEAST_VARIANCE: f64 = 1e-5;
const SCATTER_SHARE: f64 = 0.03;
/// The evaluation at the end scatters, too: this share of what evaluations scatter.
const END_SCATTER: f64 = 0.2;
/// The share of the squared differences between ways that counts as an error.
const APART: f64 = 0.7;
/// Up to this share of a phase, another schedule's curve is of use only where the error at nine tenths is smaller than the
/// fall, or than this, in nats.
const EARLY: f64 = 0.3;
const MOST_ERROR: f64 = 0.02;
/// The fall still to come, in nats, below which a phase is on its plateau.
pub const PLATEAU: f64 = 0.01;

/// A curve that may show what a phase will go through.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// As a sentence names it: `the reference`, `round 1`.
    pub name: &'a str,
    pub curve: &'a Curve,
}

/// What is asked of a forecast.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub curve: &'a Curve,
    /// The best first.
    pub templates: &'a [Template<'a>],
    /// Step of the phase.
    pub to: u64,
    /// The finished reference's validation loss in nats.
    pub benchmark: Option<f64>,
    pub tolerance: f64,
}

impl Question<'_> {
    /// Forecasts the loss at the step that is asked for.
    pub fn answer(&self) -> Forecast {
        let used = self.curve.points().iter();
        let from = LAW_FROM * self.to as f64;
        let used = used.filter(|p| p.0 as f64 > from).count();
        let (final_loss, rests_on) = match self.expected(used) {
            Ok((interval, rests_on)) => (Some(interval), Ok(rests_on)),
            Err(why) => (None, Err(why)),
        };
        let final_gap = final_loss.zip(self.benchmark.filter(|b| b.is_finite()));
        let final_gap = final_gap.map(|(loss, benchmark)| loss.lowered(benchmark));
        let verdict = match final_gap {
            None => Verdict::InsufficientData,
            Some(gap) if gap.high <= self.tolerance => Verdict::WillMatch,
            Some(gap) if gap.low > self.tolerance => Verdict::WillNotMatch,
            Some(_) => Verdict::TooClose,
        };
        let why = match rests_on {
            Err(why) => format!("insufficient data: {why}"),
            Ok(rests_on) => {
                let evaluations = table::plural(used, "evaluation");
                let step = table::count(self.to);
                match (final_gap, final_loss) {
                    (Some(gap), _) => format!(
                        "{verdict}: {rests_on} and {evaluations} expect a gap of {:+.4} ({:+.4} to {:+.4}) at step {step}, and the tolerance is {:.4}",
                        gap.value, gap.low, gap.high, self.tolerance
                    ),
                    (None, Some(loss)) => format!(
                        "{rests_on} and {evaluations} expect a loss of {:.4} ({:.4} to {:.4}) at step {step}; the reference's final loss is not known",
                        loss.value, loss.low, loss.high
                    ),
                    (None, None) => unreachable!("what rests on something has a value"),
                }
            }
        };
        Forecast {
            prospect: Prospect::AsPlanned,
            at_phase_step: self.to,
            final_loss,
            final_gap,
            verdict,
            why,
            evaluations_used: used,
        }
    }

    /// The expected loss and what it rests on, or why there is none.
    fn expected(&self, used: usize) -> Result<(Interval, String), String> {
        let curve = self.curve;
        if curve.is_broken() {
            return Err("the latest evaluation is not finite".into());
        }
        let Some((now, last)) = curve.last() else {
            return Err("nothing has been evaluated yet".into());
        };
        if self.to <= now {
            return Err(format!("step {} is past", table::count(self.to)));
        }
        if used < LEAST {
            return Err(format!(
                "{} after the first {:.0} % of {} steps, and a forecast needs {LEAST}",
                table::plural(used, "evaluation"),
                100.0 * LAW_FROM,
                table::count(self.to)
            ));
        }
        let to = self.to as f64;
        let Some((points, sums)) = curve.with_sums(LEAD_FROM * to, self.to) else {
            return Err("the learning rates of this phase are not known".into());
        };
        if sums.rates <= 0.0 {
            return Err("the learning rate is 0".into());
        }
        let goal = Goal { step: to, sums };
        let first = points.partition_point(|p| p.step <= LAW_FROM * to);
        let later = &points[first..];
        let is_short = self.to < SHORT;
        let same = self.templates.iter().find_map(|template| {
            let end = template.curve.last()?.0;
            let is_same = curve.course().is_like(template.curve.course(), self.to);
            let starts_alike = template.curve.is_cold() == curve.is_cold();
            (is_same && end >= self.to && (starts_alike || !is_short)).then_some(())?;
            Some((template, Shape::of(template.curve)?))
        });
        let other = self.templates.iter().find_map(|template| {
            let shape = Shape::of(template.curve)?;
            let alike = curve.course().is_like(template.curve.course(), self.to);
            Some((template.name, shape, alike))
        });
        let peak = curve.course().peak(self.to);
        let peak = peak.filter(|&peak| peak > 0.0).unwrap_or(1.0);
        let is_cold = curve.is_cold();
        let exponent = match is_cold {
            true => COLD_EXPONENT,
            false => WARM_EXPONENT,
        };
        // Fractions of a nat for each unit of the rate.
        let annealing = match &other {
            Some((_, shape, _)) => {
                let expected = shape.annealing.max(0.1 * GAIN.0 / peak);
                (CARRIED.0 * expected, CARRIED.1 * expected)
            }
            None => (GAIN.0 / peak, GAIN.1 / peak),
        };
        let current = mean(later.iter().rev().take(3).map(|p| p.loss));
        let by_law = methods::law(later, &goal, exponent, annealing);
        let (estimates, gain_error, misfit) = match &same {
            Some((template, shape)) => {
                let still = 1.0 - later.last().map_or(0.0, |p| p.sums.annealing) / sums.annealing;
                let still = if sums.annealing > 0.0 {
                    still.clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let gain = shape.annealing * sums.annealing * still;
                let (less, spread) = match (is_cold, template.curve.is_cold()) {
                    (true, _) => COLD_LOSS,
                    (false, true) => WARM_LOSS,
                    // An earlier round, which began from trained weights, too.
                    (false, false) => (0.0, WARM_LOSS.1),
                };
                let corrected = |estimate: Estimate| Estimate {
                    loss: estimate.loss + less * gain,
                    ..estimate
                };
                let lead = methods::lead(&points, shape, &goal).map(corrected);
                let shared = methods::shared(later, shape, &goal).map(corrected);
                (
                    vec![lead, shared, by_law],
                    spread * gain,
                    shape.misfit * still,
                )
            }
            None => (vec![by_law], 0.0, 0.0),
        };
        let estimates: Vec<Estimate> = estimates.into_iter().flatten().collect();
        let loss = weighted(&estimates).ok_or("the evaluations determine no course")?;
        let end = END_SCATTER
            * estimates
                .iter()
                .map(|e| e.scatter)
                .fold(f64::INFINITY, f64::min);
        let share = if is_short { SHORT_FALL_ERROR } else { FALL_ERROR };
        let fall = share * (current - loss.loss);
        let terms = [loss.error, gain_error, misfit, end, fall];
        let error = terms.iter().map(|e| e * e).sum::<f64>().sqrt();
        if !(loss.loss.is_finite() && error.is_finite()) {
            return Err("the evaluations determine no course".into());
        }
        let interval = Interval {
            value: loss.loss,
            low: loss.loss - NINETY * error,
            high: loss.loss + NINETY * error,
        };
        // Where it says no more than that the loss stays, it says nothing.
        let says_nothing = is_early(now, self.to)
            && NINETY * error > MOST_ERROR.max((last - loss.loss).abs());
        let rests_on = match (&same, &other) {
            (Some((template, _)), _) => format!("{}'s curve under the same schedule", template.name),
            (None, Some((name, ..))) if says_nothing => {
                return Err(format!("{name} ran another schedule"));
            }
            (None, Some((name, _, alike))) => match alike {
                true => format!("{name}'s annealing under the same schedule"),
                false => format!("{name}'s annealing under another schedule"),
            },
            (None, None) if says_nothing => {
                return Err("no finished phase shows what annealing will bring".into());
            }
            (None, None) => "what annealing brings in other trainings".into(),
        };
        Ok((interval, rests_on)) => (Some(interval), Ok(rests_on)),
            Err(why) => (None, Err(why)),
        };
        let final_gap = final_loss.zip(self.benchmark.filter(|b| b.is_finite()));
        let final_gap = final_gap.map(|(loss, benchmark)| loss.lowered(benchmark));
        let verdict = match final_gap {
            None => Verdict::InsufficientData,
            Some(gap) if gap.high <= self.tolerance => Verdict::WillMatch,
            Some(gap) if gap.low > self.tolerance => Verdict::WillNotMatch,
            Some(_) => Verdict::TooClose,
        };
        let why = match rests_on {
            Err(why) => format!("insufficient data: {why}"),
            Ok(rests_on) => {
                let evaluations = table::plural(used, "evaluation");
                let step = table::count(self.to);
                match (final_gap, final_loss) {
                    (Some(gap), _) => format!(
                        "{verdict}: {rests_on} and {evaluations} expect a gap of {:+.4} ({:+.4} to {:+.4}) at step {step}, and the tolerance is {:.4}",
                        gap.value, gap.low, gap.high, self.tolerance
                    ),
                    (None, Some(loss)) => format!(
                        "{rests_on} and {evaluations} expect a loss of {:.4} ({:.4} to {:.4}) at step {step}; the reference's final loss is not known",
                        loss.value, loss.low, loss.high
                    ),
                    (None, None) => unreachable!("what rests on something has a value"),
                }
            }
        };
        Forecast {
            prospect: Prospect::AsPlanned,
            at_phase_step: self.to,
            final_loss,
            final_gap,
            verdict,
            why,
            evaluations_used: used,
        }
    }

    /// The expected loss and what it rests on, or why there is none.
    fn expected(&self, used: usize) -> Result<(Interval, String), String> {
        let curve = self.curve;
        if curve.is_broken() {
            return Err("the latest evaluation is not finite".into());
        }
        let Some((now, last)) = curve.last() else {
            return Err("nothing has been evaluated yet".into());
        };
        if self.to <= now {
            return Err(format!("step {} is past", table::count(self.to)));
        }
        if used < LEAST {
            return Err(format!(
                "{} after the first {:.0} % of {} steps, and a forecast needs {LEAST}",
                table::plural(used, "evaluation"),
                100.0 * LAW_FROM,
                table::count(self.to)
            ));
        }
        let to = self.to as f64;
        let Some((points, sums)) = curve.with_sums(LEAD_FROM * to, self.to) else {
            return Err("the learning rates of this phase are not known".into());
        };
        if sums.rates <= 0.0 {
            return Err("the learning rate is 0".into());
        }
        let goal = Goal { step: to, sums };
        let first = points.partition_point(|p| p.step <= LAW_FROM * to);
        let later = &points[first..];
        let is_short = self.to < SHORT;
        let same = self.templates.iter().find_map(|template| {
            let end = template.curve.last()?.0;
            let is_same = curve.course().is_like(template.curve.course(), self.to);
            let starts_alike = template.curve.is_cold() == curve.is_cold();
            (is_same && end >= self.to && (starts_alike || !is_short)).then_some(())?;
            Some((template, Shape::of(template.curve)?))
        });
        let other = self.templates.iter().find_map(|template| {
            let shape = Shape::of(template.curve)?;
            let alike = curve.course().is_like(template.curve.course(), self.to);
            Some((template.name, shape, alike))
        });
        let peak = curve.course().peak(self.to);
        let peak = peak.filter(|&peak| peak > 0.0).unwrap_or(1.0);
        let is_cold = curve.is_cold();
        let exponent = match is_cold {
            true => COLD_EXPONENT,
            false => WARM_EXPONENT,
        };
        // Fractions of a nat for each unit of the rate.
        let annealing = match &other {
            Some((_, shape, _)) => {
                let expected = shape.annealing.max(0.1 * GAIN.0 / peak);
                (CARRIED.0 * expected, CARRIED.1 * expected)
            }
            None => (GAIN.0 / peak, GAIN.1 / peak),
        };
        let current = mean(later.iter().rev().take(3).map(|p| p.loss));
        let by_law = methods::law(later, &goal, exponent, annealing);
        let (estimates, gain_error, misfit) = match &same {
            Some((template, shape)) => {
                let still = 1.0 - later.last().map_or(0.0, |p| p.sums.annealing) / sums.annealing;
                let still = if sums.annealing > 0.0 {
                    still.clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let gain = shape.annealing * sums.annealing * still;
                let (less, spread) = match (is_cold, template.curve.is_cold()) {
                    (true, _) => COLD_LOSS,
                    (false, true) => WARM_LOSS,
                    // An earlier round, which began from trained weights, too.
                    (false, false) => (0.0, WARM_LOSS.1),
                };
                let corrected = |estimate: Estimate| Estimate {
                    loss: estimate.loss + less * gain,
                    ..estimate
                };
                let lead = methods::lead(&points, shape, &goal).map(corrected);
                let shared = methods::shared(later, shape, &goal).map(corrected);
                (
                    vec![lead, shared, by_law],
                    spread * gain,
                    shape.misfit * still,
                )
            }
            None => (vec![by_law], 0.0, 0.0),
        };
        let estimates: Vec<Estimate> = estimates.into_iter().flatten().collect();
        let loss = weighted(&estimates).ok_or("the evaluations determine no course")?;
        let end = END_SCATTER
            * estimates
                .iter()
                .map(|e| e.scatter)
                .fold(f64::INFINITY, f64::min);
        let share = if is_short { SHORT_FALL_ERROR } else { FALL_ERROR };
        let fall = share * (current - loss.loss);
        let terms = [loss.error, gain_error, misfit, end, fall];
        let error = terms.iter().map(|e| e * e).sum::<f64>().sqrt();
        if !(loss.loss.is_finite() && error.is_finite()) {
            return Err("the evaluations determine no course".into());
        }
        let interval = Interval {
            value: loss.loss,
            low: loss.loss - NINETY * error,
            high: loss.loss + NINETY * error,
        };
        let rests_on = match (&same, &other) {
            (Some((template, _)), _) => {
                format!("{}'s curve under the same schedule", template.name)
            }
            (None, Some((name, ..))) => {
                // Where it says no more than that nothing changes, it says nothing.
                let known = (last - loss.loss).abs();
                if NINETY * error > MOST_ERROR.max(known) && is_early(now, self.to) {
                    return Err(format!("{name} ran another schedule"));
                }
                format!("{name}'s curve, which ran another schedule,")
            }
            (None, None) => {
                let known = (last - loss.loss).abs();
                if NINETY * error > MOST_ERROR.max(known) && is_early(now, self.to) {
                    return Err("the reference has no curve of its own".into());
                }
                "the loss of usual trainings".into()
            }
        };
        Ok((interval, rests_on))
    }
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
    // The ways rest on the same evaluations: where they differ, none of them knows.
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

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    sum / f64::from(n.max(1))
}

/// Whether a phase is so young that another schedule's curve says little.
fn is_early(now: u64, to: u64) -> bool {
    (now as f64) < EARLY * to as f64
}

/// Judges whether the fall of the loss is over: no more than [`PLATEAU`] is to be expected. `forecast` is that of the curve's
/// phase at its end as planned.
pub fn plateau(curve: &Curve, forecast: &Forecast) -> Plateau {
    let (Some(end), Some((_, last))) = (forecast.final_loss, curve.last()) else {
        return Plateau::InsufficientData;
    };
    let recent = mean(curve.points().iter().rev().take(3).map(|p| p.1));
    match recent.max(last) - end.low <= PLATEAU {
        true => Plateau::Likely,
        false => Plateau::No,
    }
}
