//! An event: what it carries, and when and where in the run it happened.

use super::body::Body;
use super::foreign::counted;
use super::phase::Phase;

/// Version of the event format written by this program.
pub const FORMAT_VERSION: u32 = 1;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub v: u32,
    /// Never repeats within a run.
    pub seq: u64,
    /// Unix time in milliseconds.
    pub t: i64,
    /// Seconds of run time, monotone over resumes.
    pub elapsed: f64,
    /// Optimizer steps since the run began, over all phases.
    pub step: u64,
    pub phase: Phase,
    pub phase_step: u64,
    /// Rises with a rollback.
    pub branch: u32,
    pub body: Body,
}

impl Event {
    /// Truncates texts that are too long for a screen.
    pub(super) fn shorten(&mut self) {
        self.phase.shorten();
        self.body.shorten();
    }

    /// Rejects numbers outside the limits of a run: later code adds, multiplies and loops over them.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(super) fn check(&self) -> Result<(), String> {
        counted("seq", self.seq)?;
        counted("step", self.step)?;
        counted("phase_step", self.phase_step)?;
        self.phase.check()?;
        self.body.check()
    }
}

#[cfg(test)]
impl Event {
    /// An event of the reference's phase, at the step of its number.
    pub(crate) fn numbered(seq: u64, body: Body) -> Self {
        Self {
            v: FORMAT_VERSION,
            seq,
            t: 0,
            elapsed: 0.0,
            step: seq,
            phase: Phase::Reference,
            phase_step: seq,
            branch: 0,
            body,
        }
    }
}
