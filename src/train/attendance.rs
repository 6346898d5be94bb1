//! Whether anybody is there to answer a question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How a dashboard went away while training goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Leave {
    Detached = 2,
    HungUp = 3,
    Failed = 4,
}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// Shared by the trainer and whoever shows it.
#[derive(Debug)]
pub struct Attendance(AtomicU8);

impl Attendance {
    /// With a dashboard, or without one from the start.
    pub fn new(present: bool) -> Arc<Self> {
        let state = if present { PRESENT } else { ABSENT };
        Arc::new(Self(AtomicU8::new(state)))
    }

    /// Whether somebody can answer.
    pub fn is_present(&self) -> bool {
        self.0.load(Ordering::SeqCst) == PRESENT
    }

    /// The dashboard has gone.
    pub fn leave(&self, how: Leave) {
        self.0.store(how as u8, Ordering::SeqCst);
    }

    /// How the dashboard went, in words for the journal; once.
    pub fn farewell(&self) -> Option<&'static str> {
        let state = self.0.load(Ordering::SeqCst);
        if state <= PRESENT {
            return None;
        }
        self.0.store(ABSENT, Ordering::SeqCst);
        Some(match state {
            s if s == Leave::Detached as u8 => "the operator has detached",
            s if s == Leave::HungUp as u8 => "the terminal is gone",
            _ => "the dashboard has failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_told_once() {
        let attendance = Attendance::new(true);
        assert!(attendance.is_present() && attendance.farewell().is_none());
        attendance.leave(Leave::HungUp);
        assert!(!attendance.is_present());
        assert_eq!(attendance.farewell(), Some("the terminal is gone"));
        assert_eq!(attendance.farewell(), None);
    }
}
