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
    /// Move to this number of tenths of the run's time.
    ToTenth(u8),
}

/// The state of a replay for the screen.
#[derive(Debug, Clone)]
pub struct Playing {
    /// Run seconds per second; infinite: everything at once.
    pub speed: f64,
    pub playing: bool,
    /// Run times in seconds: at the position, at the first event, and at the last event.
    pub at: f64,
    pub begin: f64,
    pub end: f64,
    /// Steps since the run began: at the position, and the largest.
    pub step: u64,
    pub last_step: u64,
    /// Number of events that have happened, and of all events.
    pub event: usize,
    pub events: usize,
    /// Run seconds of a wait that is being played faster than the rest.
    pub shortened: Option<f64>,
    /// Whether the run was in progress when the replay began.
    pub growing: bool,
    /// Run times of the landmarks at which a replay can stop.
    pub landmarks: Arc<[(f64, Landmark)]>,
}

/// Formats a speed as `12x`, `0.5x` or `max`.
pub fn speed_words(speed: f64) -> String {
    match speed {
        s if s.is_infinite() => "max".into(),
        s if s < 10.0 => format!("{}x", (s * 1000.0).round() / 1000.0),
        s => format!("{}x", s.round()),
    }
}
