//! Coordinates a screen's process and the process that the shell waits for when the terminal is left.

use std::io;

/// The way in which a screen's process returns to the shell.
#[derive(Debug, Clone, Copy, Default)]
pub enum Job {
    /// The process stops, with its process group.
    #[default]
    Stops,
    /// The process keeps working, and asks the process that the shell waits for to stop.
    WorksOn(fn(Word) -> io::Result<()>),
}

/// Messages to the process that the shell waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The screen was left, so the receiver must stop.
    Left,
    /// The screen is shown again.
    Back,
}
