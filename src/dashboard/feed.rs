//! Where events come from and where commands go: a trainer in this process, or a run directory. A third source, a run
//! played again, has [a room of its own](super::replay).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::replay::{Playing, Steer};
use super::starting::Start;
use crate::run::command::{By, Command, Request};
use crate::run::control::hub::{Holder, Hub};
use crate::run::event::Event;
use crate::run::queue::{self, EventReceiver, Nothing};
use crate::run::series::{self, keep::SeriesWriter};
use crate::run::state::RunState;
use crate::run::tail::{self, Tail};

/// Most events folded in before keys are looked at again.
const AT_ONCE: usize = 20_000;

/// A source of events and a drain for commands.
pub trait Feed {
    /// Folds what has come in since the last call. False when nothing more will come.
    ///
    /// # Errors
    /// When the source cannot be read.
    fn drain(&mut self, state: &mut RunState) -> Result<bool>;
    /// Sends a command; false when nobody takes it.
    fn send(&mut self, command: Command) -> bool;
    /// Whether commands can be sent at all.
    fn read_only(&self) -> bool;
    /// Whether the trainer is in this process, so that leaving the dashboard needs a decision.
    fn owns_run(&self) -> bool {
        false
    }
    /// Who has control of the run, when it is somebody else.
    fn controller(&self) -> Option<String> {
        None
    }
    /// Takes the control over; false when this feed cannot.
    fn take_control(&mut self) -> bool {
        false
    }
    /// Something that no event tells of, for the operator.
    fn news(&mut self) -> Option<String> {
        None
    }
    /// Whether more of the past is still to be read.
    fn is_behind(&self) -> bool {
        false
    }
    /// How much of the past has been read, from 0 to 1.
    fn progress(&self) -> f64 {
        1.0
    }
    /// Where a replay stands; `None` for a run that is followed as it happens.
    fn playing(&self) -> Option<Playing> {
        None
    }
    /// The start of a run in this process.
    fn start(&self) -> Option<&Start> {
        None
    }
    /// Moves a replay.
    fn steer(&mut self, _: Steer) {}
}

/// A trainer in this process. Events wait in a [bounded queue](queue) for a terminal that does not take frames.
pub struct LiveFeed {
    events: EventReceiver,
    commands: Sender<Request>,
    hub: Arc<Hub>,
    start: Option<Arc<Start>>,
}

impl LiveFeed {
    /// Shows the start of the run until its trainer is at work.
    pub fn starting(mut self, start: Arc<Start>) -> Self {
        self.start = Some(start);
        self
    }

    /// A feed, and the observer that fills it. The observer never waits. `hub` knows who has control.
    pub fn new(
        commands: Sender<Request>,
        hub: Arc<Hub>,
    ) -> (Self, impl FnMut(&Event) + Send + use<>) {
        let (sender, events) = queue::bounded();
        let feed = Self {
            events,
            commands,
            hub,
            start: None,
        };
        (feed, move |event: &Event| sender.send(event))
    }
}

impl Feed for LiveFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        for _ in 0..AT_ONCE {
            match self.events.poll() {
                Ok(event) => state.apply(&event),
                Err(Nothing::Empty) => return Ok(true),
                Err(Nothing::Ended) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn send(&mut self, command: Command) -> bool {
        let mine = self.hub.may_command(Holder::Dashboard).is_ok();
        let request = Request::new(By::Keyboard, command);
        mine && self.commands.send(request).is_ok()
    }

    fn read_only(&self) -> bool {
        self.controller().is_some()
    }

    fn owns_run(&self) -> bool {
        true
    }

    fn start(&self) -> Option<&Start> {
        self.start.as_deref()
    }

    fn controller(&self) -> Option<String> {
        match self.hub.holder() {
            Holder::Dashboard | Holder::Nobody => None,
            other => other.words(),
        }
    }

    fn take_control(&mut self) -> bool {
        self.hub.take_control(Holder::Dashboard);
        true
    }
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        self.hub.leave(Holder::Dashboard);
    }
}

/// A run directory, written by another process or by none.
pub struct TailFeed {
    dir: PathBuf,
    tail: Tail,
    writer: SeriesWriter,
    /// Last look at the journal without being told to, and at its owner.
    looked: Instant,
}

/// How often the journal is looked at without a notification: network file systems send none for remote writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl TailFeed {
    /// Follows the run at `dir`, whether or not it has written anything yet. The state is what is known before the
    /// feed's first event; [`Feed::drain`] must be given it and no other, since it may be written to `series.bin`.
    pub fn open(dir: &Path) -> (Self, RunState) {
        let (tail, state, writer) = series::open::open(dir);
        let feed = Self {
            dir: dir.into(),
            tail,
            writer,
            looked: Instant::now() - LOOK_EVERY,
        };
        (feed, state)
    }
}

impl Feed for TailFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        let overdue = self.looked.elapsed() >= LOOK_EVERY;
        if !self.tail.wait(Duration::ZERO) && self.tail.caught_up() && !overdue {
            return Ok(true);
        }
        let items = self.tail.poll()?;
        for item in &items {
            item.apply_to(state);
        }
        if self.tail.caught_up() && (overdue || !items.is_empty()) {
            self.looked = Instant::now();
            self.writer.maybe_write(state, &self.tail.position());
            tail::settle(state, &self.dir);
        }
        Ok(true)
    }

    fn send(&mut self, _: Command) -> bool {
        false
    }

    fn is_behind(&self) -> bool {
        !self.tail.caught_up()
    }

    fn progress(&self) -> f64 {
        self.tail.progress()
    }

    fn read_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::attendance::Attendance;
    use crate::run::event::Body;

    #[test]
    fn a_dashboard_that_does_not_look_loses_metrics_alone_and_is_told_how_many() {
        let (commands, _requests) = std::sync::mpsc::channel();
        let hub = Hub::new(Attendance::new(true), RunState::default());
        let (mut feed, mut observer) = LiveFeed::new(commands, hub);
        let log = |i: u64| {
            let message = String::new();
            Event::numbered(i, Body::Log { message })
        };
        let waiting = queue::CAPACITY as u64;
        for i in 0..waiting + 7 {
            observer(&log(i));
        }
        let message = "kept".to_string();
        observer(&Event::numbered(waiting + 7, Body::Warning { message }));
        let mut state = RunState::default();
        assert!(feed.drain(&mut state).unwrap());
        // Seven found no room, and one made room for the warning.
        assert_eq!(state.dropped, 8);
        assert_eq!(state.notes.back().unwrap().text, "kept");
    }
}
