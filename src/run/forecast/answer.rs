//! The forecast that answers a question, and whether the fall of a loss is over.

use super::curve::Curve;
use super::question::Question;
use super::{expect, shape};
use crate::run::event::{Forecast, Plateau, Prospect, Verdict};
use crate::text;

/// The fall still to come, in nats, up to which a phase is on its plateau.
pub const PLATEAU: f64 = 0.01;

impl Question<'_> {
    /// Forecasts the loss at the step that is asked for.
    pub fn answer(&self) -> Forecast {
        let used = expect::used(self);
        let (final_loss, rests_on) = match expect::expected(self, used) {
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
                let by = format!("by {rests_on} and {}", text::plural(used, "evaluation"));
                let step = text::thousands(self.to);
                match (final_gap, final_loss) {
                    (Some(gap), _) => format!(
                        "{verdict}: {by} the gap at step {step} comes to {:+.4} ({:+.4} to {:+.4}), against a tolerance of {:.4}",
                        gap.value, gap.low, gap.high, self.tolerance
                    ),
                    (None, Some(loss)) => format!(
                        "{by} the loss at step {step} comes to {:.4} ({:.4} to {:.4}); the reference's final loss is not known",
                        loss.value, loss.low, loss.high
                    ),
                    (None, None) => rests_on,
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
}

/// Returns the final loss of a finished curve: its last evaluation without its scatter, if a law can be fitted to the curve.
pub fn final_loss(curve: &Curve) -> Option<f64> {
    let (end, last) = curve.last()?;
    let smoothed = || {
        let sums = curve.course().sums(&[end])?[0];
        Some(shape::Shape::of(curve)?.loss(end as f64, &sums))
    };
    Some(smoothed().unwrap_or(last))
}

/// Judges whether the fall of the loss is over: no more than [`PLATEAU`] is to be expected. `forecast` is that of the curve's
/// phase at its end as planned.
pub fn plateau(curve: &Curve, forecast: &Forecast) -> Plateau {
    let (Some(end), Some((_, last))) = (forecast.final_loss, curve.last()) else {
        return Plateau::InsufficientData;
    };
    let recent = expect::mean(curve.points().iter().rev().take(3).map(|p| p.1));
    match recent.max(last) - end.low <= PLATEAU {
        true => Plateau::Likely,
        false => Plateau::No,
    }
}
