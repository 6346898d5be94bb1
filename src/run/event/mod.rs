//! The journal's vocabulary: one [`Event`] a line in `events.jsonl`.
//!
//! Numbers that are not finite are written as `null` next to a `nonfinite` field with the value `nan`, `inf` or `-inf`. Kinds this program
//! does not know (a newer writer's) are kept as [`Body::Unknown`].
//!
//! Each kind is a struct with its properties next to it ([`kind::Kind`]): whether the journal is flushed for it, whether a slow reader may
//! lose it, and how much of it is accepted from outside.

mod baseline;
mod body;
mod checkpoint;
mod command;
mod decision;
mod envelope;
mod forecast;
pub(crate) mod foreign;
mod info;
mod inherit;
mod kind;
mod line;
mod measure;
mod number;
mod phase;
mod ranks;
mod start;
mod task;
mod train_line;

pub use baseline::{Depth, Length, PlannedBaseline};
pub use body::Body;
pub use checkpoint::{CheckpointBegun, CheckpointWritten, Resumed, Rollback};
pub use command::{Answer, Change, CommandGiven, Gap, Log, Warning};
pub use decision::{
    Decision, DecisionReason, DecisionStatus, Evidence, GrowthCost, LineForecast, Plateau,
    Suggestion,
};
pub use envelope::{Event, FORMAT_VERSION};
pub use forecast::{Forecast, Interval, Prospect, Verdict};
pub use foreign::object as clean_object;
pub use info::{PlannedTasks, RunInfo, RunStatus, dtype_words};
pub use inherit::{Inheritance, LayerMeasure};
pub use kind::DropOrder;
pub use measure::{Evaluation, Probe, TrainMetrics};
pub use number::{NonFinite, finite, null_is_nan};
pub use phase::{
    Done, Growth, Outcome, Phase, PhaseEvent, PhaseResult, Planned, RunEvent, Schedule,
};
pub use ranks::{RankLayout, RankSeconds, RankTimes, time_words};
pub use start::Start;
pub(in crate::run) use task::LONGEST_TEXT;
pub use task::{Sample, TaskMetric, TaskProgress, TaskResult};

#[cfg(test)]
mod tests;
