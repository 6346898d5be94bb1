//! How parts of a trainer's work end, and what is owed when they do.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::run::command::{GrowMode, Reply};
use crate::run::event::Outcome;

/// How a trainer's work ended.
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
    /// It cannot go on.
    Failed(String),
}

/// What the operator or the policy chose at a decision.
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

/// What a step boundary leads to.
pub(super) enum Boundary {
    /// Train a step; a probe may follow an evaluation after it if there is time.
    Step {
        probe: bool,
    },
    /// The state is another one: look again at what comes next.
    Again,
    Choice(Choice),
    End(Ended),
}

/// What a command leads to.
pub(super) enum Next {
    /// Nothing but what the boundary leads to anyway.
    Boundary,
    /// The state is another one: look again at what comes next.
    Again,
    Choice(Choice),
    End(Ended),
}

/// What the end of a phase's steps leads to.
pub(super) enum Due {
    PhaseOver,
    Choice(Choice),
    /// Paused: look at the boundary again.
    Wait,
    TrainOn,
    End(Ended),
}

/// How the wait for a result to be on disk ended.
pub(super) enum Insisted<T> {
    Done(T),
    /// Given up: this process's part ends.
    End(Ended),
}
