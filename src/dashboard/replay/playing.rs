//! The state of a replay, and the commands that move it.

use std::sync::Arc;

use crate::run::index::Landmark;

/// A command that moves a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayCommand {
    PlayPause,
    PreviousLandmark,
    NextLandmark,
    EventBack,
    EventForward,
    Slower,
    Faster,
    ToStart,
    ToEnd,
    /// To so many tenths of the run's time.
    ToTenth(u8),
}

/// The state of a replay for the screen.
#[derive(Debug, Clone)]
pub struct Playing {
    /// Run seconds a second; infinite: everything at once.
    pub speed: f64,
    pub playing: bool,
    /// Run time now, at the first event and at the last, in seconds.
    pub at: f64,
    pub begin: f64,
    pub end: f64,
    /// Steps since the run began, now and at most.
    pub step: u64,
    pub last_step: u64,
    /// Number of events that have happened, and of all.
    pub event: usize,
    pub events: usize,
    /// A wait of so many run seconds is being played faster than the rest.
    pub shortened: Option<f64>,
    /// The run was being written when the replay began.
    pub growing: bool,
    /// Run times of what is worth stopping at.
    pub landmarks: Arc<[(f64, Landmark)]>,
}

/// `12x`, `0.5x`, `max`.
pub fn speed_words(speed: f64) -> String {
    match speed {
        s if s.is_infinite() => "max".into(),
        s if s < 10.0 => format!("{}x", (s * 1000.0).round() / 1000.0),
        s => format!("{}x", s.round()),
    }
}
