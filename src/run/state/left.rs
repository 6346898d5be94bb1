//! The time at which the operator last left a run.

use serde::{Deserialize, Serialize};

/// The time at which the operator left the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Left {
    pub seq: u64,
    /// Unix time in milliseconds.
    pub t: i64,
    pub step: u64,
    /// Notes that had been made by then.
    pub notes: u64,
}
