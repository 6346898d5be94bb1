//! The arithmetic of a replay: which events have happened by now. It is told the time and reads no file.

use std::time::{Duration, Instant};

use crate::run::index::{Entry, Landmark};

/// Seconds a viewer waits for the next event at most: longer gaps are played faster.
const LONGEST_WAIT: f64 = 3.0;
/// Seconds that a whole run takes at the speed chosen for it.
const WHOLE_RUN: f64 = 60.0;
/// Slowest and fastest speeds, in run seconds a second; beyond the fastest all there is comes at once.
const SPEEDS: (f64, f64) = (0.125, 1e7);
/// Going back while playing reaches past a landmark that was met within so many seconds.
const JUST_MET: f64 = 1.0;

/// What an operator does to a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
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

/// Where a replay stands. Its events are given to every call anew, at least one, in order of time.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Run time, in seconds.
    at: f64,
    /// Run seconds a second; infinite: everything at once.
    speed: f64,
    playing: bool,
    /// How many events have happened: never none.
    position: usize,
    last: Option<Instant>,
}

impl Clock {
    /// Playing from the first event on.
    pub fn new(events: &[Entry], speed: f64) -> Self {
        let mut clock = Self {
            at: 0.0,
            speed,
            playing: true,
            position: 1,
            last: None,
        };
        clock.to_event(events, 1);
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

    /// How many events have happened.
    pub fn position(&self) -> usize {
        self.position
    }

    pub fn pause(&mut self) {
        self.playing = false;
    }

    /// Lets time pass. After the last event the replay stands still.
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

    /// Lets time pass in which nothing happens.
    pub fn hold(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// How long until the next event; `None` when there is none or the replay is paused.
    pub fn until_next(&self, events: &[Entry]) -> Option<Duration> {
        let next = events.get(self.position).filter(|_| self.playing)?;
        let seconds = (next.elapsed - self.at).max(0.0) / self.rate(events);
        Some(Duration::from_secs_f64(seconds.min(LONGEST_WAIT)))
    }

    /// Run seconds between the events around the present, when they are played faster than the rest.
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

    /// Run seconds a second, here.
    fn rate(&self, events: &[Entry]) -> f64 {
        self.speed.max(self.gap(events) / LONGEST_WAIT)
    }

    /// Does what an operator asks.
    pub fn steer(&mut self, events: &[Entry], landmarks: &[(usize, Landmark)], steer: Steer) {
        match steer {
            Steer::PlayPause => {
                if !self.playing && self.position == events.len() {
                    self.to_event(events, 1);
                }
                self.playing = !self.playing;
            }
            Steer::PreviousLandmark => {
                let passed = landmarks.partition_point(|(i, _)| i + 1 < self.position);
                let met = |i: usize| self.at - events[i].elapsed < JUST_MET * self.speed;
                let mut earlier = landmarks[..passed].iter().map(|(i, _)| *i).rev();
                if let Some(i) = earlier.find(|i| !(self.playing && met(*i))) {
                    self.to_event(events, i + 1);
                }
            }
            Steer::NextLandmark => {
                let next = landmarks.partition_point(|(i, _)| *i < self.position);
                if let Some((i, _)) = landmarks.get(next) {
                    self.to_event(events, i + 1);
                }
            }
            Steer::EventBack => {
                self.playing = false;
                self.to_event(events, self.position.saturating_sub(1));
            }
            Steer::EventForward => {
                self.playing = false;
                self.to_event(events, self.position + 1);
            }
            Steer::Slower if self.speed.is_infinite() => {
                let (begin, end) = span(events);
                self.speed = (end - begin).clamp(1.0, SPEEDS.1);
            }
            Steer::Slower => self.speed = (self.speed / 2.0).max(SPEEDS.0.min(self.speed)),
            Steer::Faster if self.speed >= SPEEDS.1 => self.speed = f64::INFINITY,
            Steer::Faster => self.speed = (self.speed * 2.0).min(SPEEDS.1),
            Steer::ToStart => self.to_event(events, 1),
            Steer::ToEnd => self.to_event(events, events.len()),
            Steer::ToTenth(tenths) => {
                let (begin, end) = span(events);
                self.to_time(events, begin + (end - begin) * f64::from(tenths) / 10.0);
            }
        }
    }

    /// To the moment just after event `n`, counted from 1; the nearest there is.
    pub fn to_event(&mut self, events: &[Entry], n: usize) {
        self.position = n.clamp(1, events.len());
        self.at = events[self.position - 1].elapsed;
    }

    /// To a run time; the nearest there is.
    pub fn to_time(&mut self, events: &[Entry], seconds: f64) {
        let (begin, end) = span(events);
        self.at = seconds.clamp(begin, end);
        let happened = events.partition_point(|e| e.elapsed <= self.at);
        self.position = happened.max(1);
    }
}

/// Run time of the first and of the last event.
pub fn span(events: &[Entry]) -> (f64, f64) {
    let end = |event: Option<&Entry>| event.map_or(0.0, |e| e.elapsed);
    (end(events.first()), end(events.last()))
}

/// The speed at which all the events take about a minute, waits shortened; never less than 1.
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
    // Speeds are felt by their ratio.
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

/// `12x`, `0.5x`, `max`.
pub fn speed_words(speed: f64) -> String {
    match speed {
        s if s.is_infinite() => "max".into(),
        s if s < 10.0 => format!("{}x", (s * 1000.0).round() / 1000.0),
        s => format!("{}x", s.round()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(times: &[f64]) -> Vec<Entry> {
        let entry = |&elapsed: &f64| Entry {
            offset: 0,
            elapsed,
            step: 0,
        };
        times.iter().map(entry).collect()
    }

    fn after(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn events_happen_at_their_run_time_times_the_speed() {
        let events = events(&[0.0, 10.0, 10.0, 25.0]);
        let mut clock = Clock::new(&events, 10.0);
        let start = Instant::now();
        clock.tick(&events, start);
        assert_eq!(clock.position(), 1);
        clock.tick(&events, start + after(0.99));
        assert_eq!(clock.position(), 1);
        assert!((clock.at() - 9.9).abs() < 1e-6);
        clock.tick(&events, start + after(1.01));
        assert_eq!(clock.position(), 3, "events of one moment happen together");
        assert_eq!(clock.until_next(&events).map(|d| d.as_millis()), Some(1490));
        clock.tick(&events, start + after(60.0));
        assert_eq!((clock.position(), clock.at()), (4, 25.0));
        assert!(!clock.is_playing(), "the end stands still");
    }

    #[test]
    fn a_long_gap_takes_three_seconds_and_is_told() {
        let events = events(&[0.0, 1.0, 7201.0, 7202.0]);
        let mut clock = Clock::new(&events, 1.0);
        let start = Instant::now();
        clock.tick(&events, start);
        assert_eq!(clock.shortened(&events), None);
        clock.tick(&events, start + after(1.0));
        assert_eq!(clock.shortened(&events), Some(7200.0));
        clock.tick(&events, start + after(2.5));
        assert!((clock.at() - 3601.0).abs() < 1e-6, "half of it");
        clock.tick(&events, start + after(4.1));
        assert_eq!(clock.position(), 3);
        assert!((clock.at() - 7201.1).abs() < 1e-6, "and goes on at speed");
        assert_eq!(clock.shortened(&events), None);
    }

    #[test]
    fn nothing_happens_while_paused_or_held() {
        let events = events(&[0.0, 1.0, 2.0]);
        let mut clock = Clock::new(&events, 1.0);
        let start = Instant::now();
        clock.tick(&events, start);
        clock.steer(&events, &[], Steer::PlayPause);
        clock.tick(&events, start + after(10.0));
        assert_eq!((clock.position(), clock.until_next(&events)), (1, None));
        clock.steer(&events, &[], Steer::PlayPause);
        clock.hold(start + after(20.0));
        clock.tick(&events, start + after(20.5));
        assert_eq!(clock.position(), 1);
        assert!((clock.at() - 0.5).abs() < 1e-6);
    }

    #[test]
    fn at_most_speed_everything_happens_at_once() {
        let events = events(&[0.0, 1.0, 1e9]);
        let mut clock = Clock::new(&events, f64::INFINITY);
        clock.tick(&events, Instant::now());
        assert_eq!((clock.position(), clock.is_playing()), (3, false));
        clock.steer(&events, &[], Steer::Slower);
        assert_eq!(clock.speed(), SPEEDS.1);
        clock.steer(&events, &[], Steer::Faster);
        assert!(clock.speed().is_infinite());
    }

    #[test]
    fn landmarks_events_and_tenths_are_reached_from_anywhere() {
        let times: Vec<f64> = (0..=100).map(f64::from).collect();
        let events = events(&times);
        let marks = [
            (10, Landmark::Phase),
            (11, Landmark::Growth),
            (50, Landmark::Decision),
        ];
        let mut clock = Clock::new(&events, 1.0);
        clock.pause();
        let mut go = |steer| {
            clock.steer(&events, &marks, steer);
            (clock.position(), clock.at())
        };
        assert_eq!(go(Steer::EventBack), (1, 0.0), "nothing before the first");
        assert_eq!(go(Steer::NextLandmark), (11, 10.0));
        assert_eq!(go(Steer::NextLandmark), (12, 11.0));
        assert_eq!(go(Steer::NextLandmark), (51, 50.0));
        assert_eq!(go(Steer::NextLandmark), (51, 50.0), "no later one");
        assert_eq!(go(Steer::PreviousLandmark), (12, 11.0));
        assert_eq!(go(Steer::EventForward), (13, 12.0));
        assert_eq!(go(Steer::PreviousLandmark), (12, 11.0));
        assert_eq!(go(Steer::ToTenth(5)), (51, 50.0));
        assert_eq!(go(Steer::ToEnd), (101, 100.0));
        assert_eq!(go(Steer::EventForward), (101, 100.0));
        assert_eq!(go(Steer::ToStart), (1, 0.0));
        assert_eq!(go(Steer::PreviousLandmark), (1, 0.0));
        go(Steer::ToEnd);
        go(Steer::PlayPause);
        assert_eq!((clock.position(), clock.is_playing()), (1, true), "anew");
    }

    #[test]
    fn going_back_while_playing_does_not_stick_to_the_last_landmark() {
        let times: Vec<f64> = (0..=100).map(f64::from).collect();
        let events = events(&times);
        let marks = [(10, Landmark::Phase), (50, Landmark::Decision)];
        let mut clock = Clock::new(&events, 4.0);
        clock.to_time(&events, 53.0);
        clock.steer(&events, &marks, Steer::PreviousLandmark);
        assert_eq!(clock.at(), 10.0, "the decision was met 0.75 s ago");
        clock.to_time(&events, 55.0);
        clock.steer(&events, &marks, Steer::PreviousLandmark);
        assert_eq!(clock.at(), 50.0);
    }

    #[test]
    fn the_speed_fits_a_run_into_a_minute_without_its_waits() {
        let short: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(fitting_speed(&events(&short)), 1.0);
        let hour: Vec<f64> = (0..=3600).map(f64::from).collect();
        assert_eq!(fitting_speed(&events(&hour)), 60.0);
        // A night of waiting for an answer is three seconds.
        let night = hour.iter().copied().chain([40_000.0]);
        let speed = fitting_speed(&events(&night.collect::<Vec<_>>()));
        assert!((60.0..66.0).contains(&speed), "{speed}");
        assert_eq!(fitting_speed(&events(&[5.0])), 1.0);
    }

    #[test]
    fn speeds_read_well() {
        let said = [0.125, 0.5, 1.0, 7.3, 60.0, f64::INFINITY].map(speed_words);
        assert_eq!(said, ["0.125x", "0.5x", "1x", "7.3x", "60x", "max"]);
    }
}
