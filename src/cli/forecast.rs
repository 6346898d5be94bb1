//! `heirloom forecast`: forecasts the loss and the gap at the end of a training.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Global, exit, say};
use crate::config::Schedule;
use crate::run::dir::RunDir;
use crate::run::event::{Forecast, Phase};
use crate::run::forecast::{self, Curve, Known, Past};
use crate::run::schedule::{Course, LearningRate};
use crate::run::state::{PhaseNow, RunState};
use crate::run::tail::{self, Tail, TailItem};
use crate::text;

/// Forecast the loss and the gap at the end of a phase
///
/// RUN is a run's directory or its name under the runs directory; its latest phase is forecast, or the one that --phase
/// names as it was known then, with its own reference and its earlier rounds as templates. LOG is a published training
/// log with lines "step N: train loss X, val loss Y"; the schedule of logs is a cosine to a thirtieth of the peak after
/// a warm-up of 2 % of the steps, or the one that --schedule names.
///
/// Bounds are those that hold nine of ten outcomes; docs/advice.md has the method and its measured errors.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run or the log
    #[arg(value_name = "RUN|LOG", value_parser = super::values::exact_text())]
    training: String,
    /// Reference curve: a log, or a run (its reference, or else its latest phase) [default: the run's own reference]
    #[arg(long, value_name = "RUN|LOG", value_parser = super::values::exact_text())]
    reference: Option<String>,
    /// A phase of the run: reference, round-1, random, ... [default: the latest]
    #[arg(long, value_name = "NAME")]
    phase: Option<String>,
    /// Ignore everything after this step of the phase [default: the latest]
    #[arg(long, value_name = "STEP")]
    at: Option<u64>,
    /// The step of the phase to forecast [default: its planned end; of a log the end of its schedule, else of its reference]
    #[arg(long, value_name = "STEP")]
    to: Option<u64>,
    /// The learning rates: cosine, linear, constant or wsd, and peak, lowest rate, steps of warm-up and of all
    #[arg(long, value_name = "KIND:PEAK,MIN,WARMUP,STEPS", value_parser = schedule)]
    schedule: Option<LearningRate>,
    /// Largest gap that counts as a match, in nats [default: the run's matching.tolerance; 0 for logs]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    tolerance: Option<f64>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads `cosine:3e-4,1e-5,2000,100000`.
fn schedule(given: &str) -> Result<LearningRate, String> {
    let form = "give KIND:PEAK,MIN,WARMUP,STEPS, as in cosine:3e-4,1e-5,2000,100000";
    let (kind, numbers) = given.split_once(':').ok_or(form)?;
    let kind = Schedule::of_name(kind).ok_or_else(|| {
        let kinds = Schedule::ALL.map(Schedule::name).join(", ");
        format!("unknown schedule {kind:?}; give {kinds}")
    })?;
    let numbers: Vec<&str> = numbers.split(',').map(str::trim).collect();
    let [peak, min, warmup, steps] = numbers[..] else {
        return Err(form.into());
    };
    let rate = |what: &str, given: &str| match given.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err(format!(
            "{what} is {given:?}, and must be a rate of 0 or more; {form}"
        )),
    };
    let count = |what: &str, given: &str| {
        let count = given.replace('_', "").parse::<u64>();
        count.map_err(|_| format!("{what} is {given:?}, and must be a number of steps; {form}"))
    };
    let schedule = LearningRate {
        kind,
        peak: rate("PEAK", peak)?,
        min: rate("MIN", min)?,
        warmup: count("WARMUP", warmup)?,
        steps: count("STEPS", steps)?,
    };
    if schedule.peak <= 0.0 || schedule.min > schedule.peak {
        return Err(format!("PEAK must be above 0 and not below MIN; {form}"));
    }
    if schedule.steps == 0 || schedule.warmup > schedule.steps || schedule.steps > MOST_STEPS {
        return Err(format!(
            "STEPS must be 1 to {MOST_STEPS} and not below WARMUP; {form}"
        ));
    }
    Ok(schedule)
}

/// Most steps, far more than any training has.
const MOST_STEPS: u64 = 1 << 40;
/// A log's assumed schedule: the lowest rate as a share of the peak, and the warm-up as a share of the steps.
const LOWEST: f64 = 1.0 / 30.0;
const WARMUP: f64 = 0.02;
/// A log's assumed peak, which only scales the fit.
const PEAK: f64 = 3e-4;
/// A log counts as started from trained weights if its losses in the first share `START` of the reference's steps are below the
/// reference's by more than the share `AHEAD` of the reference's remaining fall.
const START: f64 = 0.05;
const AHEAD: f64 = 0.1;

