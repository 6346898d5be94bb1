//! The models that the recipe's result is compared with: begins controls and baselines, and records their results.

use std::ops::ControlFlow;

use anyhow::{Context, Result, bail};

use super::baselines;
use super::checkpoint::Saved;
use super::outcome::Ended;
use super::plan;
use super::start::Sources;
use super::state::Task;
use super::teacher;
use super::trainer::Trainer;
use crate::config::BaselineConfig;
use crate::model::Files;
use crate::run::baseline::BaselinePhase;
use crate::run::controls::Control;
use crate::run::event::{Phase, PhaseResult, PlannedBaseline};
use crate::run::state::{BaselineResult, ControlResult};

impl Trainer {
    /// Number of layers of the final model; without rounds, of the first round that there would have been.
    pub(super) fn final_layers(&self) -> usize {
        match (self.state.rounds.last(), &self.config.policy.only_baseline) {
            (Some(last), _) => last.result.layers,
            (None, Some(_)) => self.config.inherit.layers.of(self.reference_layers).len(),
            (None, None) => self.learner.shape().n_layer,
        }
    }

    /// Steps of the rounds that made the final model; without rounds, the steps of one round.
    pub(super) fn same_steps(&self) -> u64 {
        match self.state.rounds.is_empty() {
            true => self.config.train.steps,
            false => self.state.recipe_rounds().iter().map(|r| r.1).sum(),
        }
    }

    /// Returns the reference's layers from which the final model was made; without rounds, those that the first round would take.
    /// `None` if a measure of the layers was interrupted.
    fn final_sources(&mut self, reference: &Files) -> Result<Option<Vec<usize>>> {
        if self.state.rounds.is_empty() {
            let choice = self.config.inherit.layers.clone();
            if self.state.inherited.is_empty() {
                let chosen = self.choose_layers(&choice, reference)?;
                self.state.inherited = chosen.map_or(Vec::new(), |(layers, _)| layers);
            }
            let layers = self.state.inherited.clone();
            return Ok((!layers.is_empty()).then_some(layers));
        }
        Ok(Some(match self.state.inherited.is_empty() {
            // A state of an earlier version, whose rounds took the first layers.
            true => (0..self.final_layers()).collect(),
            false => self.state.inherited.clone(),
        }))
    }

    /// Returns the layers that a baseline names, if any.
    fn named_layers(
        &mut self,
        entry: &BaselineConfig,
        reference: &Files,
    ) -> Result<ControlFlow<(), Option<Vec<usize>>>> {
        let Some(choice) = baselines::named(entry) else {
            return Ok(ControlFlow::Continue(None));
        };
        let chosen = self.choose_layers(choice, reference);
        Ok(match chosen.with_context(|| entry.label())? {
            Some((layers, _)) => ControlFlow::Continue(Some(layers)),
            None => ControlFlow::Break(()),
        })
    }

    /// Begins a control, with the steps, batches and learning rates of the final model.
    pub(super) fn control(&mut self, control: &'static Control) -> Result<()> {
        self.keeping().finish();
        let n_layer = control.layers(self.final_layers(), self.reference_layers);
        let start = plan::start_of_control(control, n_layer, &self.config);
        let reference = match start.takes_reference() {
            true => Some(self.reference()?),
            false => None,
        };
        let sources = Sources {
            reference: reference.as_ref(),
            own: None,
        };
        start.apply(&mut self.learner, sources, true)?;
        let steps = self.same_steps();
        self.begin(Phase::Control(control), &start, steps)
    }

    /// Begins a phase of a baseline. `Some` ends this process's part.
    pub(super) fn baseline(&mut self, phase: BaselinePhase) -> Result<Option<Ended>> {
        self.keeping().finish();
        let entry = baselines::entry(&self.config, &phase);
        let entry =
            entry.with_context(|| format!("the config has no baseline {:?}", phase.name()))?;
        let (entry, part) = (entry.clone(), phase.part());
        let reference = self.reference()?;
        let Some(sources) = self.final_sources(&reference)? else {
            return self.interrupted_choice();
        };
        let ControlFlow::Continue(named) = self.named_layers(&entry, &reference)? else {
            return self.interrupted_choice();
        };
        let known = baselines::Known {
            reference: &reference.config,
            sources: &sources,
            what: &self.config.inherit.what,
            named: named.as_deref(),
            seed: self.config.train.seed,
        };
        let start = match baselines::start(&entry, part, known) {
            Ok(start) => start,
            Err(why) => {
                self.leave_out(&entry, &why);
                return Ok(None);
            }
        };
        let shape = baselines::shape(&entry, part, &reference.config, sources.len())?;
        let teacher = self.teacher_shape(&entry.objective, &reference.config)?;
        let (held, passes) = (self.memory_held(), self.learner.passes());
        let memory = self
            .memory_of(&shape)
            .with_teacher(passes, teacher.as_ref());
        if let Err(why) = memory.check(&entry.label(), &held) {
            self.leave_out(&entry, &why);
            return Ok(None);
        }
        let own = match start.takes_own() {
            true => Some(self.part_before(&phase)?),
            false => None,
        };
        let models = Sources {
            reference: Some(&reference),
            own: own.as_ref(),
        };
        start.apply(&mut self.learner, models, true)?;
        self.provide_teacher(&entry.objective)?;
        let same = self.same_steps();
        let planned = baselines::planned(&self.config, self.reference_layers);
        let planned = planned
            .iter()
            .find(|b| b.name == entry.name && b.part == part);
        let steps = planned.map_or(same, |b| b.length.steps(same));
        // Batches of a later part are those that another round would have had.
        let round = self.state.rounds.last().map_or(1, |r| r.round);
        self.state.stream = u64::from(round) + u64::from(part - 1);
        self.begin(Phase::Baseline(phase), &start, steps)?;
        Ok(None)
    }

