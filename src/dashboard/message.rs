//! What passes between keys, layers, views and the loop around them.

use super::replay::Steer;
use crate::run::command::Command;

/// What a layer or a view is asked to do.
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
}

/// What the loop around has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Send(Command),
    TakeControl,
    /// Move the replay.
    Steer(Steer),
    /// Freeze the display, or let it follow the run again.
    Freeze,
    /// Draw every cell again.
    Redraw,
    /// List the other runs, and read the config.
    LookAround,
    /// Lay this run's losses over the chart; none: no run's.
    Compare(Option<String>),
    Detach,
    /// Close a view that owns nothing, or whose run is over.
    Close,
}
