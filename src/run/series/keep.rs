//! Decides when `series.bin` is written: by the process that trains, and by readers that had to read much of a journal
//! themselves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{file, open};
use crate::run::shared::{Digest, SharedRun, Snapshot};
use crate::run::state::RunState;
use crate::run::tail::{Position, Tail, TailItem};
use crate::threads;

/// Bytes of journal that justify a new file, and the fraction of a long journal that does.
const WORTH: u64 = 1 << 20;
const WORTH_PART: u64 = 16;
/// Bytes of journal that justify a file at the end of a run.
const WORTH_LAST: u64 = 128 << 10;
/// Interval between a keeper's checks of its journal.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for the last events of a run to be folded.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes `series.bin` when enough of the journal is new. Failures are silent: the file is a convenience, and a
/// directory may be read-only.
#[derive(Debug)]
pub struct SeriesWriter {
    dir: PathBuf,
    /// Position in the journal that the file is known to reach, or for which writing was last attempted.
    reached: u64,
}

impl SeriesWriter {
    /// Starts for the run at `dir`, whose `series.bin` reaches byte `reached` of the journal; 0 without a file.
    pub fn new(dir: &Path, reached: u64) -> Self {
        Self {
            dir: dir.into(),
            reached,
        }
    }

    /// Writes the file when it is worth it. `state` must be the fold over exactly the journal's bytes before
    /// `position`, which [`Tail::position`] returns once all items of a poll have been applied. Cheap when nothing is
    /// due. Returns true when a file was written.
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

/// Keeps `series.bin` up to date by folding the journal itself, for a journal that lacks events which this process has
/// folded because a disk or a queue was full.
pub struct SeriesKeeper {
    tail: Tail,
    state: RunState,
    writer: SeriesWriter,
}

impl SeriesKeeper {
    /// Makes a keeper for the run at `dir`.
    pub fn new(dir: &Path) -> Self {
        let (tail, state, writer) = open::open(dir);
        Self {
            tail,
            state,
            writer,
        }
    }

    /// Folds the new part of the journal and writes the file when it is worth it.
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

    /// As [`Self::tend`], at the end of a run, when fewer new bytes justify a file.
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

    /// Keeps the file of the run at `dir`, which this process trains and folds in `run`, up to date on a separate
    /// thread until the returned guard is dropped.
    pub fn spawn(dir: &Path, run: &Arc<SharedRun>) -> Keeping {
        let (stop, stopped) = channel();
        let mut shared = SharedKeeper::new(dir, run);
        let dir = dir.to_path_buf();
        let work = move || {
            let mut own = None;
            // A journal that cannot be read now may be readable later.
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let _ = match &mut own {
                    None => shared.tend(),
                    Some(own) => Self::tend(own),
                };
                if own.is_none() && shared.differs() {
                    own = Some(Self::new(&dir));
                }
            }
            let _ = match own {
                Some(own) => own.finish(),
                None => match shared.finish() {
                    Ok(()) if shared.differs() => Self::new(&dir).finish(),
                    finished => finished,
                },
            };
        };
        Keeping {
            stop: Some(stop),
            thread: threads::spawn("series", work).ok(),
        }
    }
}

/// Keeps `series.bin` up to date with snapshots of the state that this process folds for its screens. Reads the journal
/// to find the position of a snapshot, and to compare its lines with the events that were folded: a reader sanitises
/// texts, so that it may get another event from a line, and a full disk or queue may have left events out on either
/// side.
pub struct SharedKeeper {
    run: Arc<SharedRun>,
    journal: PathBuf,
    tail: Tail,
    writer: SeriesWriter,
    /// Digest of the journal's events after the past, up to the tail's place.
    digest: Digest,
    /// Will be written once the journal reaches it.
    wanted: Option<Snapshot>,
    differs: bool,
}

impl SharedKeeper {
    /// Starts for the run at `dir`, whose journal receives the events that `run` folds. Must be called before the first
    /// of them.
    pub fn new(dir: &Path, run: &Arc<SharedRun>) -> Self {
        let position = file::read_head(dir).map(|(_, position)| position);
        let position = position.unwrap_or_default();
        Self {
            run: Arc::clone(run),
            journal: dir.join("events.jsonl"),
            writer: SeriesWriter::new(dir, position.offset),
            tail: Tail::open_at(dir, position),
            digest: Digest::default(),
            wanted: None,
            differs: false,
        }
    }

    /// Whether the journal's lines differ from the events that were folded. Nothing is written then.
    pub fn differs(&self) -> bool {
        self.differs
    }

    /// Writes the file when enough of the journal is new.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn tend(&mut self) -> io::Result<()> {
        if self.wanted.is_none() && self.run.folded() > 0 {
            let worth = WORTH.max(self.writer.reached / WORTH_PART);
            self.wanted = self.is_longer_by(worth)?.then(|| self.run.snapshot());
        }
        self.follow()
    }

    /// As [`Self::tend`], at the end of a run, when fewer new bytes justify a file.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn finish(&mut self) -> io::Result<()> {
        // The last events may still be folded.
        self.run.wait_for_end(PATIENCE);
        self.wanted = None;
        if self.run.folded() > 0 && self.is_longer_by(WORTH_LAST)? {
            self.wanted = Some(self.run.snapshot());
        }
        self.follow()
    }

    fn is_longer_by(&self, worth: u64) -> io::Result<bool> {
        let length = std::fs::metadata(&self.journal)?.len();
        Ok(length.saturating_sub(self.writer.reached) >= worth)
    }

    /// Reads the journal up to the last event of the wanted state, as far as it is on disk, and writes the file once it
    /// has reached that event.
    fn follow(&mut self) -> io::Result<()> {
        while let Some(wanted) = &self.wanted
            && !self.differs
        {
            let (last, past) = (wanted.state.seq, self.run.past_seq());
            let mut reached = false;
            for item in self.tail.poll_until(last)? {
                match item {
                    TailItem::Event(event) if event.seq <= past => {}
                    TailItem::Event(event) => {
                        self.digest.add(&event);
                        reached = event.seq >= last;
                    }
                    // Lines of the past, which `run` already includes.
                    TailItem::Skipped { .. } | TailItem::Restarted
                        if self.digest == Digest::default() => {}
                    TailItem::Skipped { .. } | TailItem::Restarted => self.differs = true,
                }
            }
            if !reached {
                if self.tail.caught_up() {
                    return Ok(());
                }
                continue;
            }
            self.differs |= self.digest != wanted.digest;
            if !self.differs {
                self.writer.write(&wanted.state, &self.tail.position());
            }
            self.wanted = None;
        }
        Ok(())
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

#[cfg(test)]
mod tests;
