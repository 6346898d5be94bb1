//! The parts of a run's state.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::run::GpuStats;
use crate::run::baseline::short;
use crate::run::event::{
    Change, DecisionReason, Evaluation, Evidence, LayerMeasure, Outcome, Phase, PhaseResult, Probe,
    Start, TaskProgress, null_is_nan,
};
use crate::run::schedule::Course;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No event has been seen yet.
    #[default]
    Empty,
    Running,
    Paused,
    /// Not finished, and no process works on it.
    Interrupted,
    Done,
    Failed,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
            Self::Failed => "failed",
        })
    }
}

/// A finished round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundResult {
    pub round: u32,
    #[serde(flatten)]
    pub result: PhaseResult,
}

/// A finished control: `random` or `reference_continued`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlResult {
    pub name: String,
    #[serde(flatten)]
    pub result: PhaseResult,
}

/// A finished phase of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineResult {
    pub name: String,
    /// Number of the phase; absent for the first.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub part: u32,
    pub objective: String,
    #[serde(flatten)]
    pub result: PhaseResult,
}

fn first() -> u32 {
    1
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_first(part: &u32) -> bool {
    *part == 1
}

impl BaselineResult {
    /// Returns its name in tables: `stacking`, `stacking.2`.
    pub fn short(&self) -> String {
        short(&self.name, self.part)
    }
}

/// The model that the present phase trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseNow {
    pub phase: Phase,
    /// Global step at which the phase began.
    pub began_at: u64,
    pub layers: usize,
    pub parameters: u64,
    /// Steps planned.
    pub steps: u64,
    /// Step of the phase at which it ends or its next decision is due: the planned step, unless `extend` or `train-on`
    /// has moved it.
    pub due: u64,
    pub start: Start,
    pub source_layers: Vec<usize>,
    /// Number of layers, counted from the top, that are new since the previous round.
    pub added: usize,
    /// Number of the event with which it began.
    #[serde(default)]
    pub began_seq: u64,
    /// Its learning rates.
    #[serde(default)]
    pub course: Course,
}

/// A decision waiting for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenDecision {
    pub id: u64,
    pub reason: DecisionReason,
    /// Step at which the evidence was frozen.
    pub step: u64,
    pub phase_step: u64,
    pub evidence: Evidence,
}

impl OpenDecision {
    /// Steps since its evidence was gathered, for a run at step `now` (over all phases).
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.step)
    }

    /// Describes the step of its evidence, and the age if it has one: `evidence of step 300, 100 steps old`.
    pub fn evidence_words(&self, now: u64) -> String {
        match self.age(now) {
            0 => format!("evidence of step {}", self.step),
            1 => format!("evidence of step {}, 1 step old", self.step),
            age => format!("evidence of step {}, {age} steps old", self.step),
        }
    }
}

/// A command that moves a phase's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The command's id.
    pub id: u64,
    /// The step of the phase at which it would end.
    pub due: u64,
}

/// A checkpoint that has been written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointNote {
    pub seq: u64,
    pub name: String,
    pub step: u64,
    /// When it was complete, Unix time in milliseconds.
    pub t: i64,
    pub bytes: u64,
    /// Why it was written.
    pub reason: String,
    pub val_loss: Option<f64>,
}

/// The part of the state that a resume or a rollback restores from a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Core {
    pub status: Status,
    pub step: u64,
    pub phase_step: u64,
    pub phase: Option<PhaseNow>,
    pub reference: Option<PhaseResult>,
    /// The measure that chose the inherited layers, if the reference was measured.
    #[serde(default)]
    pub chosen_by: Option<LayerMeasure>,
    pub rounds: Vec<RoundResult>,
    pub controls: Vec<ControlResult>,
    /// Finished phases of baselines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<BaselineResult>,
    pub decision: Option<OpenDecision>,
    /// The last decision that was offered, open or not: its evidence stays readable.
    #[serde(default)]
    pub last_decision: Option<OpenDecision>,
    /// A command that moves the phase's end, until it is answered.
    #[serde(default)]
    pub moved: Option<Moved>,
    /// A command that sets the learning rate and the rate, until it is answered.
    #[serde(default)]
    pub new_rate: Option<(u64, f64)>,
    /// The values that operators have changed: `old` is the value before any command. Oldest first.
    #[serde(default)]
    pub changes: Vec<Change>,
    pub outcome: Option<Outcome>,
    /// Tokens trained on so far, over all phases.
    pub tokens: u64,
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub lr: f64,
    pub grad_norm: Option<f64>,
    /// The GPU's latest readings.
    #[serde(default)]
    pub gpu: Option<GpuStats>,
    /// The latest evaluation.
    pub eval: Option<EvalPoint>,
    /// The closing message of a `done` event.
    pub message: String,
    /// Why the run is paused, where the trainer gave a reason.
    #[serde(default)]
    pub pause: Option<String>,
    /// The step of the last training event with a loss or gradient that was not finite, until both are finite again.
    #[serde(default)]
    pub not_finite: Option<u64>,
    /// Since which step the last checkpoint or the journal could not be written and why, until it could.
    #[serde(default)]
    pub unwritten: Option<(u64, String)>,
    /// Progress of an evaluation on tasks, while training waits for it.
    #[serde(default)]
    pub tasking: Option<TaskProgress>,
}

/// An evaluation, and where in the run it was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalPoint {
    pub seq: u64,
    pub step: u64,
    pub tokens: u64,
    pub elapsed: f64,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

impl Deref for EvalPoint {
    type Target = Evaluation;

    fn deref(&self) -> &Evaluation {
        &self.evaluation
    }
}

/// A probe of the attention ranks, and where in the run it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbePoint {
    pub seq: u64,
    pub step: u64,
    pub phase: Phase,
    #[serde(flatten)]
    pub probe: Probe,
}

impl Deref for ProbePoint {
    type Target = Probe;

    fn deref(&self) -> &Probe {
        &self.probe
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkKind {
    /// A phase other than a growth begins.
    Phase(Phase),
    /// Layers before and after.
    Growth(usize, usize),
    Checkpoint,
    Resumed,
    /// The run went back to this step.
    Rollback,
    /// A remark of the operator's.
    Note(String),
    /// A value that a command has set: `clip 0.5`.
    Change(String),
}

/// Something to mark on the step axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub seq: u64,
    pub step: u64,
    pub kind: MarkKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    Info,
    Good,
    Warning,
    /// A command that was refused: news for the sender, but not for later readers.
    Refused,
}

/// A line of the event strip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub t: i64,
    pub step: u64,
    pub level: Level,
    pub text: String,
}
