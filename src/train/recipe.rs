//! The recipe: reference, inherit, train, decide, grow, controls (Algorithm 1 of arXiv 2404.08634).

use anyhow::{Context, Result};

use super::control::{Pause, Verdict};
use super::keeper::pre_grow;
use super::outcome::{Boundary, Choice, Due, Ended, Insisted};
use super::plan::{self, PhaseEnd};
use super::start::{Sources, Start};
use super::state::{Benchmark, Task};
use super::trainer::Trainer;
use crate::config::Config;
use crate::model::Files;
use crate::run::event::{Body, Done, Inheritance, Log, Outcome, Phase, PhaseEvent, PhaseResult};
use crate::run::hints::NEXT_BATCH;
use crate::run::state::RoundResult;
use crate::run::{losses, table};

/// Returns the start of the reference: random weights where it is trained here.
pub(super) fn first_start(config: &Config, n_layer: usize) -> Start {
    match config.reference.train.as_ref().is_some_and(|r| r.steps > 0) {
        true => Start::random(n_layer, config.train.seed),
        false => Start::loaded(n_layer),
    }
}

impl Trainer {
    /// Trains the present phase to its end. `Some` ends this process's part.
    pub(super) fn phase(&mut self) -> Result<Option<Ended>> {
        if self.state.phase == Phase::Reference && self.state.evals.is_empty() {
            self.begin_reference()?;
        }
        loop {
            let probe = match self.boundary()? {
                Boundary::Step { probe } => probe,
                Boundary::Again => return Ok(None),
                Boundary::Choice(choice) => return self.conclude(choice),
                Boundary::End(ended) => return Ok(Some(ended)),
            };
            if !self.measure_due()? {
                continue;
            }
            if self.state.phase_step >= self.state.due {
                match self.due()? {
                    Due::Choice(choice) => return self.conclude(choice),
                    Due::PhaseOver => return self.conclude_plain(),
                    Due::Wait => continue,
                    Due::End(ended) => return Ok(Some(ended)),
                    Due::TrainOn => {}
                }
            }
            if !self.train_step()? {
                if self.state.pending_growth.is_some() {
                    let step = self.place();
                    let why = format!("loss or gradient is not finite at {step}");
                    return self.growth_failed(&why);
                }
                if let Some(failed) = self.on_nonfinite() {
                    return Ok(Some(failed));
                }
            }
            if let Some(why) = self.after_step(probe)? {
                return self.growth_failed(&why);
            }
        }
    }

    /// Evaluates, probes and writes checkpoints on their schedules. Returns why the growth that the round began with has failed, if that
    /// becomes known now.
    fn after_step(&mut self, probe: bool) -> Result<Option<String>> {
        let step = self.state.phase_step;
        if step.is_multiple_of(self.config.eval.interval(self.state.steps)) {
            let record = self.evaluate()?;
            if probe {
                self.probe()?;
                self.state.probe_seconds += self.state.last_probe_seconds;
            }
            self.judge_course(&record)?;
        }
        let failed = self.judge_growth()?;
        if failed.is_some() {
            return Ok(failed);
        }
        if self.config.eval.tasks_due(step) {
            let tasks = self.config.eval.tasks().to_vec();
            self.state.downstream.owe(&tasks, step);
            // Before the checkpoint, so that a resume from it need not measure again.
            self.measure_due()?;
        }
        let every = self.config.checkpoint.every;
        // The phase's last checkpoint is written with its result.
        if every > 0 && step.is_multiple_of(every) && step != self.state.due {
            // If the disk is slower than the schedule, the next checkpoint will do.
            self.keeping().scheduled();
        }
        Ok(None)
    }

    /// Handles a loss or gradient that is NaN or infinite: the step was not taken. An operator may continue; unattended, the run ends.
    fn on_nonfinite(&mut self) -> Option<Ended> {
        let step = self.place();
        let what = format!("loss or gradient is not finite at {step}; the update was skipped");
        if self.give_up_baseline(&what).is_some() {
            return None;
        }
        self.warn(what.clone());
        if self.control.verdict_on_failure(&self.state) == Verdict::Wait {
            let why = format!("{what}{NEXT_BATCH}");
            self.pause(Pause::Waiting, Some(why));
            return None;
        }
        let way = self.way_round_nonfinite();
        Some(Ended::Failed(format!("{what}. {way}")))
    }

    fn begin_reference(&mut self) -> Result<()> {
        let trained = self.config.reference.train.as_ref().map_or(0, |r| r.steps);
        let start = first_start(&self.config, self.learner.shape().n_layer);
        self.begin(Phase::Reference, &start, trained)
    }

