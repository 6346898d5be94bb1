//! The single writer of `events.jsonl`.
//!
//! Lines are gathered and written with one write(2) a batch; durable events are on disk before [`Journal::emit`]
//! returns. A write error does not stop training and does not damage what is written: unwritten lines wait in
//! memory and are tried again at every flush.
//!
//! What was written since the last fsync is kept until the next one: after a failed fsync it is written again
//! ([`unsynced`]).
//!
//! The writer must hold the run's [lock](super::lock).

mod end;
mod sink;
#[cfg(test)]
mod tests;
mod unsynced;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::event::{Body, Event, FORMAT_VERSION, Gap, Phase};
use super::handle::EVENTS;
use super::trouble::{JOURNAL_FAILS, JOURNAL_WORKS};
use crate::file::Dir;
use crate::text;

use end::{last_known, mend_tail};
use unsynced::Unsynced;

pub use sink::Sink;

/// A batch is written when it reaches this many bytes, even without a [`Journal::flush`].
const BATCH_BYTES: usize = 64 << 10;
/// Metric events that wait for a full disk before further ones are dropped.
const METRICS_WAITING: usize = 4096;

/// The place in the recipe at which an event happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Optimizer steps since the run began, over all phases.
    pub step: u64,
    pub phase: Phase,
    pub phase_step: u64,
    /// Rises with a rollback.
    pub branch: u32,
}

#[derive(Debug, thiserror::Error)]
#[error("journal {}: {source}", text::path(path))]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

/// The state of a journal's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is where it was made.
    Kept,
    /// It is elsewhere, and is still written.
    Moved,
    Deleted,
    /// Another file has taken its place, so the directory belongs to another run now.
    Replaced,
}

/// Called with every event as it is journaled, on the emitting thread.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

pub struct Journal {
    sink: Box<dyn Sink>,
    /// The file and its expected path, for [`Self::place`].
    file: Option<(File, PathBuf)>,
    /// Lines not written yet. After a partial write it begins inside a line, so that the next write completes it.
    waiting: Vec<u8>,
    metrics_waiting: usize,
    /// Metric events dropped since the disk filled up.
    dropped: u64,
    /// A durable event waits for an fsync.
    sync_owed: bool,
    unsynced: Unsynced,
    /// Describes how a failed fsync was repaired.
    again: Option<String>,
    next_seq: u64,
    elapsed_before: f64,
    began: Instant,
    last: Option<Stamp>,
    observers: Vec<Observer>,
    failing: Option<String>,
    news: Option<String>,
}

impl Journal {
    /// Starts the journal of a new run.
    ///
    /// # Errors
    /// When `events.jsonl` exists already or cannot be created.
    pub fn create(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(EVENTS);
        let file = Dir::open(dir).and_then(|dir| {
            dir.create_file(EVENTS)?;
            dir.open_to_append(EVENTS)
        });
        Self::of(file.map_err(at(&path))?, path)
    }

    /// Continues the journal of an interrupted run. A torn last line is cut off, kept in `log.txt`, and described in
    /// the returned warning.
    ///
    /// # Errors
    /// When `events.jsonl` cannot be read or written.
    pub fn open(dir: &Path) -> Result<(Self, Option<String>), JournalError> {
        let path = dir.join(EVENTS);
        let dir = Dir::open(dir).map_err(at(&path))?;
        let file = dir.open_to_append(EVENTS).map_err(at(&path))?;
        Self::go_on(file, &dir)
    }

