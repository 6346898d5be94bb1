//! Checkpoints, and the ways back to them.

use serde::{Deserialize, Serialize};

use super::foreign::counted;
use super::kind::Kind;
use super::number::null_is_nan;

/// The state has been copied and is being written in the background: a resume from it continues from this event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointBegun {
    /// Directory under `checkpoints/`.
    pub name: String,
    pub reason: String,
}

impl Kind for CheckpointBegun {}

/// A checkpoint is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointWritten {
    pub name: String,
    pub bytes: u64,
    /// Time from the copy to the last fsync.
    #[serde(deserialize_with = "null_is_nan")]
    pub seconds: f64,
    pub val_loss: Option<f64>,
    pub reason: String,
    /// Reloaded and compared after writing.
    pub verified: bool,
    /// Number of its `checkpointing` event, and the step it holds; absent in journals of version 0.1, whose
    /// checkpoints hold the state at this very event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_step: Option<u64>,
    /// Whether retention never deletes it; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<bool>,
}

impl Kind for CheckpointWritten {
    const DURABLE: bool = true;

    fn check(&self) -> Result<(), String> {
        counted("begun", self.begun.unwrap_or(0))?;
        counted("of_step", self.of_step.unwrap_or(0))
    }
}

/// The run returns to a checkpoint and continues from it on a new branch. What came after `from_seq` on the old branch
/// is abandoned, not undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    pub checkpoint: String,
    pub from_seq: u64,
    pub why: String,
    /// As in [`Resumed`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<String>,
}

impl Kind for Rollback {
    const DURABLE: bool = true;
}

/// The run continues from a checkpoint: events with `from_seq < seq <` this one's are superseded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    pub from_seq: u64,
    pub checkpoint: String,
    /// Settings of operators (`clip`) that the config replaces, because its value has been changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<String>,
}

impl Kind for Resumed {
    const DURABLE: bool = true;
}
