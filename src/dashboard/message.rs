//! Messages between keys, layers, views and the loop around them.

use super::replay::ReplayCommand;
use crate::run::command::Command;

/// An action for a layer or a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Accept,
    Back,
    Next,
    Previous,
    More,
    Less,
    Mode,
    Refresh,
    Complete,
    Older,
    Newer,
    PageDown,
    PageUp,
    Top,
    Bottom,
    NextMatch,
    PreviousMatch,
    Wrap,
    Warnings,
    Watch,
    Copy,
    New,
}

/// An effect for the loop to carry out.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Send(Command),
    TakeControl,
    /// Move the replay.
    ReplayCommand(ReplayCommand),
    /// Freeze the display, or let it follow the run again.
    Freeze,
    /// Draw every cell again.
    Redraw,
    /// Put this text into the terminal's clipboard.
    Copy(String),
    /// Check every file of this checkpoint.
    Verify(String),
    /// Suspend the screen and return the terminal to the shell.
    Suspend,
    /// List the other runs, and read the config.
    LookAround,
    /// Draw this run's losses over the chart; `None` ends a comparison.
    Compare(Option<String>),
    Detach,
    /// Close a view of another process's run, or of a run that is over.
    Close,
}

/// Why a dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The operator leaves; training continues.
    Detach,
    /// The run is over, or is another process's.
    Closed,
    /// The terminal is lost; training continues.
    Hangup,
    /// The operator or a signal has stopped the trainer before the run's end.
    Stopped,
    /// The run's start has failed, or was ended by the operator or a signal, before a trainer has begun.
    NotStarted,
}
