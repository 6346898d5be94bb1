//! Decisions: when one is due or offered, the evidence for it, and the answer of the policy.

use anyhow::{Context, Result};

use super::control::Pause;
use super::evidence;
use super::memory::{Held, Memory};
use super::outcome::{Choice, Due};
use super::plan;
use super::state::Open;
use super::trainer::Trainer;
use crate::config::{LayerChoice, PolicyMode};
use crate::inherit;
use crate::model::{DecoderConfig, Teacher};
use crate::run::command::{By, Command};
use crate::run::event::{
    Body, Decision, DecisionReason, DecisionStatus, Evaluation, Evidence, GrowthCost, Plateau,
    Prospect, Verdict,
};
use crate::run::forecast;
use crate::run::hints::DECIDE_OR_TRAIN_ON;
use crate::run::losses::GapData;
use crate::run::table;

/// The share of a round from which on a forecast may end it.
const JUDGED_FROM: f64 = 0.3;
/// Most growths whose cost is in the evidence, so that its event stays small for models of very many layers.
const MOST_COSTS: usize = 48;

impl Trainer {
    /// The steps of the phase are over.
    pub(super) fn due(&mut self) -> Result<Due> {
        if plan::PhaseEnd::of(&self.state.phase) != Some(plan::PhaseEnd::Decision) {
            return Ok(Due::PhaseOver);
        }
        // The policy answers at once, also what an operator has left open.
        let open = self.state.decision.as_ref();
        let asked =
            self.policy != PolicyMode::Auto && open.is_some_and(|d| d.phase_step >= self.state.due);
        if !asked {
            if self.policy != PolicyMode::Auto && self.state.ended_at != Some(self.state.phase_step)
            {
                self.evaluate()?;
                self.probe()?;
                self.state.ended_at = Some(self.state.phase_step);
                self.keeping().background("end of steps", true);
            }
            let reason = match self.state.phase_step < self.state.steps && self.state.misses() {
                true => DecisionReason::Forecast,
                false => DecisionReason::EndOfSteps,
            };
            let evidence = self.open_decision(reason)?;
            return Ok(match self.policy {
                PolicyMode::Auto => match self.decide_alone(&evidence) {
                    Some(choice) => Due::Choice(choice),
                    None => {
                        match self.held_back(&format!("no decision was taken: {}", evidence.why))? {
                            None => Due::Wait,
                            Some(ended) => Due::End(ended),
                        }
                    }
                },
                PolicyMode::Pause => {
                    self.pause(Pause::Waiting, Some("waiting for a decision".into()));
                    Due::Wait
                }
                PolicyMode::Ask => Due::TrainOn,
            });
        }
        if self.policy == PolicyMode::Ask
            && self.state.phase_step >= self.overrun_end()
            && self.control.paused().is_none()
        {
            self.refresh_decision()?;
            let past = self.state.phase_step - self.state.due;
            let why = format!("{past} steps over budget{DECIDE_OR_TRAIN_ON}");
            self.pause(Pause::Waiting, Some(why));
            return Ok(Due::Wait);
        }
        Ok(Due::TrainOn)
    }

    /// Returns the number of steps for which `ask` continues training after the end of a phase without an answer.
    pub(super) fn overrun(&self) -> u64 {
        match self.config.policy.max_overrun_steps {
            0 => self.state.steps,
            n => n,
        }
    }

    /// Phase step at which `ask` pauses: each time the operator resumes past the end, the overrun is allowed again.
    pub(super) fn overrun_end(&self) -> u64 {
        let from = self.state.due.max(self.state.overrun_from);
        from.saturating_add(self.overrun())
    }

    /// Takes the decision by [`evidence::algorithm_1`]. Where the algorithm takes none, returns `None` and leaves the decision open.
    fn decide_alone(&mut self, evidence: &Evidence) -> Option<Choice> {
        if GapData::of(evidence.gap, evidence.gap_stderr) == GapData::NoError {
            self.warn(format!(
                "{}: the policy counts it as no match",
                evidence.why
            ));
        }
        let choice = evidence::algorithm_1(evidence, self.config.grow.mode)?;
        let text = match choice {
            Choice::Grow { layers, mode } => Command::Grow {
                layers,
                mode: Some(mode),
                decision: None,
            }
            .describe(),
            Choice::Stop => "stop: matched".into(),
            Choice::Limit(outcome) => format!("stop: {outcome}"),
        };
        self.resolve(By::Policy, text);
        Some(choice)
    }

