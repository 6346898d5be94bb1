//! Where events come from and where commands go: a trainer in this process, or a run directory.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run::command::Request;
use crate::run::event::Event;
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
    fn send(&mut self, request: Request) -> bool;
    /// Whether commands can be sent at all.
    fn read_only(&self) -> bool;
}

/// A trainer in this process.
pub struct LiveFeed {
    events: Receiver<Event>,
    commands: Sender<Request>,
}

impl LiveFeed {
    /// Over the two channels of a trainer.
    pub fn new(events: Receiver<Event>, commands: Sender<Request>) -> Self {
        Self { events, commands }
    }
}

impl Feed for LiveFeed {
    fn drain(&mut self, state: &mut RunState) -> Result<bool> {
        for _ in 0..AT_ONCE {
            match self.events.try_recv() {
                Ok(event) => state.apply(&event),
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn send(&mut self, request: Request) -> bool {
        self.commands.send(request).is_ok()
    }

    fn read_only(&self) -> bool {
        false
    }
}

/// A run directory, written by another process or by none.
pub struct TailFeed {
    dir: PathBuf,
    tail: Tail,
    /// Last look at the journal without being told to, and at its owner.
    looked: Instant,
}

/// How often the journal is looked at without a notification: network file systems send none for remote writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl TailFeed {
    /// Follows the run at `dir`, whether or not it has written anything yet.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.into(),
            tail: Tail::open(dir),
            looked: Instant::now() - LOOK_EVERY,
        }
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
        if overdue || !items.is_empty() {
            self.looked = Instant::now();
            tail::settle(state, &self.dir);
        }
        Ok(true)
    }

    fn send(&mut self, _: Request) -> bool {
        false
    }

    fn read_only(&self) -> bool {
        true
    }
}