impl Args {
    /// # Errors
    /// When a run or a log cannot be read, or they do not fit each other.
    pub fn run(self) -> Result<()> {
        if let Some(tolerance) = self.tolerance.filter(|t| !t.is_finite()) {
            return Err(
                exit::usage(&format!("--tolerance must be a number, is {tolerance}")).into(),
            );
        }
        let known = match self.training_of(&self.training)? {
            Training::Log(_) if self.phase.is_some() => {
                return Err(exit::usage("--phase is for runs: a log has one phase").into());
            }
            Training::Log(path) => self.known_of_log(&path)?,
            Training::Run(dir) => self.known_of_run(&dir)?,
        };
        let forecast = known.forecast(crate::run::event::Prospect::AsPlanned);
        match self.json {
            true => say::json(&known.json(&forecast))?,
            false => say::out(&self.text(&known, &forecast))?,
        }
        Ok(())
    }

    fn training_of(&self, given: &str) -> Result<Training> {
        let path = text::exact::to_path(given);
        match path.is_file() {
            true => Ok(Training::Log(path.into_owned())),
            false => Ok(Training::Run(RunDir::open(&self.global.runs, given)?)),
        }
    }

    /// Reads a run's latest phase and its earlier phases.
    fn known_of_run(&self, dir: &RunDir) -> Result<Known> {
        let mut known = read_run(dir, self.phase.as_deref(), self.at)?;
        if let Some(at) = self.at {
            known.curve = known.curve.until(at);
            known.step = known.step.min(at);
        }
        if let Some(schedule) = self.schedule {
            known.curve = known.curve.under(Course::planned(schedule));
        }
        if let Some(to) = self.to {
            known.due = to;
        }
        known.tolerance = self.tolerance.unwrap_or(known.tolerance);
        if let Some(reference) = &self.reference {
            let curve = self.reference_curve(reference, None)?;
            known.benchmark = forecast::final_loss(&curve);
            known.past = vec![Past {
                phase: Phase::Reference,
                curve,
            }];
        }
        Ok(known)
    }

    /// Reads a log, with its reference as its only earlier phase.
    fn known_of_log(&self, path: &Path) -> Result<Known> {
        let evaluations = read_log(path)?;
        let last = evaluations.iter().map(|e| e.0).max().unwrap_or(0);
        let reference = self.reference.as_deref();
        let reference = reference
            .map(|r| self.reference_curve(r, Some(last)))
            .transpose()?;
        let end = reference.as_ref().and_then(Curve::last).map(|l| l.0);
        let steps = self.schedule.map(|s| s.steps).or(end).unwrap_or(last);
        let due = self.to.unwrap_or(steps);
        let course = match (&reference, self.schedule) {
            (_, Some(schedule)) => Course::planned(schedule),
            // Without a schedule of its own, a log has that of its reference.
            (Some(reference), None) if reference.course().schedule().is_some() => {
                reference.course().clone()
            }
            _ => Course::planned(usual(steps.max(due))),
        };
        let is_cold = reference
            .as_ref()
            .is_none_or(|reference| !starts_ahead(&evaluations, reference));
        let all = Curve::new(evaluations, course, is_cold);
        let curve = match self.at {
            Some(at) => all.until(at),
            None => all,
        };
        Ok(Known {
            phase: Phase::Round(1),
            layers: 0,
            step: curve.last().map_or(0, |l| l.0),
            curve,
            due,
            benchmark: reference.as_ref().and_then(forecast::final_loss),
            past: reference
                .map(|curve| Past {
                    phase: Phase::Reference,
                    curve,
                })
                .into_iter()
                .collect(),
            rounds: Vec::new(),
            round_steps: due,
            tolerance: self.tolerance.unwrap_or(0.0),
        })
    }

    /// Reads the curve of the reference. `steps` is the length of a log that is compared with it.
    fn reference_curve(&self, given: &str, steps: Option<u64>) -> Result<Curve> {
        match self.training_of(given)? {
            Training::Log(path) => {
                let evaluations = read_log(&path)?;
                let last = evaluations.iter().map(|e| e.0).max().unwrap_or(0);
                let schedule = match (self.schedule, steps) {
                    (Some(schedule), Some(_)) => schedule,
                    _ => usual(last),
                };
                Ok(Curve::new(evaluations, Course::planned(schedule), true))
            }
            Training::Run(dir) => {
                let known = read_run(&dir, None, None)?;
                let reference = known.past.into_iter().find(|p| p.phase == Phase::Reference);
                Ok(reference.map_or(known.curve, |past| past.curve))
            }
        }
    }

