//! Replays a run's journal in the dashboard.
//!
//! [`Clock`](clock::Clock) determines which events have happened, and [`Fold`](fold::Fold) moves the state there, forwards or
//! back. The run's directory is only read. Events that are appended to the journal later are not replayed.

mod clock;
mod fold;
mod lines;
mod playing;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::clock::Clock;
use self::fold::Fold;
use super::feed::{Feed, Ticket};
use crate::run::command::Command;
use crate::run::index::{Entry, JournalIndex, Landmark};
use crate::run::lock::RunLock;
use crate::run::show::duration;
use crate::run::state::RunState;

pub use lines::print;
pub use playing::{Playing, ReplayCommand, speed_words};

/// A requested moment of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// Optimizer steps since the run began.
    Step(u64),
    /// Run time.
    Seconds(f64),
}

/// A journal, and the position of its replay.
pub struct Replay {
    index: JournalIndex,
    clock: Clock,
    growing: bool,
}

impl Replay {
    /// Opens the present journal of the run at `dir`, at its first event, playing at `speed` (run seconds per second), or at the speed
    /// at which the run takes about a minute.
    ///
    /// # Errors
    /// When the journal has no event yet, or cannot be read.
    pub fn open(dir: &Path, speed: Option<f64>) -> Result<Self> {
        let path = dir.join("events.jsonl");
        let growing = RunLock::is_live(dir);
        let index = match JournalIndex::open(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            index => Some(index.with_context(|| format!("cannot read {}", path.display()))?),
        };
        match index {
            Some(index) if !index.entries().is_empty() => {
                let events = index.entries();
                let speed = speed.unwrap_or_else(|| clock::fitting_speed(events));
                let clock = Clock::new(events, speed);
                Ok(Self {
                    index,
                    clock,
                    growing,
                })
            }
            _ => bail!(
                "nothing to replay: {} has no events yet; `heirloom watch` waits for them",
                path.display()
            ),
        }
    }

    /// Moves to a moment: the first event that has reached the step, or the run time.
    ///
    /// # Errors
    /// When the run never reached the moment.
    pub fn start_at(&mut self, moment: Moment) -> Result<()> {
        let events = self.index.entries();
        match moment {
            Moment::Step(step) => match events.iter().position(|e| e.step >= step) {
                Some(i) => self.clock.go_to_event(events, i + 1),
                None => bail!("--at {step}: the run's last step is {}", last_step(events)),
            },
            Moment::Seconds(seconds) => {
                let (_, end) = clock::span(events);
                if seconds > end {
                    let (at, end) = (duration(seconds), duration(end));
                    bail!("--at {at}: the run lasted {end}; a number without a unit is a step");
                }
                self.clock.go_to_time(events, seconds);
            }
        }
        Ok(())
    }

    /// Folds the events up to the replay's position. Returns the run's state then.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn state(&self) -> Result<RunState> {
        let (mut state, mut fold) = (RunState::default(), Fold::default());
        while fold.position() < self.clock.position() {
            fold.go(&mut state, &self.index, self.clock.position())
                .with_context(|| format!("cannot read {}", self.index.path().display()))?;
        }
        Ok(state)
    }

    /// Goes to the last event.
    pub fn go_to_end(&mut self) {
        let events = self.index.entries();
        self.clock.go_to_event(events, events.len());
    }

    /// Begins with standing still.
    pub fn pause(&mut self) {
        self.clock.pause();
    }

    /// Whether the run was being written when it was opened.
    pub fn is_growing(&self) -> bool {
        self.growing
    }
}

fn last_step(events: &[Entry]) -> u64 {
    events.iter().map(|e| e.step).max().unwrap_or(0)
}

/// A replay as the dashboard's source of events.
pub struct ReplayFeed {
    replay: Replay,
    fold: Fold,
    last_step: u64,
    landmarks: Arc<[(f64, Landmark)]>,
}

impl ReplayFeed {
    pub fn new(replay: Replay) -> Self {
        let events = replay.index.entries();
        let landmarks = replay.index.landmarks().iter();
        Self {
            last_step: last_step(events),
            landmarks: landmarks.map(|(i, l)| (events[*i].elapsed, *l)).collect(),
            fold: Fold::default(),
            replay,
        }
    }

    fn drain_at(&mut self, state: &mut RunState, now: Instant) -> Result<()> {
        let Replay { index, clock, .. } = &mut self.replay;
        if self.fold.position() == clock.position() {
            clock.tick(index.entries(), now);
        } else {
            // Time stands still until the screen has caught up.
            clock.hold(now);
        }
        let folded = self.fold.go(state, index, clock.position());
        folded.with_context(|| format!("cannot read {}", index.path().display()))
    }
}

impl Feed for ReplayFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        self.drain_at(state, Instant::now())?;
        Ok(true)
    }

    fn send(&mut self, _: Command) -> Result<Ticket, String> {
        Err("a replay takes no commands".into())
    }

    fn read_only(&self) -> bool {
        true
    }

    fn is_behind(&self) -> bool {
        self.fold.position() != self.replay.clock.position()
    }

    fn playing(&self) -> Option<Playing> {
        let Replay {
            index,
            clock,
            growing,
        } = &self.replay;
        let events = index.entries();
        let (begin, end) = clock::span(events);
        // Until the state has caught up, the place is the state's.
        let event = self.fold.position();
        let shown = event.checked_sub(1).map(|i| events[i]);
        let at = if self.is_behind() {
            shown.map_or(begin, |e| e.elapsed)
        } else {
            clock.at()
        };
        Some(Playing {
            speed: clock.speed(),
            playing: clock.is_playing(),
            at,
            begin,
            end,
            step: shown.map_or(0, |e| e.step),
            last_step: self.last_step,
            event,
            events: events.len(),
            shortened: clock.shortened(events).filter(|_| clock.is_playing()),
            growing: *growing,
            landmarks: Arc::clone(&self.landmarks),
        })
    }

    fn set_seen(&mut self, _: bool) {
        // What passed while the process stood still was not played.
        self.replay.clock.hold(Instant::now());
    }

    fn steer(&mut self, steer: ReplayCommand) {
        let Replay { index, clock, .. } = &mut self.replay;
        clock.steer(index.entries(), index.landmarks(), steer);
    }
}

#[cfg(test)]
mod tests;
