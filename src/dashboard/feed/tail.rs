//! Follows a run directory that this process only reads.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Feed, Ticket};
use crate::run::command::Command;
use crate::run::series::{self, keep::SeriesWriter};
use crate::run::state::RunState;
use crate::run::tail::{self, Tail};

/// A feed of a run directory that is only read. Another process may be writing to it.
pub struct TailFeed {
    dir: PathBuf,
    tail: Tail,
    writer: SeriesWriter,
    /// Time of the last check of the journal without a notification from the file system, and of the run's owner.
    looked: Instant,
}

/// Time between two checks of the journal without a notification: network file systems send none for remote writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl TailFeed {
    /// Follows the run at `dir`, which need not have any events yet. Returns the feed, and the run's state before the feed's first
    /// event. [`Feed::drain`] must be given this very state, because it may be written to `series.bin`.
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

    fn send(&mut self, _: Command) -> Result<Ticket, String> {
        Err(
            "this view only reads the run's directory; `heirloom attach` commands a running one"
                .into(),
        )
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