    /// Judges after an evaluation before the end of a round where the round is going. Under `ask` and `pause`, a match, a plateau, and a
    /// forecast that it will not match are each offered once; under `auto` such a forecast ends the round if `policy.forecast` is set.
    pub(super) fn judge_course(&mut self, record: &Evaluation) -> Result<()> {
        let early = self.state.phase_step < self.state.due;
        if self.state.round() == 0 || !early {
            return Ok(());
        }
        let layers = self.learner.shape().n_layer;
        let known = evidence::known(&self.state, &self.config, layers);
        let forecast = known.forecast(Prospect::AsPlanned);
        let judged = self.state.phase_step as f64 > JUDGED_FROM * self.state.due as f64;
        self.state.consecutive_misses = match forecast.verdict {
            Verdict::WillNotMatch if judged => self.state.consecutive_misses + 1,
            _ => 0,
        };
        let misses = self.state.misses();
        if self.policy == PolicyMode::Auto {
            if misses && self.config.policy.forecast {
                self.warn(format!(
                    "the round ends here, {} steps early (policy.forecast): {}",
                    self.state.due - self.state.phase_step,
                    forecast.why
                ));
                self.state.due = self.state.phase_step;
            }
            return Ok(());
        }
        let flat = forecast::plateau(&known.curve, &forecast) == Plateau::Likely;
        let reason = match (record.matched, misses, flat) {
            (true, ..) => DecisionReason::Matched,
            (false, true, _) => DecisionReason::Forecast,
            (false, false, true) => DecisionReason::Plateau,
            _ => return Ok(()),
        };
        if self.state.decision.is_none() && !self.state.offered.contains(&reason) {
            self.state.offered.push(reason);
            self.open_decision(reason)?;
        }
        Ok(())
    }

    /// Gathers evidence at this step and opens a decision (replacing an open one).
    pub(super) fn open_decision(&mut self, reason: DecisionReason) -> Result<Evidence> {
        let record = self.evaluate()?;
        self.probe()?;
        let evidence = self.evidence(&record, reason)?;
        self.state.decisions += 1;
        self.state.decision = Some(Open {
            id: self.state.decisions,
            reason,
            phase_step: self.state.phase_step,
        });
        self.emit(Body::Decision(Decision {
            id: self.state.decisions,
            status: DecisionStatus::Open,
            reason,
            evidence: Some(Box::new(evidence.clone())),
            evidence_step: Some(self.state.step),
            choice: None,
            by: None,
        }));
        Ok(evidence)
    }