    fn text(&self, known: &Known, forecast: &Forecast) -> String {
        let mut out = format!(
            "{}, step {} of {}\n",
            text::clean(&self.training),
            text::thousands(known.step),
            text::thousands(forecast.at_phase_step),
        );
        if let Some(loss) = forecast.final_loss {
            out += &format!(
                "final loss  {:.4}  ({:.4} to {:.4})\n",
                loss.value, loss.low, loss.high
            );
        }
        if let Some(gap) = forecast.final_gap {
            out += &format!(
                "final gap  {:+.4}  ({:+.4} to {:+.4})\n",
                gap.value, gap.low, gap.high
            );
        }
        out + &forecast.why + "\n"
    }
}

/// The run or the log that an argument names.
enum Training {
    Log(PathBuf),
    Run(RunDir),
}

fn read_log(path: &Path) -> Result<Vec<(u64, f64)>> {
    let shown = text::path(path);
    let text =
        crate::file::read_text(path, MOST_LOG).with_context(|| format!("cannot read {shown}"))?;
    match forecast::read_log(&text) {
        Ok(evaluations) => Ok(evaluations),
        Err(why) => bail!("{shown}: {why}"),
    }
}

/// Most bytes of a log, about a million lines.
const MOST_LOG: u64 = 64 << 20;

/// Returns the schedule that a log is assumed to have.
fn usual(steps: u64) -> LearningRate {
    LearningRate {
        kind: Schedule::Cosine,
        peak: PEAK,
        min: LOWEST * PEAK,
        warmup: (WARMUP * steps as f64) as u64,
        steps,
    }
}

/// Whether a log's first losses are so far below its reference's at the same steps that it started from trained weights.
fn starts_ahead(evaluations: &[(u64, f64)], reference: &Curve) -> bool {
    let Some((end, last)) = reference.last() else {
        return false;
    };
    let early = evaluations
        .iter()
        .filter(|e| e.0 > 0 && e.0 as f64 <= START * end as f64);
    let (mut lead, mut fall) = (0.0, 0.0);
    for &(step, loss) in early {
        let there = reference.points().iter().find(|p| p.0 >= step);
        if let Some(&(_, other)) = there.filter(|_| loss.is_finite()) {
            lead += other - loss;
            fall += other - last;
        }
    }
    lead > AHEAD * fall
}

/// Reads a run up to the end of a phase, the latest if none is named, or up to a step of it.
fn read_run(dir: &RunDir, phase: Option<&str>, at: Option<u64>) -> Result<Known> {
    let events = dir.events();
    let unreadable = || format!("cannot read {}", text::path(&events));
    let state = tail::load(dir.path()).with_context(unreadable)?;
    let none = || format!("{}: nothing has been trained yet", dir.name());
    let latest = state.core.phase.as_ref().with_context(none)?;
    let wanted = match phase {
        None => latest,
        Some(name) => phase_named(&state, name)
            .with_context(|| format!("{}: {}", dir.name(), no_phase(&state, name)))?,
    };
    let is_latest = wanted.began_seq == latest.began_seq;
    if is_latest && at.is_none_or(|at| state.core.phase_step <= at) {
        return state.known().with_context(none);
    }
    let later = live_phases(&state).map(|p| p.began_seq);
    let end = later.filter(|&seq| seq > wanted.began_seq).min();
    // Reads the journal again, up to the first event of that phase after the step, or to the next phase.
    let (mut before, mut journal) = (RunState::default(), Tail::open(dir.path()));
    'all: loop {
        for item in journal.poll().with_context(unreadable)? {
            if let TailItem::Event(event) = &item {
                let is_after = event.phase == wanted.phase
                    && event.seq >= wanted.began_seq
                    && at.is_some_and(|at| event.phase_step > at);
                if is_after || end.is_some_and(|end| event.seq >= end) {
                    break 'all;
                }
            }
            item.apply_to(&mut before);
        }
        if journal.caught_up() {
            break;
        }
    }
    tail::settle(&mut before, dir.path());
    before.known().with_context(none)
}

/// Returns the phases of a run's live branch, oldest first.
fn live_phases(state: &RunState) -> impl DoubleEndedIterator<Item = &PhaseNow> {
    let past = state.phases.iter();
    let past = past.filter(|p| state.live().contains(p.began_seq));
    past.chain(&state.core.phase)
}

/// Returns the phase with a name of the journal or the table: `round-1`, `control-random` or `random`.
fn phase_named<'a>(state: &'a RunState, name: &str) -> Option<&'a PhaseNow> {
    live_phases(state).rfind(|p| match &p.phase {
        Phase::Control(control) => [control.id, control.result, control.short].contains(&name),
        Phase::Baseline(baseline) => name == baseline.short() || name == baseline.to_string(),
        phase => phase.to_string() == name,
    })
}

/// Lists the existing phases, for an error.
fn no_phase(state: &RunState, name: &str) -> String {
    let all: Vec<String> = live_phases(state).map(|p| p.phase.to_string()).collect();
    let all = text::clean(&all.join(", ")).into_owned();
    format!("unknown phase {name:?}; it has {all}")
}
