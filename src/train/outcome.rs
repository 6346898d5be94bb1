//! The ways in which parts of a trainer's work end, and the answers that are owed then.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::run::command::{GrowMode, Reply};
use crate::run::event::Outcome;

/// The end of a trainer's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// The recipe is done.
    Done,
    /// Stopped by the operator before a decision; resumable.
    Stopped,
    /// Asked to stop by a signal, or left alone with a question; resumable.
    Preempted,
    /// Asked to stop by a signal while its last state could not be written; resumable from an older one.
    Lost(String),
    /// It cannot continue.
    Failed(String),
}

/// A choice of the operator or the policy at a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Grow {
        layers: usize,
        mode: GrowMode,
    },
    Stop,
    /// A limit of the policy ends the recipe.
    Limit(Outcome),
}

/// An answer that is owed.
pub(super) struct Promise {
    pub(super) id: u64,
    pub(super) reply: Option<Reply>,
    pub(super) began: Instant,
}

/// The consequence of a step boundary.
pub(super) enum Boundary {
    /// Train a step; a probe may follow an evaluation after it if there is time.
    Step {
        probe: bool,
    },
    /// The state has changed: decide again what comes next.
    Again,
    Choice(Choice),
    End(Ended),
}

/// The consequence of a command.
pub(super) enum Next {
    /// Continue at this boundary.
    Boundary,
    /// The state has changed: decide again what comes next.
    Again,
    Choice(Choice),
    End(Ended),
}

/// The consequence of the end of a phase's steps.
pub(super) enum Due {
    PhaseOver,
    Choice(Choice),
    /// Paused: look at the boundary again.
    Wait,
    TrainOn,
    End(Ended),
}

/// The end of the wait for a result to be on disk.
pub(super) enum Insisted<T> {
    Done(T),
    /// Given up: this process's part ends.
    End(Ended),
}