    /// Gathers the evidence of the open decision again, if it is of an earlier step: before an operator is asked for an answer.
    pub(super) fn refresh_decision(&mut self) -> Result<()> {
        match self.state.decision {
            Some(open) if open.phase_step != self.state.phase_step => {
                self.open_decision(open.reason).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn evidence(&self, record: &Evaluation, reason: DecisionReason) -> Result<Evidence> {
        let measured = evidence::Measured {
            record,
            layers: self.learner.shape().n_layer,
            parameters: self.learner.shape().parameters(),
            growth: self.growth_cost(self.config.grow.step),
            costs: self.costs(),
        };
        let evidence = evidence::gather(&self.state, &self.config, reason, measured);
        evidence.context("a round has a benchmark")
    }

    /// Returns the costs of a round without a growth and with each growth that there is room for, up to [`MOST_COSTS`] layers.
    fn costs(&self) -> Vec<GrowthCost> {
        let grown = (1..=MOST_COSTS).map_while(|add| {
            let cost = self.growth_cost(add)?;
            (cost.add == add).then_some(cost)
        });
        std::iter::once(self.cost_with(Vec::new()))
            .chain(grown)
            .collect()
    }

    /// Returns the cost of growing by up to `add` layers; `None` when no layer is left.
    fn growth_cost(&self, add: usize) -> Option<GrowthCost> {
        let shape = self.learner.shape();
        let max = plan::max_layers(&self.config, self.reference_layers);
        let room = add.min(max.saturating_sub(shape.n_layer));
        let present = &self.state.source_layers;
        let grown = inherit::grow(
            self.config.grow.source,
            present,
            room,
            self.reference_layers,
        );
        let (_, sources) = inherit::sources(&grown, present);
        (!sources.is_empty()).then(|| self.cost_with(sources))
    }

    /// Returns the cost of a round of the present model with these layers of the reference added.
    fn cost_with(&self, sources: Vec<usize>) -> GrowthCost {
        let shape = self.learner.shape();
        let grown = shape.with_layers(vec![1.0; shape.n_layer + sources.len()]);
        let time = self.learner.passes().time;
        let now = self.tokens_per_second();
        let measured = self.state.measured_speed(grown.n_layer);
        let measured = measured.or_else(|| Some(now).filter(|_| sources.is_empty()));
        let estimated = now * shape.flops_per_token(time) / grown.flops_per_token(time);
        let speed = measured.unwrap_or(estimated);
        let tokens = self.config.train.steps as f64 * self.config.train.batch_tokens as f64;
        GrowthCost {
            add: sources.len(),
            layers: grown.n_layer,
            parameters: grown.parameters(),
            memory_bytes: self.memory_of(&grown).total(),
            tokens_per_second: speed,
            measured: measured.is_some_and(f64::is_finite),
            hours: tokens / speed / 3600.0,
            source_layers: sources,
        }
    }

    /// Returns the memory of a phase that trains a model of this shape here.
    pub(super) fn memory_of(&self, shape: &DecoderConfig) -> Memory {
        let text = self.data.bytes_in_memory();
        Memory::of_phase(self.learner.passes(), shape, true, text)
    }

    /// Returns the memory that is available to the next phase, once the present one's is freed.
    pub(super) fn memory_held(&self) -> Held {
        let (passes, shape) = (self.learner.passes(), self.learner.shape());
        let held = self.learner.holds();
        let teacher = self.learner.teacher().map(Teacher::config);
        let memory = held.map(|trainable| {
            Memory::of_phase(passes, shape, trainable, 0).with_teacher(passes, teacher)
        });
        let ranks = self.learner.peers().ranks().on_host();
        self.machine.held(memory.map_or(0, |m| m.on_gpu), ranks)
    }

    /// Returns why the model cannot grow by `layers`, if it cannot.
    pub(super) fn cannot_grow(&self, layers: usize) -> Option<String> {
        let have = self.learner.shape().n_layer;
        let max = plan::max_layers(&self.config, self.reference_layers);
        if layers == 0 {
            return Some("cannot grow by 0 layers; give at least 1".into());
        }
        let by = match &self.config.inherit.layers {
            LayerChoice::List(_) => Some("by a list"),
            LayerChoice::Measured(..) => Some("by a measure"),
            LayerChoice::Spread(_) => Some("over the whole depth"),
            _ => None,
        };
        let source = self.config.grow.source;
        if let Some(by) = by.filter(|_| !source.copies() && self.growth_cost(1).is_none()) {
            return Some(format!(
                "the layers were picked {by}, so the reference's next layers are undefined; set grow.source to \"copy-middle\" or \"copy-top\" to grow by copies"
            ));
        }
        if source.copies() && layers > have {
            return Some(format!(
                "grow.source = \"{source}\" can copy at most the model's {}",
                table::plural(have, "layer")
            ));
        }
        match self.growth_cost(layers) {
            None => Some(format!(
                "the model already has {}, the maximum (grow.max_layers = {max})",
                table::plural(have, "layer")
            )),
            Some(g) if g.add < layers => Some(format!(
                "the model can grow by at most {} more (grow.max_layers = {max})",
                table::plural(g.add, "layer")
            )),
            Some(g) => {
                let grown = self.learner.shape().with_layers(vec![1.0; g.layers]);
                let what = format!("a model of {}", table::plural(g.layers, "layer"));
                let fits = self.memory_of(&grown).check(&what, &self.memory_held());
                fits.err().map(|error| error.to_string())
            }
        }
    }

    /// Returns why no checkpoint could be written before a growth, if that is known.
    pub(super) fn cannot_checkpoint(&self) -> Option<String> {
        let space = self.keeper.checkpoints().check_space(self.learner.shape());
        let error = space.err()?;
        Some(format!(
            "no checkpoint could be written before the growth: {error}"
        ))
    }

    /// Training speed of this phase; NaN before its first step.
    pub(super) fn tokens_per_second(&self) -> f64 {
        self.state.phase_tokens as f64 / self.state.train_seconds
    }
}
