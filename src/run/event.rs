//! The journal's vocabulary: one [`Event`] a line in `events.jsonl`.
//!
//! Numbers that are not finite are written as `null` beside a `nonfinite` field that says `nan`, `inf` or
//! `-inf`. Kinds this program does not know (a newer writer's) are kept as [`Body::Unknown`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

use super::command::{By, Command, GrowMode};
use super::notify::Ringing;
use super::windows::EvalWindows;
use crate::device::Reading;

pub(crate) mod foreign;
mod train_line;

pub use foreign::object as clean_object;

/// Version of the event format written by this program.
pub const FORMAT_VERSION: u32 = 1;

/// A part of the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Training or measuring the reference model.
    Reference,
    /// Round n of the recipe, from 1.
    Round(u32),
    /// Control: a random start of the final size, same steps.
    ControlRandom,
    /// Control: the reference continued for the same extra steps.
    ControlReference,
    /// A newer program's phase.
    Other(String),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => f.write_str("reference"),
            Self::Round(n) => write!(f, "round-{n}"),
            Self::ControlRandom => f.write_str("control-random"),
            Self::ControlReference => f.write_str("control-reference"),
            Self::Other(s) => f.write_str(s),
        }
    }
}

impl From<&str> for Phase {
    fn from(s: &str) -> Self {
        match s {
            "reference" => Self::Reference,
            "control-random" => Self::ControlRandom,
            "control-reference" => Self::ControlReference,
            _ => match s.strip_prefix("round-").and_then(|n| n.parse().ok()) {
                Some(n) => Self::Round(n),
                None => Self::Other(s.to_string()),
            },
        }
    }
}

impl Serialize for Phase {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(d)?.as_str()))
    }
}

/// What a model started a phase from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    Random,
    Loaded,
    Inherit,
    Restart,
    Keep,
    Reference,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Loaded => "loaded",
            Self::Inherit => "inherit",
            Self::Restart => "restart",
            Self::Keep => "keep",
            Self::Reference => "reference",
        })
    }
}

/// How a recipe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Matched,
    Stopped,
    LimitLayers,
    LimitTokens,
    LimitHours,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matched => "matched",
            Self::Stopped => "stopped",
            Self::LimitLayers => "limit_layers",
            Self::LimitTokens => "limit_tokens",
            Self::LimitHours => "limit_hours",
        })
    }
}

/// Reads the `null` that a number which is not finite is written as.
pub fn null_is_nan<'de, D: serde::Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
}

/// Facts about a run that do not change while it lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// `heirloom 0.1.0`.
    pub program: String,
    /// The run's name: its directory's.
    pub name: String,
    pub host: String,
    pub pid: u32,
    /// `cpu` or `cuda:0`.
    pub device: String,
    pub threads: usize,
    /// `ask`, `pause` or `auto`.
    pub policy: String,
    pub tokenizer: String,
    pub train_tokens: u64,
    pub val_tokens: u64,
    pub n_layer: usize,
    pub n_head: usize,
    pub n_embd: usize,
    pub context_length: usize,
    /// Padded size of the vocabulary.
    pub vocab: usize,
    /// Tokens per optimizer step.
    pub batch_tokens: u64,
    /// Steps of the reference phase (0 when it is loaded).
    pub reference_steps: u64,
    /// Steps of one round (T of Algorithm 1).
    pub round_steps: u64,
    pub grow_step: usize,
    #[serde(default)]
    pub grow_mode: GrowMode,
    pub max_layers: usize,
    /// Rank threshold tau and window length T of the probe.
    pub tau: f64,
    pub probe_length: usize,
    /// Whether each control runs at the end.
    pub control_random: bool,
    pub control_reference: bool,
    /// Validation windows of every evaluation; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_windows: Option<EvalWindows>,
    /// Largest paired gap in nats that counts as a match; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// What the run's dashboards ring their terminal for, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ringing: Option<Ringing>,
}

/// Status told by a `run` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// First line of a journal; carries [`RunInfo`].
    Started,
    Running,
    Paused,
    /// The process ends before the recipe does; the run can be resumed.
    Interrupted,
}

/// A row of the final table, and of `show --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseResult {
    pub layers: usize,
    pub parameters: u64,
    /// Optimizer steps really taken in this phase.
    pub steps: u64,
    /// Tokens trained on in this phase.
    pub tokens: u64,
    /// Mean cross-entropy in nats over the fixed validation windows.
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    /// Standard error of that mean over windows.
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// Mean paired difference to the reference (positive: worse). `None` for the reference.
    pub gap: Option<f64>,
    /// Standard error (ddof 1) of the paired differences.
    pub gap_stderr: Option<f64>,
    /// Training steps only.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    /// With evaluation and probes.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second_wall: f64,
    pub lazy_layers: Vec<usize>,
    /// MaxRank per layer.
    pub max_rank: Vec<f64>,
    pub start: Start,
    pub matched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plateau {
    Likely,
    No,
    InsufficientData,
}

/// A forecast of the validation loss with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// Phase step the forecast is for.
    pub at_phase_step: u64,
}

/// What a growth would cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthCost {
    pub add: usize,
    /// Reference layers that would be inherited (indices from 0).
    pub source_layers: Vec<usize>,
    pub layers: usize,
    pub parameters: u64,
    /// Parameters, gradients, moments and activations.
    pub memory_bytes: u64,
    /// Estimated from the measured speed and the FLOPs per token.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    /// Hours one round of the grown model takes.
    #[serde(deserialize_with = "null_is_nan")]
    pub hours: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suggestion {
    Grow,
    Stop,
    TrainOn,
    /// The validation loss is far above the best of the round: go back to a checkpoint.
    Rollback,
    /// The gap is not finite, or has no standard error.
    InsufficientData,
}

/// Everything a decision rests on, frozen at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub round: u32,
    pub layers: usize,
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub stderr: f64,
    /// The reference's validation loss on the same windows.
    #[serde(deserialize_with = "null_is_nan")]
    pub benchmark: f64,
    pub reference_layers: usize,
    /// Mean paired difference (positive: worse than the reference).
    #[serde(deserialize_with = "null_is_nan")]
    pub gap: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub gap_stderr: f64,
    #[serde(deserialize_with = "null_is_nan")]
    pub tolerance: f64,
    pub matched: bool,
    /// Slope of the validation loss per 1000 steps over the last evaluations, with its standard error.
    pub slope_per_1k: Option<f64>,
    pub slope_stderr: Option<f64>,
    pub plateau: Plateau,
    /// Forecast after `round_steps` more steps without growth; `None`: insufficient data.
    pub forecast: Option<Forecast>,
    /// Forecast with growth; `None` until two growths have been seen.
    pub forecast_grown: Option<Forecast>,
    pub lazy_layers: Vec<usize>,
    pub reference_lazy_layers: Vec<usize>,
    /// Cost of growing by `grow.step`; `None` when no layer is left to inherit.
    pub growth: Option<GrowthCost>,
    /// Cost of a round of the present model (`add` 0) and of each growth there is room for; empty in journals of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<GrowthCost>,
    pub suggestion: Suggestion,
    /// Why, in one sentence.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionStatus {
    Open,
    Resolved,
}

/// Why a decision is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionReason {
    /// The T steps of the round are over.
    EndOfSteps,
    /// The benchmark is matched.
    Matched,
    /// The validation loss no longer falls.
    Plateau,
    /// The operator asked.
    Asked,
}

impl fmt::Display for DecisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfSteps => "end of steps",
            Self::Matched => "benchmark matched",
            Self::Plateau => "plateau",
            Self::Asked => "asked",
        })
    }
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
    Gpu(Reading),
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