    /// Starts a phase with the present model: event, first evaluation, first probe.
    pub(super) fn begin(&mut self, phase: Phase, start: &Start, steps: u64) -> Result<()> {
        let layers = start.source_layers(&self.state.source_layers);
        // A growth keeps the indices, unless it copies layers into the middle; the layers of other models are different ones.
        let keeps = matches!(phase, Phase::Round(n) if n > 1)
            && layers.starts_with(&self.state.source_layers);
        let thaws = !keeps && self.state.live.unfreeze(&(0..usize::MAX));
        self.state.begin_phase(phase, start.name(), layers, steps);
        let body = Body::Phase(self.phase_event(None));
        self.emit(body);
        if thaws {
            let message = "all layers train again: this phase begins with another model".into();
            self.emit(Body::Log(Log { message }));
        }
        self.evaluate()?;
        self.probe()?;
        Ok(())
    }

    /// The event of the present phase's start or, with its result, of its end.
    pub(super) fn phase_event(&self, result: Option<PhaseResult>) -> PhaseEvent {
        let (state, shape) = (&self.state, self.learner.shape());
        let starts = result.is_none();
        let sources = state.source_layers.clone();
        // Before round 1, the config determines the layers that it inherits.
        let layers = match (&state.phase, sources.is_empty()) {
            (Phase::Reference, _) => self.config.inherit.layers.of(shape.n_layer),
            // Controls have the size of the last round's model, or the reference's.
            (Phase::Control(_) | Phase::Baseline(_), _) => (0..self.final_layers()).collect(),
            (_, true) => (0..shape.n_layer).collect(),
            _ => sources.clone(),
        };
        // As many as the rounds that make the final model, once these are known.
        let control_steps = match (&state.phase, self.same_steps()) {
            (Phase::Baseline(_), same) => same,
            _ if state.is_control() => state.steps,
            _ => self.config.train.steps,
        };
        PhaseEvent {
            layers: shape.n_layer,
            parameters: shape.parameters(),
            steps: state.steps,
            start: state.start,
            source_layers: sources,
            result,
            schedule: (starts && state.steps > 0).then(|| self.schedule().to_event()),
            planned: match starts {
                true => plan::order(
                    &self.config,
                    &state.phase,
                    &layers,
                    self.reference_layers,
                    control_steps,
                ),
                false => Vec::new(),
            },
        }
    }

    /// Measures the end of the phase and returns its row of the table.
    fn result(&mut self) -> Result<PhaseResult> {
        let record = self.evaluate()?;
        self.probe()?;
        let state = &self.state;
        let tokens = state.phase_tokens;
        let probe = state.probe.clone().context("probed just now")?;
        let result = PhaseResult {
            layers: self.learner.shape().n_layer,
            parameters: self.learner.shape().parameters(),
            steps: state.phase_step,
            tokens,
            val_loss: record.measured_val_loss(),
            stderr: record.stderr(),
            // A gap that is not finite still counts as a gap.
            gap: record.gap.or(state.benchmark.as_ref().map(|_| f64::NAN)),
            gap_stderr: record.gap_stderr,
            tokens_per_second: if tokens > 0 {
                self.tokens_per_second()
            } else {
                0.0
            },
            tokens_per_second_wall: tokens as f64 / state.wall_seconds.max(1e-9),
            lazy_layers: probe.measured.lazy_layers,
            max_rank: probe.measured.max_rank,
            start: state.start,
            matched: record.matched,
        };
        let body = Body::Phase(self.phase_event(Some(result.clone())));
        self.emit(body);
        self.state.end_phase();
        self.owe_phase_end();
        Ok(result)
    }

    /// Ends the reference's phase or a control's. `Some` ends this process's part.
    fn conclude_plain(&mut self) -> Result<Option<Ended>> {
        let result = self.result()?;
        match PhaseEnd::of(&self.state.phase) {
            Some(PhaseEnd::Benchmark) => {
                let losses = self.data.latest_losses(&mut self.learner)?.to_vec();
                self.state.benchmark = Some(Benchmark {
                    losses,
                    val_loss: result.val_loss,
                    layers: result.layers,
                    lazy_layers: result.lazy_layers.clone(),
                });
                self.state.reference = Some(result);
                self.state.task = plan::after_reference(&self.config, self.reference_layers);
                // The recipe inherits from it.
                match self.insist_on_checkpoint("the finished reference", "reference", true, true) {
                    Insisted::Done(name) => self.keeping().link("reference", &name),
                    Insisted::End(ended) => return Ok(Some(ended)),
                }
            }
            Some(PhaseEnd::Comparison) => {
                let phase = self.state.phase.clone();
                let reason = self.keep_comparison(&phase, result);
                self.state.task =
                    plan::comparison_after(Some(&phase), &self.config, self.reference_layers);
                let what = format!("the result of {phase}");
                let written = self.insist_on_checkpoint(&what, reason, false, false);
                if let Insisted::End(ended) = written {
                    return Ok(Some(ended));
                }
            }
            // Rounds end with a choice, and a state of an unknown phase is not read.
            Some(PhaseEnd::Decision) | None => {}
        }
        Ok(None)
    }

