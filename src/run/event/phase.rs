//! The phases of the recipe: what they start from, their results, and how the recipe ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::foreign::{LONGEST_PHASE, MOST_ROUNDS, counted, cut, layers, most};
use super::info::{RunInfo, RunStatus};
use super::kind::Kind;
use super::number::null_is_nan;
use super::start::Start;
use crate::run::baseline::BaselinePhase;
use crate::run::command::{GrowMode, GrowSource};
use crate::run::controls::Control;

/// A part of the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Training or measuring the reference model.
    Reference,
    /// Round n of the recipe, from 1.
    Round(u32),
    /// A model for comparison, once the rounds are over.
    Control(&'static Control),
    /// A phase of a model for comparison that the config names, once the controls are over.
    Baseline(BaselinePhase),
    /// A newer program's phase.
    Other(String),
}

impl Phase {
    /// Returns whether a model for comparison is trained.
    pub fn is_comparison(&self) -> bool {
        matches!(self, Self::Control(_) | Self::Baseline(_))
    }

    /// Truncates a name that is too long for a screen.
    pub(super) fn shorten(&mut self) {
        if let Self::Other(name) = self {
            cut(name, LONGEST_PHASE);
        }
    }

    /// Rejects a round beyond the limit of a run.
    ///
    /// # Errors
    /// Names the round.
    pub(super) fn check(&self) -> Result<(), String> {
        match *self {
            Self::Round(n) => most("round", n.into(), MOST_ROUNDS),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => f.write_str("reference"),
            Self::Round(n) => write!(f, "round-{n}"),
            Self::Control(control) => f.write_str(control.id),
            Self::Baseline(baseline) => baseline.fmt(f),
            Self::Other(s) => f.write_str(s),
        }
    }
}

impl From<&str> for Phase {
    fn from(s: &str) -> Self {
        match s {
            "reference" => Self::Reference,
            _ => match s.strip_prefix("round-").and_then(|n| n.parse().ok()) {
                Some(n) => Self::Round(n),
                None => match (Control::of_phase(s), BaselinePhase::of_phase(s)) {
                    (Some(control), _) => Self::Control(control),
                    (None, Some(baseline)) => Self::Baseline(baseline),
                    (None, None) => Self::Other(s.to_string()),
                },
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

/// The way in which a recipe ended.
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

/// A row of the final table, and of `show --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseResult {
    pub layers: usize,
    pub parameters: u64,
    /// Optimizer steps actually taken in this phase.
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
    /// Speed of training steps alone.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
    /// Speed including evaluation and probes.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second_wall: f64,
    pub lazy_layers: Vec<usize>,
    /// MaxRank per layer.
    pub max_rank: Vec<f64>,
    pub start: Start,
    pub matched: bool,
}

impl PhaseResult {
    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(in crate::run) fn check(&self) -> Result<(), String> {
        layers("result.layers", self.layers)?;
        layers("result.lazy_layers", self.lazy_layers.len())?;
        layers("result.max_rank", self.max_rank.len())
    }
}

/// The run starts, continues, pauses or is interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    pub status: RunStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<RunInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Kind for RunEvent {
    fn shorten(&mut self) {
        if let Some(info) = &mut self.info {
            info.shorten();
        }
    }

    fn check(&self) -> Result<(), String> {
        self.info.as_ref().map_or(Ok(()), RunInfo::check)
    }
}

/// A phase starts (no `result`) or ends (with its `result`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseEvent {
    pub layers: usize,
    pub parameters: u64,
    /// Steps this phase is planned for.
    pub steps: u64,
    pub start: Start,
    /// Reference layer each layer came from; empty for a random start.
    pub source_layers: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<PhaseResult>,
    /// The learning rate's course, at a start; absent in journals of earlier versions, and of a phase without steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The phases from this one on, at a start; empty in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<Planned>,
}

/// The learning rate over a phase's steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// `cosine`, `linear`, `constant` or `wsd`, as `train.schedule` has it.
    pub kind: String,
    #[serde(deserialize_with = "null_is_nan")]
    pub peak: f64,
    /// The rate at the end, and past it.
    #[serde(deserialize_with = "null_is_nan")]
    pub min: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    pub steps: u64,
}

/// A phase that is to come, as far as the config determines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub phase: Phase,
    pub layers: usize,
    pub steps: u64,
    /// Whether it happens only if the phases before it do not match the reference.
    pub conditional: bool,
}

impl Kind for PhaseEvent {
    fn shorten(&mut self) {
        if let Some(schedule) = &mut self.schedule {
            cut(&mut schedule.kind, LONGEST_PHASE);
        }
        self.planned.iter_mut().for_each(|p| p.phase.shorten());
    }

    fn check(&self) -> Result<(), String> {
        layers("layers", self.layers)?;
        counted("steps", self.steps)?;
        layers("source_layers", self.source_layers.len())?;
        if let Some(schedule) = &self.schedule {
            counted("schedule.warmup", schedule.warmup)?;
            counted("schedule.steps", schedule.steps)?;
        }
        layers("planned", self.planned.len())?;
        for planned in &self.planned {
            planned.phase.check()?;
            layers("planned.layers", planned.layers)?;
            counted("planned.steps", planned.steps)?;
        }
        self.result.as_ref().map_or(Ok(()), PhaseResult::check)
    }
}

/// A growth is complete: the grown model has been evaluated. Until then its phase can still be rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    pub from_layers: usize,
    pub to_layers: usize,
    /// Reference layers that are new, or the origins of the copied layers.
    pub added: Vec<usize>,
    pub mode: GrowMode,
    /// The source of the added layers; omitted for the reference's next layers.
    #[serde(default, skip_serializing_if = "GrowSource::is_next")]
    pub source: GrowSource,
    /// The round that starts.
    pub round: u32,
}

impl Kind for Growth {
    const DURABLE: bool = true;

    fn check(&self) -> Result<(), String> {
        layers("from_layers", self.from_layers)?;
        layers("to_layers", self.to_layers)?;
        layers("added", self.added.len())?;
        most("round", self.round.into(), MOST_ROUNDS)
    }
}

/// The recipe is over, or the run has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// `None` when the run failed.
    pub outcome: Option<Outcome>,
    pub failed: bool,
    pub message: String,
}

impl Kind for Done {
    const DURABLE: bool = true;
}
