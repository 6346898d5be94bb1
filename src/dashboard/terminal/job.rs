//! How a screen's process and the process that the shell waits for leave the terminal together.

use std::io;

/// How a screen's process lets the shell go on.
#[derive(Debug, Clone, Copy, Default)]
pub enum Job {
    /// It stops, with its process group.
    #[default]
    Stops,
    /// It works on unseen, and asks the process that the shell waits for to stop.
    WorksOn(fn(Word) -> io::Result<()>),
}

/// What the process that the shell waits for must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The screen was left: stop.
    Left,
    /// The screen is up again.
    Back,
}
