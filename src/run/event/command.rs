//! Commands of operators, answers to them, and the trainer's remarks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::foreign::{counted, layers, most};
use super::kind::{DropOrder, Kind};
use crate::run::command::{By, Command, LONGEST_NOTE, LONGEST_PROMPT, LONGEST_TASK, MOST_TASKS};

/// A command that reached the trainer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandGiven {
    pub id: u64,
    pub by: By,
    pub command: Command,
    /// Process that sent it over the control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

impl Kind for CommandGiven {
    fn check(&self) -> Result<(), String> {
        match &self.command {
            Command::Grow { layers: n, .. } => layers("layers", *n),
            Command::TrainOn { steps, .. }
            | Command::Extend { steps }
            | Command::Cooldown { steps } => counted("steps", *steps),
            Command::Note { text } if text.chars().count() > LONGEST_NOTE => {
                Err(format!("a note of more than {LONGEST_NOTE} characters"))
            }
            Command::EvalTasks { tasks, .. }
                if tasks.len() > MOST_TASKS
                    || tasks.iter().any(|t| t.chars().count() > LONGEST_TASK) =>
            {
                Err(format!(
                    "more than {MOST_TASKS} tasks, or a longer name than tasks have"
                ))
            }
            Command::EvalTasks { limit, .. } => counted("limit", limit.unwrap_or(0)),
            Command::Sample { text } if text.chars().count() > LONGEST_PROMPT => {
                Err(format!("a text of more than {LONGEST_PROMPT} characters"))
            }
            _ => Ok(()),
        }
    }
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The command's id.
    pub id: u64,
    pub applied: bool,
    pub message: String,
    /// The change that a command has made, if it has set a value; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

impl Kind for Answer {}

/// A value that was set in a running training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `lr`, `weight_decay`, `clip`, `beta2`, `mixture N`, `cooldown` or `frozen layers`.
    pub what: String,
    pub old: String,
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, old, new } = self;
        write!(f, "{what} {old} -> {new}")
    }
}

/// A problem that the operator should look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub message: String,
}

impl Kind for Warning {}

/// Events that were dropped here because a queue or the disk was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub dropped: u64,
}

impl Kind for Gap {
    const DROPPED: DropOrder = DropOrder::Gap;

    fn check(&self) -> Result<(), String> {
        // These are added up.
        most("dropped", self.dropped, u32::MAX.into())
    }
}

/// A remark that may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub message: String,
}

impl Kind for Log {
    const DROPPED: DropOrder = DropOrder::First;
}
