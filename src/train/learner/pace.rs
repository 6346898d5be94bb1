//! Times of a rank's steps.

use serde::{Deserialize, Serialize};

use crate::dist::Waited;

/// Times of some steps of a rank, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Steps that the times are of.
    pub steps: u64,
    /// Time from the batch to the updated weights.
    pub seconds: f64,
    /// Of these, time in which the rank only waited for others.
    pub wait: f64,
    /// Time from the start of the first sum to the end of the last one.
    pub exchange: f64,
}

impl Pace {
    pub(super) fn add(&mut self, waited: Waited) {
        self.wait += waited.wait.as_secs_f64();
        self.exchange += waited.exchange.as_secs_f64();
    }
}
