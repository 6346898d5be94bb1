//! A run's state from `series.bin` where there is one, and from the journal for the rest.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::file;
use super::keep::SeriesWriter;
use crate::run::event::Body;
use crate::run::state::RunState;
use crate::run::tail::{Tail, TailItem, settle};

/// The state as `series.bin` tells it, a tail that goes on from there, and a writer for when the tail has read much.
/// An empty state and a tail at the start where there is no file that fits.
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

/// Reads a whole journal, as far as `series.bin` does not spare it, and [settles](settle) what it says.
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

/// How much of journals is read for a list of runs, so that one of them does not keep the others from being shown.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Until then journals are read to their ends; later, only the first [`Self::FREE_BYTES`] of each.
    until: Instant,
    time: Duration,
}

impl Budget {
    /// A journal of this length is read in any case: 60,000 events.
    const FREE_BYTES: u64 = 16 << 20;

    /// For a list that is to be shown within about `time`.
    pub fn of(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            time,
        }
    }

    /// For one run that a command is about.
    pub fn of_one() -> Self {
        Self::of(Duration::from_secs(20))
    }

    /// Whether `read` bytes of a journal are all that is read of it.
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

/// The same for a list of runs: without curves, notes and checkpoints, which lets most of the journal be skimmed.
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

/// Folds the rest of a journal, but for the curves; `None` when something in it calls for what `state` lacks.
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

/// Whether folding it needs what a brief state leaves out.
fn goes_back(item: &TailItem) -> bool {
    match item {
        TailItem::Event(event) => {
            matches!(event.body, Body::Resumed(_) | Body::Rollback(_))
        }
        TailItem::Skipped { .. } => false,
        TailItem::Restarted => true,
    }
}