    /// Restores the model of the present phase after an interrupted measure of the reference's layers, so that a checkpoint
    /// written next holds it.
    fn interrupted_choice(&mut self) -> Result<Option<Ended>> {
        let checkpoints = self.keeper.checkpoints();
        let saved = checkpoints.open_saved(&checkpoints.resolve("latest")?)?;
        saved.load_into(&mut self.learner, saved.state.trains())?;
        self.after_interruption()
    }

    /// Opens the checkpoint at the end of the baseline's previous phase: the latest checkpoint, verified.
    fn part_before(&self, phase: &BaselinePhase) -> Result<Saved> {
        let checkpoints = self.keeper.checkpoints();
        let saved = checkpoints.open_saved(&checkpoints.resolve("latest")?)?;
        match &saved.state.phase {
            Phase::Baseline(before)
                if before.name() == phase.name() && before.part() + 1 == phase.part() =>
            {
                Ok(saved)
            }
            other => bail!(
                "the latest checkpoint is of {other}, and {phase} starts from the phase before it"
            ),
        }
    }

    /// Skips a baseline that cannot be trained, so that the others can be.
    fn leave_out(&mut self, entry: &BaselineConfig, why: &anyhow::Error) {
        self.warn(format!("{why:#}: this baseline is left out"));
        let planned = baselines::planned(&self.config, self.reference_layers);
        let last = planned.iter().rfind(|b| b.name == entry.name);
        let last = last.and_then(|b| BaselinePhase::new(&b.name, b.part));
        let last = last.map(Phase::Baseline);
        self.state.task = match last {
            Some(last) => plan::comparison_after(Some(&last), &self.config, self.reference_layers),
            None => Task::Finish,
        };
    }

    /// The config's baselines, as the journal has them.
    pub(super) fn planned_baselines(&self) -> Vec<PlannedBaseline> {
        let mut all = baselines::planned(&self.config, self.reference_layers);
        for planned in &mut all {
            planned.cost = self.cost_of(planned);
        }
        all
    }

    /// FLOPs of a token of a baseline's training, by those of a model as wide as the reference and as deep as it, without a
    /// teacher; `None` where that is 1.
    fn cost_of(&self, planned: &PlannedBaseline) -> Option<f64> {
        let entry = self
            .config
            .baseline
            .iter()
            .find(|b| b.name == planned.name)?;
        let (reference, last) = (&self.reference_shape, self.final_layers());
        let shape = baselines::shape(entry, planned.part, reference, last).ok()?;
        let time = self.learner.passes().time;
        let teacher = self.teacher_shape(&entry.objective, reference).ok()?;
        let own = shape.flops_per_token(time) + teacher::flops(teacher.as_ref(), 1, time);
        let plain = reference.with_layers(vec![1.0; shape.n_layer]);
        let cost = own / plain.flops_per_token(time);
        ((cost - 1.0).abs() > 1e-9).then_some(cost)
    }

    /// Ends a baseline whose loss is not finite, so that the others can be trained: its result is that of the last finite weights.
    /// `None` if the present phase is not a baseline.
    pub(super) fn give_up_baseline(&mut self, what: &str) -> Option<()> {
        let Phase::Baseline(_) = self.state.phase else {
            return None;
        };
        self.warn(format!(
            "{what}; this baseline ends here, after {} of {} steps",
            self.state.phase_step, self.state.steps
        ));
        self.state.due = self.state.phase_step;
        Some(())
    }

    /// Records the result of a model for comparison. Returns the reason for which its checkpoint is written.
    pub(super) fn keep_comparison(&mut self, phase: &Phase, result: PhaseResult) -> &'static str {
        match phase {
            Phase::Baseline(baseline) => {
                let entry = baselines::entry(&self.config, baseline);
                let objective = entry.map_or_else(|| "ce".into(), |b| b.objective.to_string());
                self.state.baselines.push(BaselineResult {
                    name: baseline.name().into(),
                    part: baseline.part(),
                    objective,
                    result,
                });
                "baseline"
            }
            Phase::Control(control) => {
                self.state.controls.push(ControlResult {
                    name: control.result.into(),
                    result,
                });
                "control"
            }
            // Checkpoints with unknown phases are rejected, and the other phases do not end here.
            Phase::Reference | Phase::Round(_) | Phase::Other(_) => "phase end",
        }
    }
}