    /// Continues a journal that is open for reading and appending, such as [the lock's](super::lock::RunLock::journal),
    /// in the directory `dir`. Otherwise like [`Self::open`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn go_on(mut file: File, dir: &Dir) -> Result<(Self, Option<String>), JournalError> {
        let path = dir.path_of(EVENTS);
        let fail = at(&path);
        let warning = mend_tail(&mut file, dir).map_err(&fail)?;
        let (next_seq, elapsed) = last_known(&file).map_err(&fail)?;
        let mut journal = Self::of(file, path)?;
        journal.next_seq = next_seq;
        journal.elapsed_before = elapsed;
        Ok((journal, warning))
    }

    fn of(file: File, path: PathBuf) -> Result<Self, JournalError> {
        let again = file.try_clone().map_err(at(&path))?;
        let mut journal = Self::over(Box::new(file));
        journal.file = Some((again, path));
        Ok(journal)
    }

    /// A journal over any sink, from event 1 and time 0.
    pub fn over(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            file: None,
            waiting: Vec::new(),
            metrics_waiting: 0,
            dropped: 0,
            sync_owed: false,
            unsynced: Unsynced::default(),
            again: None,
            next_seq: 1,
            elapsed_before: 0.0,
            began: Instant::now(),
            last: None,
            observers: Vec::new(),
            failing: None,
            news: None,
        }
    }

    /// The number the next event gets; the first event's is 1.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Continues with numbers above `seq`.
    pub fn skip_past(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq.saturating_add(1));
    }

    /// Returns the state of the file.
    pub fn place(&self) -> Place {
        let Some((file, path)) = &self.file else {
            return Place::Kept;
        };
        let Ok(ours) = file.metadata() else {
            return Place::Kept;
        };
        let there = std::fs::metadata(path);
        match there {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Place::Kept,
            // Another run's journal, or a copy.
            Ok(_) => Place::Replaced,
            _ if ours.nlink() == 0 => Place::Deleted,
            // Any other error may be a temporary failure of a network file system.
            Err(e) if e.kind() != io::ErrorKind::NotFound => Place::Kept,
            _ => Place::Moved,
        }
    }

    /// Whether the journal's file still has a name, here or elsewhere: a deleted one has none.
    pub fn is_linked(&self) -> bool {
        let metadata = self.file.as_ref().map(|(file, _)| file.metadata());
        metadata.is_some_and(|m| m.is_ok_and(|m| m.nlink() > 0))
    }

    /// Switches to a new file, open for appending, after the old file was deleted. Event numbers and times continue.
    ///
    /// # Errors
    /// When the process has no descriptor left; the old file is still written then.
    pub fn begin_again(&mut self, file: File, path: PathBuf) -> Result<(), JournalError> {
        let mut new = Self::of(file, path)?;
        // Into the deleted file, so that the new file does not begin within a line.
        self.flush();
        self.waiting.clear();
        self.unsynced = Unsynced::default();
        std::mem::swap(&mut self.sink, &mut new.sink);
        self.file = new.file.take();
        Ok(())
    }

    /// Seconds of run time, over all resumes.
    pub fn elapsed(&self) -> f64 {
        self.elapsed_before + self.began.elapsed().as_secs_f64()
    }

    /// Calls `observer` with every event from now on, on the emitting thread.
    pub fn subscribe(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    /// Journals one event and passes it to the observers. A durable event ([`Body::is_durable`]) is on disk when this
    /// returns, unless [`Self::problem`] reports a failure; other events wait for [`Self::flush`].
    pub fn emit(&mut self, stamp: Stamp, body: Body) -> Event {
        let event = self.stamped(stamp.clone(), body);
        self.last = Some(stamp);
        if event.body.is_metric()
            && self.failing.is_some()
            && self.metrics_waiting >= METRICS_WAITING
        {
            self.dropped += 1;
        } else {
            self.queue(&event);
        }
        for observer in &mut self.observers {
            observer(&event);
        }
        if event.body.is_durable() {
            self.sync_owed = true;
            self.flush();
        } else if self.waiting.len() >= BATCH_BYTES && self.failing.is_none() {
            self.flush();
        }
        event
    }

    fn stamped(&mut self, stamp: Stamp, body: Body) -> Event {
        let seq = self.next_seq;
        self.next_seq += 1;
        Event {
            v: FORMAT_VERSION,
            seq,
            t: unix_ms(),
            elapsed: self.elapsed(),
            step: stamp.step,
            phase: stamp.phase,
            phase_step: stamp.phase_step,
            branch: stamp.branch,
            body,
        }
    }

    fn queue(&mut self, event: &Event) {
        self.waiting.extend_from_slice(event.to_line().as_bytes());
        self.waiting.push(b'\n');
        self.metrics_waiting += usize::from(event.body.is_metric());
    }

    /// Writes the waiting lines. Returns true when none is left; otherwise [`Self::problem`] has the reason.
    pub fn flush(&mut self) -> bool {
        match self.write_waiting() {
            Ok(()) => {
                if self.failing.take().is_some() {
                    let dropped = match self.dropped {
                        0 => "no event is missing".into(),
                        n => format!("{n} metric events were dropped"),
                    };
                    let again = self.again.take().map(|again| format!("; {again}"));
                    let again = again.unwrap_or_default();
                    self.news = Some(format!("{JOURNAL_WORKS}; {dropped}{again}"));
                }
                if self.dropped > 0 {
                    self.record_gap();
                    return self.flush();
                }
                true
            }
            Err(e) => {
                if self.failing.is_none() {
                    let wait = match self.unsynced.has_failed() {
                        true => "what the failed flush may have lost is written again",
                        false => "events wait in memory",
                    };
                    let why = format!("{JOURNAL_FAILS}: {e}; training continues, {wait}");
                    self.news = Some(why.clone());
                    self.failing = Some(why);
                }
                false
            }
        }
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if self.unsynced.has_failed() {
            self.sync()?;
        }
        let mut written = 0;
        let result = loop {
            let waiting = &self.waiting[written..];
            if waiting.is_empty() {
                break Ok(());
            }
            if self.unsynced.room() == 0 {
                self.sync_owed = true;
                if let Err(error) = self.sync() {
                    break Err(error);
                }
                continue;
            }
            let size = match self.unsynced.is_empty() {
                true => self.sink.size().ok(),
                false => None,
            };
            let part = &waiting[..waiting.len().min(self.unsynced.room())];
            match self.sink.append(part) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.unsynced.add(size, &part[..n]);
                    written += n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.waiting.drain(..written);
        result?;
        self.metrics_waiting = 0;
        if self.sync_owed {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let again = self.unsynced.sync(&mut *self.sink)?;
        self.again = again.or(self.again.take());
        self.sync_owed = false;
        Ok(())
    }

    /// Journals the number of dropped metric events once the disk has room again, for readers of the file. Observers
    /// have seen every event, so they do not get this one.
    fn record_gap(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if let Some(stamp) = self.last.clone() {
            let event = self.stamped(stamp, Body::Gap(Gap { dropped }));
            self.queue(&event);
        }
    }

    /// Returns why lines are not on disk, as long as the journal cannot be written.
    pub fn failure(&self) -> Option<&str> {
        self.failing.as_deref()
    }

    /// Returns the change of the journal's health since the last call: once when writing begins to fail, and once when
    /// it works again. Meant for a `warning` event.
    pub fn problem(&mut self) -> Option<String> {
        self.news.take()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> JournalError + use<> {
    let path = path.to_path_buf();
    move |source| JournalError {
        path: path.clone(),
        source,
    }
}

fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_millis()
        .try_into()
        .unwrap_or(i64::MAX)
}
