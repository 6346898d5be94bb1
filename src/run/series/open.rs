//! Opens a run's state: from `series.bin` where it exists, and from the journal for the rest.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::file;
use super::keep::SeriesWriter;
use crate::run::event::Body;
use crate::run::state::RunState;
use crate::run::tail::{Tail, TailItem, settle};

/// Returns the state from `series.bin`, a tail that continues from there, and a writer for when the tail has read much.
/// Without a file that fits: an empty state and a tail at the start.
pub fn open(dir: &Path) -> (Tail, RunState, SeriesWriter) {
    match file::read(dir) {
        Some((state, position)) => {
            let writer = SeriesWriter::new(dir, position.offset);
            (Tail::open_at(dir, position), state, writer)
        }
        None => (
            Tail::open(dir),
            RunState::default(),
            SeriesWriter::new(dir, 0),
        ),
    }
}

/// Reads a complete journal, except for the part that `series.bin` covers, and [settles](settle) the state.
///
/// # Errors
/// When the journal is there but cannot be read.
pub fn load(dir: &Path) -> io::Result<RunState> {
    let (mut tail, mut state, mut writer) = open(dir);
    loop {
        for item in tail.poll()? {
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            writer.maybe_write(&state, &tail.position());
            settle(&mut state, dir);
            return Ok(state);
        }
    }
}

/// Limits how much of journals is read for a list of runs, so that one of them does not delay the others.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Until this time journals are read to their ends; later, only the first [`Self::FREE_BYTES`] of each.
    until: Instant,
    time: Duration,
}

impl Budget {
    /// A journal up to this length is read in any case: 60,000 events.
    const FREE_BYTES: u64 = 16 << 20;

    /// The budget for a list that should be shown within about `time`.
    pub fn of(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            time,
        }
    }

    /// The budget for a command about one run.
    pub fn of_one() -> Self {
        Self::of(Duration::from_secs(20))
    }

    /// Fails when no more of a journal may be read after `read` bytes.
    fn check(&self, read: u64) -> io::Result<()> {
        if read <= Self::FREE_BYTES || Instant::now() < self.until {
            return Ok(());
        }
        let why = format!(
            "it is too long to be read within {} s; `heirloom show` reads all of it, after which the list is quick",
            self.time.as_secs_f32()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

/// Like [`load`], for a list of runs: without curves, notes and checkpoints, so that most of the journal can be
/// skimmed.
///
/// # Errors
/// When the journal is there but cannot be read, or not within `budget`.
pub fn brief(dir: &Path, budget: &Budget) -> io::Result<RunState> {
    if let Some((state, position)) = file::read_head(dir)
        && let Some(state) = skim(dir, Tail::open_at(dir, position), state, budget, goes_back)?
    {
        return Ok(state);
    }
    let whole = skim(dir, Tail::open(dir), RunState::default(), budget, |_| false)?;
    Ok(whole.unwrap_or_default())
}

/// Folds the rest of a journal without the curves; `None` when an event needs a part that `state` lacks.
fn skim(
    dir: &Path,
    tail: Tail,
    mut state: RunState,
    budget: &Budget,
    lacks: impl Fn(&TailItem) -> bool,
) -> io::Result<Option<RunState>> {
    let mut tail = tail.skimming();
    let from = tail.position().offset;
    loop {
        budget.check(tail.position().offset.saturating_sub(from))?;
        for item in tail.poll()? {
            if lacks(&item) {
                return Ok(None);
            }
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            settle(&mut state, dir);
            return Ok(Some(state.without_past()));
        }
    }
}

/// Whether folding it needs a part that a brief state lacks.
fn goes_back(item: &TailItem) -> bool {
    match item {
        TailItem::Event(event) => {
            matches!(event.body, Body::Resumed(_) | Body::Rollback(_))
        }
        TailItem::Skipped { .. } => false,
        TailItem::Restarted => true,
    }
}
