//! The state that a checkpoint must hold besides tensors, so that a resumed run continues bit for bit.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::downstream::Downstream;
use super::live::LiveControls;
pub use super::measured::{AtStep, FinishedPhase};
use super::measured::{evals_of_any_version, probe_of_any_version};
pub use super::task::Task;
use crate::run::baseline::BaselinePhase;
use crate::run::controls::Control;
use crate::run::decisions::Repeat;
use crate::run::event::{
    DecisionReason, Evaluation, Outcome, Phase, PhaseResult, Probe, Start, null_is_nan,
};
use crate::run::schedule::Course;
use crate::run::state::{BaselineResult, ControlResult, RoundResult};

/// Evaluations in a row without a match in sight that end a round, or offer to.
const MISSES: u32 = 3;

/// Stands for the number of a round, in phases with a schedule of their own.
const OWN_SCHEDULE: u32 = u32::MAX;

/// The reference's measurements, which every gap refers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// Mean loss of each validation window.
    #[serde(deserialize_with = "nulls_are_nan")]
    pub losses: Vec<f64>,
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    pub layers: usize,
    pub lazy_layers: Vec<usize>,
}

fn nulls_are_nan<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(d)?;
    Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

/// Whether all counts are zero.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A decision that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub id: u64,
    pub reason: DecisionReason,
    pub phase_step: u64,
}

/// A rate that the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateChange {
    /// 0 for the reference.
    pub round: u32,
    /// From this step of the phase on, the schedule's rates are multiplied by `scale`.
    pub phase_step: u64,
    pub scale: f64,
}

/// A growth that may still be undone, since no evaluation has confirmed it yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingGrowth {
    /// The checkpoint to go back to.
    pub checkpoint: String,
    /// Validation loss before the growth.
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
}

/// A checkpoint on disk that retention knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub name: String,
    /// Never deleted by retention.
    pub milestone: bool,
}

/// The complete state of the trainer, except for tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Number of the journal event that reports this checkpoint.
    pub(crate) seq: u64,
    pub(super) task: Task,
    /// Optimizer steps over all phases.
    pub(super) step: u64,
    pub(super) branch: u32,
    pub(crate) phase: Phase,
    pub(crate) phase_step: u64,
    /// Steps the phase is planned for.
    pub(crate) steps: u64,
    /// Phase step at which the next decision is due.
    pub(super) due: u64,
    pub(crate) start: Start,
    /// Reference layer each layer came from; empty for a random start.
    pub(crate) source_layers: Vec<usize>,
    /// The stream of batches that the phase draws from: 0 for the reference, the round's number otherwise.
    pub(super) stream: u64,
    /// Tokens trained on over all phases.
    pub(super) tokens: u64,
    /// Tokens trained on in the present phase.
    pub(crate) phase_tokens: u64,
    /// Sum and number of step losses since the last `train` event, and the seconds those steps took.
    #[serde(deserialize_with = "null_is_nan")]
    pub(super) loss_sum: f64,
    pub(super) loss_count: u64,
    pub(super) interval_seconds: f64,
    /// Number of these steps whose gradient was clipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) clipped: u64,
    /// Seconds of training steps in this phase, of everything in it, and of budgeted probes.
    pub(super) train_seconds: f64,
    pub(super) wall_seconds: f64,
    pub(super) probe_seconds: f64,
    pub(super) last_probe_seconds: f64,
    /// Evaluations of the present phase.
    #[serde(deserialize_with = "evals_of_any_version")]
    pub(super) evals: Vec<AtStep<Evaluation>>,
    /// The learning rates of the present phase; absent in states of earlier versions.
    #[serde(default)]
    pub(super) course: Course,
    /// The latest probe of the present phase; without any layer where the ranks could not be measured.
    #[serde(deserialize_with = "probe_of_any_version")]
    pub(crate) probe: Option<AtStep<Probe>>,
    /// The finished phases, in their order; absent in states of earlier versions.
    #[serde(default)]
    pub(super) finished: Vec<FinishedPhase>,
    pub(super) consecutive_matches: u32,
    /// Evaluations in a row at which the round was not expected to match.
    #[serde(default)]
    pub(super) consecutive_misses: u32,
    /// Reasons for which a decision has been offered in this round already.
    pub(super) offered: Vec<DecisionReason>,
    pub(super) decision: Option<Open>,
    /// Phase step at which the operator last continued past the end of the round's steps: the overrun that `ask` allows counts from there.
    #[serde(default)]
    pub(super) overrun_from: u64,
    /// Phase step of the last checkpoint made for the end of a round's steps.
    pub(super) ended_at: Option<u64>,
    pub(super) benchmark: Option<Benchmark>,
    pub(super) reference: Option<PhaseResult>,
    pub(super) rounds: Vec<RoundResult>,
    pub(super) controls: Vec<ControlResult>,
    /// Finished phases of baselines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) baselines: Vec<BaselineResult>,
    /// The reference's layers from which the model of the last round was made; empty in states of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) inherited: Vec<usize>,
    pub(super) outcome: Option<Outcome>,
    /// Rates that the operator has set, in all phases.
    #[serde(default)]
    pub(super) rates: Vec<RateChange>,
    /// Values besides rates that operators have set.
    #[serde(default, skip_serializing_if = "LiveControls::is_empty")]
    pub(super) live: LiveControls,
    /// The growth that the present round began with, until an evaluation has confirmed it.
    #[serde(default, rename = "probation")]
    pub(super) pending_growth: Option<PendingGrowth>,
    /// Commands of another run that are still to be repeated, in their order.
    #[serde(default)]
    pub(super) repeat: VecDeque<Repeat>,
    /// Ids given to decisions and commands so far.
    pub(super) decisions: u64,
    pub(super) commands: u64,
    /// The checkpoint that the recipe inherits from.
    pub(super) reference_checkpoint: Option<String>,
    /// Checkpoints on disk, oldest first.
    pub(super) kept: Vec<Kept>,
    /// Best checkpoint of the present target and its validation loss.
    pub(super) best: Option<(String, f64)>,
    /// AdamW's step count of each tensor.
    pub(super) optimizer_steps: Vec<u32>,
    /// Validation windows of every evaluation so far; absent in states of earlier versions.
    #[serde(default)]
    pub(super) eval_windows: Option<usize>,
    /// Fingerprints of the training and validation tokens: other data cannot continue this run.
    pub(super) data: [String; 2],
    /// Tasks and samples that are due; absent where the config asks for none, and in states of earlier versions.
    #[serde(default, skip_serializing_if = "Downstream::is_empty")]
    pub(super) downstream: Downstream,
    /// The config in force, as TOML text by key; empty in checkpoints of version 0.1.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, String>,
}

