//! Sources of events and receivers of commands.
//!
//! [`LiveFeed`] follows a trainer in this process, [`AttachFeed`] one in another process of this machine, and [`TailFeed`] a
//! run directory that is only read. The fourth source, a run that is replayed, is in [`replay`](super::replay).

mod attach;
mod line;
mod live;
mod tail;

use anyhow::Result;

use super::replay::{Playing, ReplayCommand};
use super::starting::Start;
use crate::run::command::Command;
use crate::run::notify::Notice;
use crate::run::state::RunState;

pub use attach::AttachFeed;
pub use live::LiveFeed;
pub use tail::TailFeed;

/// Identifies a command that a feed has sent, so that its answer can be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// The answer to a command of this feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub ticket: Ticket,
    pub applied: bool,
    pub message: String,
}

/// A source of a run's events, which may also take commands.
pub trait Feed {
    /// Folds the events since the last call into `state`. Returns false when no more events will come.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn drain(&mut self, state: &mut RunState) -> Result<bool>;
    /// Brings the state up to date before a key is handled, if [`Self::drain`] may lag behind for a moment.
    fn catch_up(&mut self, _state: &mut RunState) {}
    /// Sends a command. The ticket comes back with its answer, in [`Self::answers`].
    ///
    /// # Errors
    /// When the command was not sent; the error is the reason.
    fn send(&mut self, command: Command) -> Result<Ticket, String>;
    /// Returns the answers to this feed's own commands that have come since the last call, each once.
    fn answers(&mut self) -> Vec<Answer> {
        Vec::new()
    }
    /// Whether commands can be sent at all.
    fn read_only(&self) -> bool;
    /// Whether the trainer is in this process, so that leaving the dashboard needs a decision.
    fn owns_run(&self) -> bool {
        false
    }
    /// Whether an operator uses this feed to return to a run that continued without a dashboard.
    fn can_return(&self) -> bool {
        false
    }
    /// Returns who has control of the run, if another client has it.
    fn controller(&self) -> Option<String> {
        None
    }
    /// Whether this feed has control of the run.
    fn has_control(&self) -> bool {
        false
    }
    /// Takes over control. Returns false if this feed cannot.
    fn take_control(&mut self) -> bool {
        false
    }
    /// Returns a message for the operator that is not in any event.
    fn news(&mut self) -> Option<String> {
        None
    }
    /// Returns the notices since the last call for an operator who looks elsewhere. `None` for a feed that only reads.
    fn notices(&mut self) -> Option<Vec<Notice>> {
        None
    }
    /// Whether more of the past is still to be read.
    fn is_behind(&self) -> bool {
        false
    }
    /// The share of the past that has been read, from 0 to 1.
    fn progress(&self) -> f64 {
        1.0
    }
    /// Returns the position of a replay; `None` for a run that is followed as it happens.
    fn playing(&self) -> Option<Playing> {
        None
    }
    /// Returns the start of a run in this process, while it starts.
    fn start(&self) -> Option<&Start> {
        None
    }
    /// Notes that the screen is about to be suspended (false), or is shown again (true).
    fn set_seen(&mut self, _seen: bool) {}
    /// Sends a command to a replay.
    fn steer(&mut self, _: ReplayCommand) {}
}
