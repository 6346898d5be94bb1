//! What a run's state is made of.

use serde::{Deserialize, Serialize};

use crate::run::GpuStats;
use crate::run::event::{
    Change, DecisionReason, Evidence, Outcome, Phase, PhaseResult, Start, null_is_nan,
};
/// A number that may be NaN as an option, in formats that know no NaN and in those that tell types apart.
mod nan_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
        (!value.is_nan()).then_some(value).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
    }
}

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

/// What the present phase trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseNow {
    pub phase: Phase,
    /// Global step at which the phase began.
    pub began_at: u64,
    pub layers: usize,
    pub parameters: u64,
    /// Steps planned.
    pub steps: u64,
    /// Step of the phase at which it ends or its next decision is due: what is planned, or what `extend` and `train-on`
    /// made of it.
    pub due: u64,
    pub start: Start,
    pub source_layers: Vec<usize>,
    /// How many of the layers, counted from the top, are new since the round before.
    pub added: usize,
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

    /// Its evidence's step, and its age where there is one: `evidence of step 300, 100 steps old`.
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

/// The part of the state that a resume or a rollback puts back to what it was at a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Core {
    pub status: Status,
    pub step: u64,
    pub phase_step: u64,
    pub phase: Option<PhaseNow>,
    pub reference: Option<PhaseResult>,
    pub rounds: Vec<RoundResult>,
    pub controls: Vec<ControlResult>,
    pub decision: Option<OpenDecision>,
    /// The last decision that was offered, open or not: what was known then stays to be read.
    #[serde(default)]
    pub last_decision: Option<OpenDecision>,
    /// A command that moves the phase's end, until it is answered.
    #[serde(default)]
    pub moved: Option<Moved>,
    /// A command that sets the learning rate and the rate, until it is answered.
    #[serde(default)]
    pub new_rate: Option<(u64, f64)>,
    /// What operators have set and is not what it was before: `old` is the value before any command. Oldest first.
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
    /// How the GPU was doing when it was last asked.
    #[serde(default)]
    pub gpu: Option<GpuStats>,
    /// The latest evaluation, and its windows.
    pub eval: Option<EvalPoint>,
    #[serde(default)]
    pub eval_windows: usize,
    /// The closing message of a `done` event.
    pub message: String,
    /// Why the run is paused, where the trainer gave a reason.
    #[serde(default)]
    pub pause: Option<String>,
    /// The step of the last training event whose loss or gradient was not finite, until one is finite again.
    #[serde(default)]
    pub not_finite: Option<u64>,
    /// Since which step the last checkpoint or the journal could not be written and why, until it could.
    #[serde(default)]
    pub unwritten: Option<(u64, String)>,
}

/// An evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalPoint {
    pub seq: u64,
    pub step: u64,
    pub tokens: u64,
    pub elapsed: f64,
    /// NaN where the loss was not finite.
    #[serde(with = "nan_is_none")]
    pub val_loss: f64,
    #[serde(with = "nan_is_none")]
    pub stderr: f64,
    pub gap: Option<f64>,
    pub gap_stderr: Option<f64>,
    pub matched: bool,
}

/// A probe of the attention ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbePoint {
    pub seq: u64,
    pub step: u64,
    pub phase: Phase,
    pub max_rank: Vec<f64>,
    pub avg_mass: Vec<f64>,
    pub rank: Vec<Vec<f64>>,
    pub lazy_layers: Vec<usize>,
    pub block_influence: Vec<f64>,
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
    /// What a command has set: `clip 0.5`.
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
    /// A command that was not obeyed: news for whoever gave it, and nothing to look into later.
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
