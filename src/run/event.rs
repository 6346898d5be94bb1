//! The journal's vocabulary: one [`Event`] a line in `events.jsonl`.
//!
//! Numbers that are not finite are written as `null` beside a `nonfinite` field that says `nan`, `inf` or
//! `-inf`. Kinds this program does not know (a newer writer's) are kept as [`Body::Unknown`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::command::{By, Command, GrowMode};
use super::gpu_stats::GpuStats;

mod evidence;
pub(crate) mod foreign;
mod info;
mod phase;
mod train_line;

pub use evidence::{
    DecisionReason, DecisionStatus, Evidence, Forecast, GrowthCost, PhaseResult, Plateau,
    Suggestion,
};
pub use foreign::object as clean_object;
pub use info::{RunInfo, RunStatus};
pub use phase::{Outcome, Phase, Start};

/// Version of the event format written by this program.
pub const FORMAT_VERSION: u32 = 1;

/// Reads the `null` that a number which is not finite is written as.
pub fn null_is_nan<'de, D: serde::Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
}

/// The kinds of events and what they carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    Run {
        status: RunStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        info: Option<RunInfo>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A phase starts (no `result`) or ends (with its `result`).
    Phase {
        layers: usize,
        parameters: u64,
        /// Steps this phase is planned for.
        steps: u64,
        start: Start,
        /// Reference layer each layer came from; empty for a random start.
        source_layers: Vec<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<PhaseResult>,
    },
    Train {
        /// Mean training loss in nats since the last `train` event.
        loss: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonfinite: Option<String>,
        #[serde(deserialize_with = "null_is_nan")]
        lr: f64,
        /// Global gradient norm before clipping (last step).
        grad_norm: Option<f64>,
        /// Tokens since the run began, over all phases.
        tokens: u64,
        #[serde(deserialize_with = "null_is_nan")]
        tokens_per_second: f64,
    },
    Eval {
        val_loss: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonfinite: Option<String>,
        stderr: Option<f64>,
        windows: usize,
        /// Disjoint blocks that the errors are taken over, where the windows overlap.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocks: Option<usize>,
        gap: Option<f64>,
        gap_stderr: Option<f64>,
        matched: bool,
        #[serde(deserialize_with = "null_is_nan")]
        seconds: f64,
    },
    Probe {
        /// MaxRank per layer: max over heads of the mean k* over windows.
        max_rank: Vec<f64>,
        /// AvgMass per layer: mean over heads of the mean m*.
        avg_mass: Vec<f64>,
        /// Mean k* as `[layer][head]`.
        rank: Vec<Vec<f64>>,
        /// Layers in which every k* is 1, in every head and window.
        lazy_layers: Vec<usize>,
        /// Per layer: 1 - mean cosine similarity of a block's input and output (ShortGPT).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        block_influence: Vec<f64>,
        /// Norms of each layer's W_Q and W_K in the gradient of the step before; none before a phase's first step.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grad_q: Vec<f64>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grad_k: Vec<f64>,
        windows: usize,
        length: usize,
        #[serde(deserialize_with = "null_is_nan")]
        tau: f64,
        #[serde(deserialize_with = "null_is_nan")]
        seconds: f64,
        /// File under `rank/`, relative to the run directory.
        file: String,
    },
    /// The state has been copied and is being written in the background: a resume from it goes on from this event.
    Checkpointing {
        /// Directory under `checkpoints/`.
        name: String,
        reason: String,
    },
    /// A checkpoint is on disk.
    Checkpoint {
        name: String,
        bytes: u64,
        /// From the copy to the last fsync.
        #[serde(deserialize_with = "null_is_nan")]
        seconds: f64,
        val_loss: Option<f64>,
        reason: String,
        /// Reloaded and compared after writing.
        verified: bool,
        /// Number of its `checkpointing` event, and the step it holds; absent in journals of version 0.1, whose
        /// checkpoints hold the state at this very event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of_step: Option<u64>,
    },
    Command {
        id: u64,
        by: By,
        command: Command,
        /// Process that sent it over the control socket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    Answer {
        /// The command's id.
        id: u64,
        applied: bool,
        message: String,
    },
    Decision {
        id: u64,
        status: DecisionStatus,
        reason: DecisionReason,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<Evidence>>,
        /// Step (over all phases) at which the evidence was gathered; absent in journals of earlier versions, which open
        /// decisions at that very step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence_step: Option<u64>,
        /// Once resolved: what was chosen (`grow by 2 (restart)`), and by whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        choice: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<By>,
    },
    Inherit {
        /// Reference layers taken, in order.
        layers: Vec<usize>,
        what: Vec<String>,
        from: String,
    },
    /// A growth is complete: the grown model has been evaluated. Until then its phase can still be rolled back.
    Grow {
        from_layers: usize,
        to_layers: usize,
        /// Reference layers that are new.
        added: Vec<usize>,
        mode: GrowMode,
        /// The round that starts.
        round: u32,
    },
    /// The run goes back to a checkpoint and goes on from it on a new branch; what came after `from_seq` on the
    /// former branch is abandoned, not undone.
    Rollback {
        checkpoint: String,
        from_seq: u64,
        why: String,
    },
    /// The run goes on from a checkpoint: events with `from_seq < seq <` this one's are superseded.
    Resumed {
        from_seq: u64,
        checkpoint: String,
    },
    /// How the GPU is doing.
    Gpu(GpuStats),
    Warning {
        message: String,
    },
    /// Events that were dropped in this place because a queue or the disk was full.
    Gap {
        dropped: u64,
    },
    Log {
        message: String,
    },
    Done {
        /// `None` when the run failed.
        outcome: Option<Outcome>,
        failed: bool,
        message: String,
    },
    /// A kind or version this program does not know, kept as it was.
    #[serde(skip)]
    Unknown(Map<String, Value>),
}