impl TrainState {
    /// The state before anything has happened.
    pub(super) fn new(data: [String; 2]) -> Self {
        Self {
            seq: 0,
            task: Task::Train,
            step: 0,
            branch: 0,
            phase: Phase::Reference,
            phase_step: 0,
            steps: 0,
            due: 0,
            start: Start::Random,
            source_layers: Vec::new(),
            stream: 0,
            tokens: 0,
            phase_tokens: 0,
            loss_sum: 0.0,
            loss_count: 0,
            interval_seconds: 0.0,
            clipped: 0,
            train_seconds: 0.0,
            wall_seconds: 0.0,
            probe_seconds: 0.0,
            last_probe_seconds: 0.0,
            evals: Vec::new(),
            course: Course::default(),
            probe: None,
            finished: Vec::new(),
            consecutive_matches: 0,
            consecutive_misses: 0,
            offered: Vec::new(),
            decision: None,
            overrun_from: 0,
            ended_at: None,
            benchmark: None,
            reference: None,
            rounds: Vec::new(),
            controls: Vec::new(),
            baselines: Vec::new(),
            inherited: Vec::new(),
            outcome: None,
            rates: Vec::new(),
            live: LiveControls::default(),
            pending_growth: None,
            repeat: VecDeque::new(),
            decisions: 0,
            commands: 0,
            reference_checkpoint: None,
            kept: Vec::new(),
            best: None,
            optimizer_steps: Vec::new(),
            eval_windows: None,
            data,
            downstream: Downstream::default(),
            values: BTreeMap::new(),
        }
    }

    /// Sets everything that belongs to one phase to its beginning.
    pub(super) fn begin_phase(
        &mut self,
        phase: Phase,
        start: Start,
        layers: Vec<usize>,
        steps: u64,
    ) {
        self.task = Task::Train;
        self.phase = phase;
        self.phase_step = 0;
        self.steps = steps;
        self.due = steps;
        self.start = start;
        self.source_layers = layers;
        self.phase_tokens = 0;
        self.loss_sum = 0.0;
        self.loss_count = 0;
        self.interval_seconds = 0.0;
        self.clipped = 0;
        self.train_seconds = 0.0;
        self.wall_seconds = 0.0;
        self.probe_seconds = 0.0;
        self.last_probe_seconds = 0.0;
        self.evals.clear();
        self.course = Course::default();
        self.probe = None;
        self.consecutive_matches = 0;
        self.consecutive_misses = 0;
        self.offered.clear();
        self.decision = None;
        self.overrun_from = 0;
        self.ended_at = None;
        self.pending_growth = None;
        self.downstream = Downstream::default();
        if matches!(self.phase, Phase::Round(_)) {
            self.best = None;
        }
    }

