//! The kinds of events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::checkpoint::{CheckpointBegun, CheckpointWritten, Resumed, Rollback};
use super::command::{Answer, CommandGiven, Gap, Log, Warning};
use super::decision::Decision;
use super::inherit::Inheritance;
use super::kind::{DropOrder, Kind};
use super::measure::{Evaluation, Probe, TrainMetrics};
use super::phase::{Done, Growth, PhaseEvent, RunEvent};
use super::ranks::RankTimes;
use super::task::{Sample, TaskProgress, TaskResult};
use crate::run::gpu_stats::GpuStats;

/// The kinds of events and what they carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "one event at a time is alive in most places, and lists of events keep other types"
)]
pub enum Body {
    Run(RunEvent),
    Phase(PhaseEvent),
    Train(TrainMetrics),
    Eval(Evaluation),
    Probe(Probe),
    /// Times of the ranks per step.
    Ranks(RankTimes),
    /// Results on a downstream task.
    Task(TaskResult),
    /// Progress of an evaluation on tasks.
    Tasking(TaskProgress),
    /// A text that the model has continued.
    Sample(Sample),
    Checkpointing(CheckpointBegun),
    Checkpoint(CheckpointWritten),
    Command(CommandGiven),
    Answer(Answer),
    Decision(Decision),
    Inherit(Inheritance),
    Grow(Growth),
    Rollback(Rollback),
    Resumed(Resumed),
    /// Readings of the GPU.
    Gpu(GpuStats),
    Warning(Warning),
    Gap(Gap),
    Log(Log),
    Done(Done),
    /// A kind or version this program does not know, kept as it was.
    #[serde(skip)]
    Unknown(Map<String, Value>),
}

/// Evaluates an expression with what a body carries, whichever kind it is of.
macro_rules! each {
    ($body:expr, $carried:ident => $do:expr) => {
        match $body {
            Body::Run($carried) => $do,
            Body::Phase($carried) => $do,
            Body::Train($carried) => $do,
            Body::Eval($carried) => $do,
            Body::Probe($carried) => $do,
            Body::Ranks($carried) => $do,
            Body::Task($carried) => $do,
            Body::Tasking($carried) => $do,
            Body::Sample($carried) => $do,
            Body::Checkpointing($carried) => $do,
            Body::Checkpoint($carried) => $do,
            Body::Command($carried) => $do,
            Body::Answer($carried) => $do,
            Body::Decision($carried) => $do,
            Body::Inherit($carried) => $do,
            Body::Grow($carried) => $do,
            Body::Rollback($carried) => $do,
            Body::Resumed($carried) => $do,
            Body::Gpu($carried) => $do,
            Body::Warning($carried) => $do,
            Body::Gap($carried) => $do,
            Body::Log($carried) => $do,
            Body::Done($carried) => $do,
            Body::Unknown($carried) => $do,
        }
    };
}

impl Body {
    /// Metric events may be dropped on the way to a slow reader; everything else may not.
    pub fn is_metric(&self) -> bool {
        self.dropped() == DropOrder::First
    }

    /// Whether the journal must be on disk before the trainer continues.
    pub fn is_durable(&self) -> bool {
        fn durable<K: Kind>(_: &K) -> bool {
            K::DURABLE
        }
        each!(self, carried => durable(carried))
    }

    /// Returns the order in which a slow reader loses it.
    pub fn dropped(&self) -> DropOrder {
        fn dropped<K: Kind>(_: &K) -> DropOrder {
            K::DROPPED
        }
        each!(self, carried => dropped(carried))
    }

    /// Truncates texts that are too long for a screen.
    pub(super) fn shorten(&mut self) {
        each!(self, carried => carried.shorten());
    }

    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(super) fn check(&self) -> Result<(), String> {
        each!(self, carried => carried.check())
    }
}