impl Body {
    /// Metric events may be dropped on the way to a slow reader; everything else may not.
    pub fn is_metric(&self) -> bool {
        matches!(self, Self::Train { .. } | Self::Log { .. })
    }

    /// Whether the journal must be on disk before the trainer goes on.
    pub fn is_durable(&self) -> bool {
        matches!(
            self,
            Self::Checkpoint { .. }
                | Self::Decision { .. }
                | Self::Grow { .. }
                | Self::Rollback { .. }
                | Self::Resumed { .. }
                | Self::Done { .. }
        )
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub v: u32,
    /// Never repeats within a run.
    pub seq: u64,
    /// Unix time in milliseconds.
    pub t: i64,
    /// Seconds of run time, monotone over resumes.
    pub elapsed: f64,
    /// Optimizer steps since the run began, over all phases.
    pub step: u64,
    pub phase: Phase,
    pub phase_step: u64,
    /// Rises with a rollback.
    pub branch: u32,
    pub body: Body,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    seq: u64,
    t: i64,
    elapsed: f64,
    step: u64,
    phase: Phase,
    phase_step: u64,
    branch: u32,
}

impl Event {
    /// The event as one line of JSON, without the newline.
    pub fn to_line(&self) -> String {
        serde_json::to_string(&self.to_json()).expect("a JSON value always serialises")
    }

    fn to_json(&self) -> Value {
        let envelope = Envelope {
            v: self.v,
            seq: self.seq,
            t: self.t,
            elapsed: self.elapsed,
            step: self.step,
            phase: self.phase.clone(),
            phase_step: self.phase_step,
            branch: self.branch,
        };
        let mut map = into_map(serde_json::to_value(envelope));
        map.extend(match &self.body {
            Body::Unknown(rest) => rest.clone(),
            body => into_map(serde_json::to_value(body)),
        });
        Value::Object(map)
    }

    /// Reads one line of a journal. Its texts are [clean](crate::text::clean), whoever wrote it.
    ///
    /// # Errors
    /// When the line is not a JSON object with the envelope's fields, or holds numbers or lists that no run has. An
    /// unknown `kind`, or a known one whose fields do not fit (a newer writer's), is no error: it becomes
    /// [`Body::Unknown`].
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        match train_line::read(line) {
            Some(event) => Ok(event),
            None => Self::from_value_of(line),
        }
    }

    /// Reads a line of any kind.
    fn from_value_of(line: &str) -> Result<Self, serde_json::Error> {
        let value = Value::Object(foreign::object(line)?);
        let e = Envelope::deserialize(&value)?;
        let body = Body::deserialize(&value).unwrap_or_else(|_| {
            let Value::Object(mut rest) = value else {
                unreachable!("built from a map above")
            };
            for key in [
                "v",
                "seq",
                "t",
                "elapsed",
                "step",
                "phase",
                "phase_step",
                "branch",
            ] {
                rest.remove(key);
            }
            Body::Unknown(rest)
        });
        let mut event = Self {
            v: e.v,
            seq: e.seq,
            t: e.t,
            elapsed: e.elapsed,
            step: e.step,
            phase: e.phase,
            phase_step: e.phase_step,
            branch: e.branch,
            body,
        };
        foreign::shorten(&mut event);
        foreign::check(&event).map_err(serde::de::Error::custom)?;
        Ok(event)
    }
}

#[cfg(test)]
impl Event {
    /// An event of the reference's phase, at the step of its number.
    pub(crate) fn numbered(seq: u64, body: Body) -> Self {
        Self {
            v: FORMAT_VERSION,
            seq,
            t: 0,
            elapsed: 0.0,
            step: seq,
            phase: Phase::Reference,
            phase_step: seq,
            branch: 0,
            body,
        }
    }
}

fn into_map(value: Result<Value, serde_json::Error>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("structs with string keys serialise to objects"),
    }
}

/// Splits a number into what JSON can hold and the name of what it cannot.
pub fn finite(x: f64) -> (Option<f64>, Option<String>) {
    if x.is_finite() {
        (Some(x), None)
    } else if x.is_nan() {
        (None, Some("nan".into()))
    } else if x > 0.0 {
        (None, Some("inf".into()))
    } else {
        (None, Some("-inf".into()))
    }
}

#[cfg(test)]
mod tests;
