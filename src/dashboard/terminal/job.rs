//! Lets a screen's process and the process that the shell waits for leave the terminal together.

use std::io;

/// The way in which a screen's process returns to the shell.
#[derive(Debug, Clone, Copy, Default)]
pub enum Job {
    /// It stops, with its process group.
    #[default]
    Stops,
    /// It works on unseen, and asks the process that the shell waits for to stop.
    WorksOn(fn(Word) -> io::Result<()>),
}

/// Messages to the process that the shell waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The screen was left: stop.
    Left,
    /// The screen is up again.
    Back,
}
