//! Messages between keys, layers, views and the loop around them.

use super::replay::ReplayCommand;
use crate::run::command::Command;

/// An action that a layer or a view is asked to take.
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
    /// Leave the screen and let the shell have its prompt.
    Suspend,
    /// List the other runs, and read the config.
    LookAround,
    /// Lay this run's losses over the chart; none: no run's.
    Compare(Option<String>),
    Detach,
    /// Close a view that owns nothing, or whose run is over.
    Close,
}

/// Why a dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The operator leaves; training continues.
    Detach,
    /// The run is over, or the view owns nothing.
    Closed,
    /// The terminal is gone; training continues.
    Hangup,
    /// The trainer has stopped before the run's end: it was asked to, by the operator or by a signal.
    Stopped,
    /// The run's start has failed, or was ended by the operator or a signal; no trainer has been at work.
    NotStarted,
}
