//! When `series.bin` is written, and by whom: by the process that trains, and by readers that had to read much of a
//! journal themselves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{file, open};
use crate::run::state::RunState;
use crate::run::tail::{Position, Tail};
use crate::threads;

/// Bytes of journal that are worth a new file, and the part of a long journal that is.
const WORTH: u64 = 1 << 20;
const WORTH_PART: u64 = 16;
/// Bytes of journal that are worth one at the end of a run.
const WORTH_LAST: u64 = 128 << 10;
/// How often a keeper looks at its journal.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Writes `series.bin` when enough of the journal is new. Failures are silent: the file is a convenience, and a
/// directory may be read-only.
#[derive(Debug)]
pub struct SeriesWriter {
    dir: PathBuf,
    /// Place in the journal that the file is known to reach, or that an attempt was made at.
    reached: u64,
}

impl SeriesWriter {
    /// For the run at `dir`, whose `series.bin` reaches byte `reached` of the journal; 0 when there is none.
    pub fn new(dir: &Path, reached: u64) -> Self {
        Self {
            dir: dir.into(),
            reached,
        }
    }

    /// Writes the file when it is worth it. `state` must be the fold over exactly the journal's bytes before
    /// `position`, such as [`Tail::position`] tells once all items of a poll have been applied. Cheap when nothing is
    /// due. True when a file was written.
    pub fn maybe_write(&mut self, state: &RunState, position: &Position) -> bool {
        if position.offset < self.reached {
            // Another journal than before.
            self.reached = 0;
        }
        let worth = WORTH.max(self.reached / WORTH_PART);
        position.offset - self.reached >= worth && self.write(state, position)
    }

    fn write(&mut self, state: &RunState, position: &Position) -> bool {
        // An attempt that fails is not made again at once.
        self.reached = position.offset;
        let theirs = file::offset(&self.dir).filter(|&o| o >= position.offset);
        if theirs.is_some() && file::read_head(&self.dir).is_some() {
            // Another process was faster.
            return false;
        }
        let journal = crate::file::open(&self.dir.join("events.jsonl"));
        if !journal.is_ok_and(|journal| position.fits(&journal)) {
            return false;
        }
        file::encode(state, position).is_some_and(|bytes| file::write(&self.dir, &bytes).is_ok())
    }
}

/// Keeps `series.bin` up to date beside a journal that this process writes: a reader of its own, so that what it
/// writes is always what the file on disk says.
pub struct SeriesKeeper {
    tail: Tail,
    state: RunState,
    writer: SeriesWriter,
}

impl SeriesKeeper {
    /// For the run at `dir`.
    pub fn new(dir: &Path) -> Self {
        let (tail, state, writer) = open::open(dir);
        Self {
            tail,
            state,
            writer,
        }
    }

    /// Folds what is new in the journal and writes the file when it is worth it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn tend(&mut self) -> io::Result<()> {
        loop {
            for item in self.tail.poll()? {
                item.apply_to(&mut self.state);
            }
            self.writer.maybe_write(&self.state, &self.tail.position());
            if self.tail.caught_up() {
                return Ok(());
            }
        }
    }

    /// The same at the end of a run, when less is worth a file.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn finish(mut self) -> io::Result<()> {
        self.tend()?;
        let position = self.tail.position();
        if position.offset.saturating_sub(self.writer.reached) >= WORTH_LAST {
            self.writer.write(&self.state, &position);
        }
        Ok(())
    }

    /// Tends the run at `dir` on a thread of its own until the returned guard is dropped.
    pub fn spawn(dir: &Path) -> Keeping {
        let (stop, stopped) = channel();
        let dir = dir.to_path_buf();
        let work = move || {
            let mut keeper = Self::new(&dir);
            // A journal that cannot be read now may be readable later.
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let _ = keeper.tend();
            }
            let _ = keeper.finish();
        };
        Keeping {
            stop: Some(stop),
            thread: threads::spawn("series", work).ok(),
        }
    }
}

/// Stops its keeper when dropped, after the journal's last event has been taken in.
pub struct Keeping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
