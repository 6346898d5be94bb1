//! The known facts of a run's phases, and the forecasts that follow from them.

use serde_json::{Value, json};

use super::answer::plateau;
use super::curve::Curve;
use super::question::{Question, Template};
use crate::run::event::{Forecast, Interval, Phase, Plateau, Prospect, Verdict};
use crate::text;

/// Error of the gain of a growth, as a share of the gain.
const GROWTH_ERROR: f64 = 0.5;

/// A phase that is over.
#[derive(Debug, Clone)]
pub struct Past {
    pub phase: Phase,
    pub curve: Curve,
}

/// The present phase, those before it, and what they are compared with.
#[derive(Debug, Clone)]
pub struct Known {
    pub phase: Phase,
    pub layers: usize,
    pub curve: Curve,
    /// Step of the phase that is reached.
    pub step: u64,
    /// Step at which the phase ends as it is planned now.
    pub due: u64,
    /// Oldest first.
    pub past: Vec<Past>,
    /// Layers and final loss of the finished rounds.
    pub rounds: Vec<(usize, f64)>,
    /// Steps of a round.
    pub round_steps: u64,
    /// The finished reference's loss.
    pub benchmark: Option<f64>,
    pub tolerance: f64,
}

/// The forecast of a phase, and whether it is on its plateau.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The forecast of the phase's end or, once that is reached, of another round's steps.
    pub forecast: Forecast,
    pub plateau: Plateau,
}

impl Known {
    /// Forecasts the present phase, and judges whether the fall of its loss is over.
    pub fn outlook(&self) -> Outlook {
        let forecast = self.ahead();
        Outlook {
            plateau: plateau(&self.curve, &forecast),
            forecast,
        }
    }

    /// Forecasts the result of a choice.
    pub fn forecast(&self, prospect: Prospect) -> Forecast {
        let forecast = match prospect {
            Prospect::AsPlanned => self.at(self.due),
            Prospect::TrainOn { steps } => self.at(self.step.saturating_add(steps)),
            Prospect::Grow { layers } => self.grown(layers),
        };
        Forecast {
            prospect,
            ..forecast
        }
    }

    /// A forecast as `heirloom forecast --json`, `show --json` and `ctl status --json` print it.
    pub fn json(&self, forecast: &Forecast) -> Value {
        json!({
            "step": self.step,
            "to": forecast.at_phase_step,
            "final_loss": forecast.final_loss,
            "final_gap": forecast.final_gap,
            "benchmark": self.benchmark,
            "tolerance": self.tolerance,
            "verdict": forecast.verdict,
            "plateau": plateau(&self.curve, &self.ahead()),
            "why": forecast.why,
            "evaluations_used": forecast.evaluations_used,
        })
    }

    /// Returns the forecast of the phase at its planned end or, once that is reached, after another round's steps.
    pub fn ahead(&self) -> Forecast {
        match self.due > self.step {
            true => self.forecast(Prospect::AsPlanned),
            false => self.forecast(Prospect::TrainOn {
                steps: self.round_steps.max(1),
            }),
        }
    }

    fn at(&self, to: u64) -> Forecast {
        let names: Vec<String> = self.past.iter().map(|p| name(&p.phase)).collect();
        let mut templates: Vec<Template<'_>> = self
            .past
            .iter()
            .zip(&names)
            .map(|(past, name)| Template {
                name,
                curve: &past.curve,
            })
            .collect();
        // The latest first, and those that started alike before the others.
        templates.reverse();
        templates.sort_by_key(|t| t.curve.is_cold() != self.curve.is_cold());
        Question {
            curve: &self.curve,
            templates: &templates,
            to,
            benchmark: self.benchmark,
            tolerance: self.tolerance,
        }
        .answer()
    }

    /// Extrapolates the final losses of the rounds so far, the present one's as it is expected, on a line in ln(layers).
    fn grown(&self, add: usize) -> Forecast {
        let layers = self.layers + add;
        let mut forecast = Forecast {
            prospect: Prospect::Grow { layers: add },
            at_phase_step: self.round_steps,
            final_loss: None,
            final_gap: None,
            verdict: Verdict::InsufficientData,
            why: String::new(),
            evaluations_used: 0,
        };
        let before = self
            .rounds
            .iter()
            .rfind(|r| r.0 < self.layers && r.1.is_finite());
        let Some(&(fewer, loss_before)) = before else {
            forecast.why = "insufficient data: no round with fewer layers has finished yet".into();
            return forecast;
        };
        let present = match self.due > self.step {
            true => self.at(self.due),
            false => self.reached(),
        };
        forecast.evaluations_used = present.evaluations_used;
        let Some(loss) = present.final_loss else {
            forecast.why = present.why;
            return forecast;
        };
        let ln = |n: usize| (n as f64).ln();
        let share = (ln(layers) - ln(self.layers)) / (ln(self.layers) - ln(fewer));
        let gain = share * (loss_before - loss.value);
        let error = loss.half_width() + GROWTH_ERROR * gain.abs();
        let value = loss.value - gain;
        let interval = Interval {
            value,
            low: value - error,
            high: value + error,
        };
        forecast.final_loss = Some(interval);
        forecast.final_gap = self.benchmark.map(|b| interval.lowered(b));
        forecast.verdict = match forecast.final_gap {
            None => Verdict::InsufficientData,
            Some(gap) if gap.high <= self.tolerance => Verdict::WillMatch,
            Some(gap) if gap.low > self.tolerance => Verdict::WillNotMatch,
            Some(_) => Verdict::TooClose,
        };
        forecast.why = format!(
            "{}: a line in ln(layers) through {} at {loss_before:.4} and {} at {:.4} expects {value:.4} ({:.4} to {:.4}) of {}",
            forecast.verdict,
            text::plural(fewer, "layer"),
            text::plural(self.layers, "layer"),
            loss.value,
            interval.low,
            interval.high,
            text::plural(layers, "layer"),
        );
        forecast
    }

    /// The phase's last loss as a forecast of its end, which is reached.
    fn reached(&self) -> Forecast {
        let last = self.curve.last().filter(|_| !self.curve.is_broken());
        Forecast {
            prospect: Prospect::AsPlanned,
            at_phase_step: self.step,
            final_loss: last.map(|(_, value)| Interval {
                value,
                low: value,
                high: value,
            }),
            final_gap: None,
            verdict: Verdict::InsufficientData,
            why: "insufficient data: the latest evaluation is not finite".into(),
            evaluations_used: self.curve.points().len(),
        }
    }
}

/// A phase as sentences name it.
fn name(phase: &Phase) -> String {
    match phase {
        Phase::Reference => "the reference".into(),
        Phase::Round(n) => format!("round {n}"),
        phase => text::clean(&phase.to_string()).into_owned(),
    }
}