    /// Keeps the evaluations of the present phase, which is over.
    pub(super) fn end_phase(&mut self) {
        self.finished.push(FinishedPhase {
            phase: self.phase.clone(),
            evals: self.evals.clone(),
            start: Some(self.start),
            course: self.course.clone(),
        });
    }

    /// Returns the results of the phases that are over, in the order in which they were trained: the reference, every round,
    /// the controls, the baselines.
    pub fn results(&self) -> Vec<(Phase, &PhaseResult)> {
        let reference = self.reference.iter().map(|r| (Phase::Reference, r));
        let rounds = self.rounds.iter();
        let rounds = rounds.map(|r| (Phase::Round(r.round), &r.result));
        let controls = self.controls.iter().filter_map(|c| {
            let control = Control::of_result(&c.name)?;
            Some((Phase::Control(control), &c.result))
        });
        let baselines = self.baselines.iter().filter_map(|b| {
            let phase = BaselinePhase::new(&b.name, b.part)?;
            Some((Phase::Baseline(phase), &b.result))
        });
        reference
            .chain(rounds)
            .chain(controls)
            .chain(baselines)
            .collect()
    }

    /// Whether enough evaluations in a row expect no match for the round to end.
    pub(super) fn misses(&self) -> bool {
        self.consecutive_misses >= MISSES
    }

    /// The round in progress, 0 outside rounds.
    pub(super) fn round(&self) -> u32 {
        match self.phase {
            Phase::Round(n) => n,
            _ => 0,
        }
    }

    /// Training speed of the last finished phase with so many layers, in tokens per second.
    pub(super) fn measured_speed(&self, layers: usize) -> Option<f64> {
        let rounds = self.rounds.iter().map(|r| &r.result);
        let controls = self.controls.iter().map(|c| &c.result);
        let all = self.reference.iter().chain(rounds).chain(controls);
        let trained = all.filter(|r| r.layers == layers && r.tokens > 0);
        trained.map(|r| r.tokens_per_second).next_back()
    }

    /// Whether the present phase is compared with the rounds.
    pub(super) fn is_control(&self) -> bool {
        !matches!(self.phase, Phase::Reference | Phase::Round(_))
    }

    /// Whether the present phase trains its model: a loaded reference is only measured, unless its phase is extended.
    pub(super) fn trains(&self) -> bool {
        self.steps > 0 || self.due > 0
    }

    /// The latest evaluation, if it was made at the present step.
    pub fn eval_now(&self) -> Option<&AtStep<Evaluation>> {
        self.evals
            .last()
            .filter(|e| e.phase_step == self.phase_step)
    }

    /// Numbers and steps of the rounds that made the final model out of the reference's layers, in order: its last one after a
    /// restart, all since the last restart when rounds kept what was trained.
    pub(super) fn recipe_rounds(&self) -> Vec<(u32, u64)> {
        let mut rounds = Vec::new();
        for r in self.rounds.iter().rev() {
            rounds.push((r.round, r.result.steps));
            if r.result.start != Start::Keep {
                break;
            }
        }
        rounds.reverse();
        rounds
    }

    /// The round whose schedule the present step follows (0 for the reference), and the step of that schedule: a control
    /// goes through the schedules of the rounds that it is compared with, one after the other.
    pub(super) fn schedule_place(&self) -> (u32, u64) {
        let (mut round, mut step) = (self.round(), self.phase_step);
        if self.has_own_schedule() {
            // After all rounds, so that settings that operators changed in them apply.
            return (OWN_SCHEDULE, step);
        }
        if self.is_control() {
            let rounds = self.recipe_rounds();
            for (i, (number, steps)) in rounds.iter().enumerate() {
                round = *number;
                if step < *steps || i + 1 == rounds.len() {
                    break;
                }
                step -= steps;
            }
        }
        (round, step)
    }

    /// Whether the present phase is a baseline whose number of steps differs from that of the rounds, so that it cannot follow
    /// their schedules.
    pub(super) fn has_own_schedule(&self) -> bool {
        let same: u64 = self.recipe_rounds().iter().map(|r| r.1).sum();
        matches!(self.phase, Phase::Baseline(_)) && self.steps != same
    }

    /// Multiplies the rates of the rest of this phase's schedule.
    pub(super) fn scale_rate(&mut self, scale: f64) {
        self.rates.push(RateChange {
            round: self.round(),
            phase_step: self.phase_step,
            scale,
        });
    }

    /// Returns the factor that the operator has put on the schedule at the present step: 1 where nothing was changed.
    pub(super) fn rate_scale(&self) -> f64 {
        let (round, step) = self.schedule_place();
        let mut changes = self.rates.iter().rev();
        let last = changes.find(|c| c.round == round && c.phase_step <= step);
        last.map_or(1.0, |c| c.scale)
    }
}

#[cfg(test)]
mod tests;