    /// Ends a round (or, at a limit, whatever runs) with a choice. `Some` ends this process's part.
    fn conclude(&mut self, choice: Choice) -> Result<Option<Ended>> {
        self.unpause();
        if self.state.round() == 0 {
            // A limit during the reference: there is no model to compare yet.
            let Choice::Limit(outcome) = choice else {
                return Ok(None);
            };
            self.state.outcome = Some(outcome);
            self.state.task = Task::Finish;
            let what = format!("the state at {}", self.place());
            return Ok(
                match self.insist_on_checkpoint(&what, "limit", true, false) {
                    Insisted::Done(_) => None,
                    Insisted::End(ended) => Some(ended),
                },
            );
        }
        let result = self.result()?;
        let matched = result.matched;
        let round = self.state.round();
        self.state.rounds.push(RoundResult { round, result });
        self.state.inherited = self.state.source_layers.clone();
        let outcome = match choice {
            Choice::Grow { .. } => None,
            Choice::Stop if matched => Some(Outcome::Matched),
            Choice::Stop => Some(Outcome::Stopped),
            Choice::Limit(outcome) => Some(outcome),
        };
        self.state.outcome = outcome;
        self.state.task = match choice {
            Choice::Grow { layers, mode } => Task::Grow { layers, mode },
            Choice::Limit(Outcome::LimitTokens | Outcome::LimitHours) => Task::Finish,
            Choice::Stop | Choice::Limit(_) => {
                plan::comparison_after(None, &self.config, self.reference_layers)
            }
        };
        // This model is the result, or what a growth goes back to: it must be on disk before another takes its place.
        let grows = matches!(choice, Choice::Grow { .. });
        let reason = if grows { "before growth" } else { "round end" };
        let what = format!("the model of round {round}");
        match self.insist_on_checkpoint(&what, reason, true, true) {
            Insisted::Done(name) => {
                if grows {
                    self.keeper.set_before_growth(&name);
                    self.keeping().link(&pre_grow(round), &name);
                }
                Ok(None)
            }
            Insisted::End(ended) => Ok(Some(ended)),
        }
    }

    /// Returns the reference's files, verified; tensors are read from them one by one.
    pub(super) fn reference(&self) -> Result<Files> {
        let name = self.state.reference_checkpoint.as_deref();
        let name = name.context("the reference has not been measured yet")?;
        Ok(self.keeper.checkpoints().files(name)?)
    }

    /// Begins round 1. `Some` ends this process's part.
    pub(super) fn inherit(&mut self) -> Result<Option<Ended>> {
        let reference = self.reference()?;
        let choice = self.config.inherit.layers.clone();
        let Some((layers, measured)) = self.choose_layers(&choice, &reference)? else {
            return self.after_interruption();
        };
        let shape = reference.config.with_layers(vec![1.0; layers.len()]);
        let held = self.memory_held();
        self.memory_of(&shape).check("round 1", &held)?;
        // The reference's own checkpoint, which may still be on its way, holds a copy of it.
        self.keeping().finish();
        let (what, seed) = (&self.config.inherit.what, self.config.train.seed);
        let start = Start::inherit(&layers, what, seed);
        let sources = Sources {
            reference: Some(&reference),
            own: None,
        };
        start.apply(&mut self.learner, sources, true)?;
        self.state.stream = 1;
        let parts = self.config.inherit.what.iter();
        self.emit(Body::Inherit(Inheritance {
            layers,
            what: parts.map(|part| part.name().to_string()).collect(),
            from: "the reference".into(),
            measured,
        }));
        self.begin(Phase::Round(1), &start, self.config.train.steps)?;
        self.keeping().background("start of round 1", false);
        Ok(None)
    }

    /// Reports how the recipe ended, once everything before is on disk.
    pub(super) fn finish(&mut self) -> Ended {
        self.keeping().finish();
        self.journal_news();
        if let Insisted::End(ended) = self.insist_on_journal() {
            return ended;
        }
        let state = &self.state;
        let outcome = state.outcome.unwrap_or(Outcome::Stopped);
        let message = match (state.rounds.last(), &state.reference) {
            (Some(last), Some(reference)) => format!(
                "{} of {}, gap {}",
                last.result.layers,
                table::plural(reference.layers, "layer"),
                losses::gap_words(last.result.gap, last.result.gap_stderr),
            ),
            _ => match state.baselines.last() {
                Some(only) => format!(
                    "baseline {}, gap {}",
                    only.short(),
                    losses::gap_words(only.result.gap, only.result.gap_stderr)
                ),
                None => "before the first round ended".into(),
            },
        };
        // A baseline alone is neither matched nor stopped.
        let without_rounds = state.rounds.is_empty() && !state.baselines.is_empty();
        self.emit(Body::Done(Done {
            outcome: (!without_rounds).then_some(outcome),
            failed: false,
            message,
        }));
        Ended::Done
    }
}
