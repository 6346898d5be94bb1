//! Computes which events of a replay have happened by a given time. Reads neither a clock nor a file.

use std::time::{Duration, Instant};

use super::playing::ReplayCommand;
use crate::run::index::{Entry, Landmark};

/// Most seconds a viewer waits for the next event: longer gaps are played faster.
const LONGEST_WAIT: f64 = 3.0;
/// Seconds that a complete run takes at the speed that is chosen for it.
const WHOLE_RUN: f64 = 60.0;
/// Slowest and fastest speeds, in run seconds per second; the next faster speed shows all events at once.
const SPEEDS: (f64, f64) = (0.125, 1e7);
/// A step back while playing skips a landmark that was reached less than this number of seconds ago.
const JUST_MET: f64 = 1.0;

/// The position of a replay. Every call is given the same list of events, in order of time, with at least one event.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Run time, in seconds.
    at: f64,
    /// Run seconds per second; infinite: everything at once.
    speed: f64,
    playing: bool,
    /// Number of events that have happened, at least 1.
    position: usize,
    last: Option<Instant>,
}

impl Clock {
    /// Makes a clock that plays from the first event on.
    pub fn new(events: &[Entry], speed: f64) -> Self {
        let mut clock = Self {
            at: 0.0,
            speed,
            playing: true,
            position: 1,
            last: None,
        };
        clock.go_to_event(events, 1);
        clock
    }

    pub fn at(&self) -> f64 {
        self.at
    }

    pub fn speed(&self) -> f64 {
        self.speed
    }

    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// Returns the number of events that have happened.
    pub fn position(&self) -> usize {
        self.position
    }

    pub fn pause(&mut self) {
        self.playing = false;
    }

    /// Advances the replay to the time `now`. After the last event it stands still.
    pub fn tick(&mut self, events: &[Entry], now: Instant) {
        let before = self.last.replace(now).unwrap_or(now);
        if !self.playing {
            return;
        }
        let mut left = now.saturating_duration_since(before).as_secs_f64();
        while let Some(next) = events.get(self.position) {
            let rate = self.rate(events);
            let takes = (next.elapsed - self.at).max(0.0) / rate;
            if takes > left {
                self.at += left * rate;
                return;
            }
            left -= takes;
            self.at = next.elapsed;
            self.position += 1;
        }
        self.playing = false;
    }

    /// Notes the time without advancing the replay.
    pub fn hold(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Returns the time until the next event; `None` after the last event and while the replay is paused.
    pub fn until_next(&self, events: &[Entry]) -> Option<Duration> {
        let next = events.get(self.position).filter(|_| self.playing)?;
        let seconds = (next.elapsed - self.at).max(0.0) / self.rate(events);
        Some(Duration::from_secs_f64(seconds.min(LONGEST_WAIT)))
    }

    /// Returns the run seconds between the events around the position, if this gap is played faster than the rest.
    pub fn shortened(&self, events: &[Entry]) -> Option<f64> {
        let gap = self.gap(events);
        (gap / LONGEST_WAIT > self.speed).then_some(gap)
    }

    fn gap(&self, events: &[Entry]) -> f64 {
        match events.get(self.position) {
            Some(next) => next.elapsed - events[self.position - 1].elapsed,
            None => 0.0,
        }
    }

    /// Returns the speed at the present position, in run seconds per second.
    fn rate(&self, events: &[Entry]) -> f64 {
        self.speed.max(self.gap(events) / LONGEST_WAIT)
    }

    /// Carries out an operator's command.
    pub fn steer(
        &mut self,
        events: &[Entry],
        landmarks: &[(usize, Landmark)],
        steer: ReplayCommand,
    ) {
        match steer {
            ReplayCommand::PlayPause => {
                if !self.playing && self.position == events.len() {
                    self.go_to_event(events, 1);
                }
                self.playing = !self.playing;
            }
            ReplayCommand::PreviousLandmark => {
                let passed = landmarks.partition_point(|(i, _)| i + 1 < self.position);
                let met = |i: usize| self.at - events[i].elapsed < JUST_MET * self.speed;
                let mut earlier = landmarks[..passed].iter().map(|(i, _)| *i).rev();
                if let Some(i) = earlier.find(|i| !(self.playing && met(*i))) {
                    self.go_to_event(events, i + 1);
                }
            }
            ReplayCommand::NextLandmark => {
                let next = landmarks.partition_point(|(i, _)| *i < self.position);
                if let Some((i, _)) = landmarks.get(next) {
                    self.go_to_event(events, i + 1);
                }
            }
            ReplayCommand::EventBack => {
                self.playing = false;
                self.go_to_event(events, self.position.saturating_sub(1));
            }
            ReplayCommand::EventForward => {
                self.playing = false;
                self.go_to_event(events, self.position + 1);
            }
            ReplayCommand::Slower if self.speed.is_infinite() => {
                let (begin, end) = span(events);
                self.speed = (end - begin).clamp(1.0, SPEEDS.1);
            }
            ReplayCommand::Slower => self.speed = (self.speed / 2.0).max(SPEEDS.0.min(self.speed)),
            ReplayCommand::Faster if self.speed >= SPEEDS.1 => self.speed = f64::INFINITY,
            ReplayCommand::Faster => self.speed = (self.speed * 2.0).min(SPEEDS.1),
            ReplayCommand::ToStart => self.go_to_event(events, 1),
            ReplayCommand::ToEnd => self.go_to_event(events, events.len()),
            ReplayCommand::ToTenth(tenths) => {
                let (begin, end) = span(events);
                self.go_to_time(events, begin + (end - begin) * f64::from(tenths) / 10.0);
            }
        }
    }

    /// Moves to the moment just after event `n`, counted from 1, or to the nearest event.
    pub fn go_to_event(&mut self, events: &[Entry], n: usize) {
        self.position = n.clamp(1, events.len());
        self.at = events[self.position - 1].elapsed;
    }

    /// Moves to a run time, or to the nearest one within the run.
    pub fn go_to_time(&mut self, events: &[Entry], seconds: f64) {
        let (begin, end) = span(events);
        self.at = seconds.clamp(begin, end);
        let happened = events.partition_point(|e| e.elapsed <= self.at);
        self.position = happened.max(1);
    }
}

/// Returns the run times of the first and of the last event.
pub fn span(events: &[Entry]) -> (f64, f64) {
    let end = |event: Option<&Entry>| event.map_or(0.0, |e| e.elapsed);
    (end(events.first()), end(events.last()))
}

/// Returns the speed at which all events take about a minute, with long gaps shortened; at least 1.
pub fn fitting_speed(events: &[Entry]) -> f64 {
    let plays = |speed: f64| -> f64 {
        let gaps = events
            .windows(2)
            .map(|pair| pair[1].elapsed - pair[0].elapsed);
        gaps.map(|gap| (gap / speed).min(LONGEST_WAIT)).sum()
    };
    let (begin, end) = span(events);
    if plays(1.0) <= WHOLE_RUN {
        return 1.0;
    }
    let (mut slow, mut fast) = (1.0, (end - begin) / WHOLE_RUN);
    // Bisects on a logarithmic scale, because speeds differ by orders of magnitude.
    for _ in 0..24 {
        let middle = f64::sqrt(slow * fast);
        if plays(middle) > WHOLE_RUN {
            slow = middle;
        } else {
            fast = middle;
        }
    }
    let fast = if fast < 10.0 {
        (fast * 10.0).ceil() / 10.0
    } else {
        fast.ceil()
    };
    fast.clamp(1.0, SPEEDS.1)
}

#[cfg(test)]
mod tests;
