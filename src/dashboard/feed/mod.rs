//! Where events come from and where commands go.
//!
//! [`LiveFeed`] is a trainer in this process, [`AttachFeed`] one in another process of this machine, [`TailFeed`] a run
//! directory that is only read. A run played again is the fourth source, in [`replay`](super::replay).

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

/// Names a command that a feed has sent, so that its answer can be told from the answers to other commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// The answer to a command of this feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub ticket: Ticket,
    pub applied: bool,
    pub message: String,
}

/// A source of events and a drain for commands.
pub trait Feed {
    /// Folds what has come in since the last call. False when nothing more will come.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn drain(&mut self, state: &mut RunState) -> Result<bool>;
    /// Brings the state up to date before a key is judged by it, where [`Self::drain`] may have left it behind for a moment.
    fn catch_up(&mut self, _state: &mut RunState) {}
    /// Sends a command. The ticket comes back with its answer, in [`Self::answers`].
    ///
    /// # Errors
    /// When it was not sent; reports why.
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
    /// Whether an operator comes back by it to a run that continued without a dashboard.
    fn can_return(&self) -> bool {
        false
    }
    /// Who has control of the run, when it is someone else.
    fn controller(&self) -> Option<String> {
        None
    }
    /// Whether this feed has control of the run.
    fn has_control(&self) -> bool {
        false
    }
    /// Takes the control over; false when this feed cannot.
    fn take_control(&mut self) -> bool {
        false
    }
    /// Returns a message for the operator that is not in any event.
    fn news(&mut self) -> Option<String> {
        None
    }
    /// Returns what has happened since the last call that an operator who looks elsewhere should know of. `None` for a feed
    /// that only reads.
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
    /// Where a replay stands; `None` for a run that is followed as it happens.
    fn playing(&self) -> Option<Playing> {
        None
    }
    /// The start of a run in this process.
    fn start(&self) -> Option<&Start> {
        None
    }
    /// Takes note that the screen is about to be left for the shell, or is up again.
    fn set_seen(&mut self, _seen: bool) {}
    /// Moves a replay.
    fn steer(&mut self, _: ReplayCommand) {}
}
