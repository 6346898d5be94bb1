//! The single writer of `events.jsonl`.
//!
//! Lines are gathered and written with one write(2) a batch; durable events are on disk before [`Journal::emit`]
//! returns. A write error does not stop training and does not damage what is written: unwritten lines wait in
//! memory and are tried again at every flush.
//!
//! The writer must hold the run's [lock](super::lock).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::event::{Body, Event, FORMAT_VERSION, Phase};

/// A batch is written when it reaches this many bytes, even without a [`Journal::flush`].
const BATCH_BYTES: usize = 64 << 10;
/// Metric events that wait for a full disk before further ones are dropped.
const METRICS_WAITING: usize = 4096;

/// Where in the recipe an event happens.
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
#[error("journal {}: {source}", path.display())]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

/// What the journal needs of a file that is open for appending.
pub trait Sink: Send {
    /// One write(2); may write less than it is given.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

type Observer = Box<dyn FnMut(&Event) + Send>;

pub struct Journal {
    sink: Box<dyn Sink>,
    /// Lines not written yet. After a partial write it begins inside a line, so that the next write completes it.
    waiting: Vec<u8>,
    metrics_waiting: usize,
    /// Metric events dropped since the disk filled up.
    dropped: u64,
    /// Written, but an fsync is owed.
    unsynced: bool,
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
        let path = dir.join("events.jsonl");
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| JournalError { path, source })?;
        Ok(Self::over(Box::new(file)))
    }

    /// Goes on with the journal of an interrupted run. A torn last line is cut off, kept in `log.txt`, and told
    /// in the returned warning.
    ///
    /// # Errors
    /// When `events.jsonl` cannot be read or written.
    pub fn open(dir: &Path) -> Result<(Self, Option<String>), JournalError> {
        let path = dir.join("events.jsonl");
        let fail = |source| JournalError {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(fail)?;
        let warning = mend_tail(&mut file, &dir.join("log.txt")).map_err(fail)?;
        let (next_seq, elapsed) = last_known(&mut file).map_err(fail)?;
        let mut journal = Self::over(Box::new(file));
        journal.next_seq = next_seq;
        journal.elapsed_before = elapsed;
        Ok((journal, warning))
    }

    /// A journal over any sink, from event 1 and time 0.
    pub fn over(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            waiting: Vec::new(),
            metrics_waiting: 0,
            dropped: 0,
            unsynced: false,
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

    /// Seconds of run time, over all resumes.
    pub fn elapsed(&self) -> f64 {
        self.elapsed_before + self.began.elapsed().as_secs_f64()
    }

    /// Calls `observer` with every event from now on, on the emitting thread.
    pub fn subscribe(&mut self, observer: Box<dyn FnMut(&Event) + Send>) {
        self.observers.push(observer);
    }

    /// Journals one event and shows it to the observers. A durable one ([`Body::is_durable`]) is on disk when this
    /// returns, unless [`Self::problem`] says otherwise; others wait for [`Self::flush`].
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
            self.unsynced = true;
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

    /// Writes what waits. True when nothing is left waiting; otherwise [`Self::problem`] tells why.
    pub fn flush(&mut self) -> bool {
        match self.write_waiting() {
            Ok(()) => {
                if self.failing.take().is_some() {
                    self.news = Some(match self.dropped {
                        0 => "the journal is written again; nothing was lost".into(),
                        n => {
                            format!("the journal is written again; {n} metric events were dropped")
                        }
                    });
                }
                if self.dropped > 0 {
                    self.tell_gap();
                    return self.flush();
                }
                true
            }
            Err(e) => {
                if self.failing.is_none() {
                    let why = format!(
                        "the journal cannot be written: {e}; training goes on, events wait in memory"
                    );
                    self.news = Some(why.clone());
                    self.failing = Some(why);
                }
                false
            }
        }
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.waiting.len() {
                break Ok(());
            }
            match self.sink.append(&self.waiting[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.waiting.drain(..written);
        result?;
        self.metrics_waiting = 0;
        if self.unsynced {
            self.sink.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Once the disk has room again: readers of the file learn how many metric events they miss. Observers missed
    /// none, so that they are not told.
    fn tell_gap(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if let Some(stamp) = self.last.clone() {
            let event = self.stamped(stamp, Body::Gap { dropped });
            self.queue(&event);
        }
    }

    /// What changed about the journal's health since the last call: once when writing begins to fail, and once
    /// when it works again. Meant for a `warning` event.
    pub fn problem(&mut self) -> Option<String> {
        self.news.take()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
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

/// Makes the file end in a newline: completes a last line that only lacks its newline, cuts off a torn one.
fn mend_tail(file: &mut File, log: &Path) -> io::Result<Option<String>> {
    let mut torn = Vec::new();
    let mut keep = 0;
    scan_back(file, |start, line, complete| {
        keep = if complete {
            start + line.len() as u64 + 1
        } else {
            start
        };
        if !complete {
            torn = line.to_vec();
        }
        true
    })?;
    if torn.is_empty() {
        return Ok(None);
    }
    if std::str::from_utf8(&torn).is_ok_and(|line| Event::from_line(line).is_ok()) {
        file.write_all(b"\n")?;
        return Ok(None);
    }
    let kept = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .and_then(|mut log| {
            let text = String::from_utf8_lossy(&torn);
            writeln!(log, "torn last line cut off events.jsonl: {text}")
        });
    file.set_len(keep)?;
    file.sync_all()?;
    let n = torn.len();
    Ok(Some(match kept {
        Ok(()) => format!("events.jsonl: cut off a torn last line of {n} bytes (kept in log.txt)"),
        Err(e) => format!("events.jsonl: cut off a torn last line of {n} bytes (log.txt: {e})"),
    }))
}

/// The next sequence number, and the run time of the last line that can be read.
fn last_known(file: &mut File) -> io::Result<(u64, f64)> {
    // Unreadable lines after the last readable one had numbers too.
    let mut unreadable = 0;
    let mut found = None;
    scan_back(file, |_, line, _| {
        let event = std::str::from_utf8(line)
            .ok()
            .and_then(|l| Event::from_line(l).ok());
        match event {
            Some(event) => found = Some((event.seq, event.elapsed)),
            None => unreadable += u64::from(!line.is_empty()),
        }
        found.is_some()
    })?;
    let (seq, elapsed) = found.unwrap_or((0, 0.0));
    Ok((seq.saturating_add(unreadable + 1), elapsed))
}

/// Visits the file's lines from the last to the first until `visit(start, line, complete)` returns true. A last
/// line without a newline is not complete. Reads only as much of the file's end as it needs.
fn scan_back(file: &mut File, mut visit: impl FnMut(u64, &[u8], bool) -> bool) -> io::Result<()> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut start = len;
    let mut bytes: Vec<u8> = Vec::new();
    let mut last = true;
    while start > 0 {
        let block = start.min(BATCH_BYTES as u64);
        start -= block;
        let mut front = vec![0; block as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut front)?;
        front.append(&mut bytes);
        bytes = front;
        loop {
            let complete = !last || bytes.last() == Some(&b'\n');
            let end = if complete && bytes.last() == Some(&b'\n') {
                bytes.len() - 1
            } else {
                bytes.len()
            };
            let from = match bytes[..end].iter().rposition(|&b| b == b'\n') {
                Some(newline) => newline + 1,
                None if start == 0 => 0,
                None => break,
            };
            if visit(start + from as u64, &bytes[from..end], complete) {
                return Ok(());
            }
            last = false;
            bytes.truncate(from);
            if from == 0 {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Outcome, finite};
    use crate::run::tail;
    use std::sync::{Arc, Mutex};

    fn at(step: u64) -> Stamp {
        Stamp {
            step,
            phase: Phase::Round(1),
            phase_step: step,
            branch: 0,
        }
    }

    fn train(loss: f64) -> Body {
        let (loss, nonfinite) = finite(loss);
        Body::Train {
            loss,
            nonfinite,
            lr: 1e-3,
            grad_norm: Some(1.0),
            tokens: 1024,
            tokens_per_second: 100.0,
        }
    }

    fn log(text: &str) -> Body {
        Body::Log {
            message: text.into(),
        }
    }

    fn warning(text: &str) -> Body {
        Body::Warning {
            message: text.into(),
        }
    }

    fn done() -> Body {
        Body::Done {
            outcome: Some(Outcome::Matched),
            failed: false,
            message: "over".into(),
        }
    }

    fn lines(dir: &Path) -> Vec<Event> {
        let text = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|l| Event::from_line(l).unwrap()).collect()
    }

    /// A disk with room for `room` bytes.
    #[derive(Clone, Default)]
    struct SmallDisk(Arc<Mutex<(Vec<u8>, usize, usize)>>);

    impl SmallDisk {
        fn with_room(room: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), room, 0))))
        }
        fn add_room(&self, room: usize) {
            self.0.lock().unwrap().1 += room;
        }
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
        fn syncs(&self) -> usize {
            self.0.lock().unwrap().2
        }
    }

    impl Sink for SmallDisk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, room, _) = &mut *self.0.lock().unwrap();
            let n = bytes.len().min(*room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.extend_from_slice(&bytes[..n]);
            *room -= n;
            Ok(n)
        }
        fn sync(&mut self) -> io::Result<()> {
            self.0.lock().unwrap().2 += 1;
            Ok(())
        }
    }

    #[test]
    fn lines_wait_for_a_flush_and_durable_ones_do_not() {
        let disk = SmallDisk::with_room(1 << 20);
        let mut journal = Journal::over(Box::new(disk.clone()));
        journal.emit(at(1), train(2.0));
        assert_eq!((disk.text().len(), disk.syncs()), (0, 0));
        assert!(journal.flush());
        assert_eq!((disk.text().lines().count(), disk.syncs()), (1, 0));
        journal.emit(at(2), train(1.9));
        journal.emit(at(2), done());
        assert_eq!((disk.text().lines().count(), disk.syncs()), (3, 1));
        assert_eq!(journal.problem(), None);
    }

    #[test]
    fn observers_see_every_event_in_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut journal = Journal::over(Box::new(SmallDisk::with_room(0)));
        let here = seen.clone();
        journal.subscribe(Box::new(move |e| here.lock().unwrap().push(e.clone())));
        let a = journal.emit(at(1), train(2.0));
        let b = journal.emit(at(2), done());
        assert_eq!(*seen.lock().unwrap(), [a, b]);
    }

    #[test]
    fn a_new_journal_refuses_an_existing_file() {
        let dir = tempfile::tempdir().unwrap();
        Journal::create(dir.path()).unwrap();
        let message = Journal::create(dir.path()).err().unwrap().to_string();
        assert!(message.contains("events.jsonl"), "{message}");
    }

    #[test]
    fn a_resumed_journal_goes_on_counting_and_timing() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.elapsed_before = 100.0;
        for step in 1..=3 {
            journal.emit(at(step), train(2.0));
        }
        let last = journal.emit(at(3), log("bye"));
        drop(journal);
        let (mut journal, warning) = Journal::open(dir.path()).unwrap();
        assert_eq!(warning, None);
        assert_eq!(journal.next_seq(), 5);
        let next = journal.emit(at(4), train(1.9));
        drop(journal);
        assert!(next.elapsed >= last.elapsed && next.elapsed < last.elapsed + 50.0);
        let seqs: Vec<u64> = lines(dir.path()).iter().map(|e| e.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_empty_or_absent_journal_opens_at_one() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, warning) = Journal::open(dir.path()).unwrap();
        assert_eq!((journal.next_seq(), warning), (1, None));
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_kept_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.emit(at(1), train(2.0));
        journal.emit(at(2), train(1.9));
        drop(journal);
        let path = dir.path().join("events.jsonl");
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        let (mut journal, warning) = Journal::open(dir.path()).unwrap();
        assert!(warning.unwrap().contains("torn last line"));
        let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
        assert!(log.contains("\"seq\":2"), "{log}");
        assert_eq!(journal.next_seq(), 2);
        journal.emit(at(2), train(1.8));
        drop(journal);
        assert_eq!(lines(dir.path()).len(), 2);
    }

    #[test]
    fn a_journal_of_one_torn_line_starts_afresh() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("events.jsonl"), "{\"v\":1,\"se").unwrap();
        let (journal, warning) = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.next_seq(), 1);
        assert!(warning.is_some());
    }

    #[test]
    fn a_last_line_that_only_lacks_its_newline_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.emit(at(1), train(2.0));
        drop(journal);
        let path = dir.path().join("events.jsonl");
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        let (journal, warning) = Journal::open(dir.path()).unwrap();
        assert_eq!((journal.next_seq(), warning), (2, None));
        assert_eq!(lines(dir.path()).len(), 1);
    }

    #[test]
    fn unreadable_lines_at_the_end_keep_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.emit(at(1), train(2.0));
        // Longer than a block, so that the scan crosses one.
        journal.emit(at(1), log(&"x".repeat(3 * BATCH_BYTES)));
        drop(journal);
        let path = dir.path().join("events.jsonl");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("rubbish\n\nmore rubbish\n");
        std::fs::write(&path, text).unwrap();
        let (journal, _) = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.next_seq(), 5);
    }

    #[test]
    fn a_full_disk_loses_nothing_and_tears_no_line() {
        let disk = SmallDisk::with_room(250);
        let mut journal = Journal::over(Box::new(disk.clone()));
        for step in 1..=10 {
            journal.emit(at(step), train(2.0));
            journal.flush();
        }
        let problem = journal.problem().unwrap();
        assert!(problem.contains("cannot be written"), "{problem}");
        assert_eq!(journal.problem(), None, "told once");
        journal.emit(at(10), warning(&problem));
        assert!(!journal.flush());
        assert_eq!(disk.text().len(), 250);
        assert!(
            !disk.text().ends_with('\n'),
            "the last line is half written"
        );

        disk.add_room(1 << 20);
        assert!(journal.flush());
        assert!(journal.problem().unwrap().contains("nothing was lost"));
        assert_eq!(journal.problem(), None);
        let text = disk.text();
        let seqs: Vec<u64> = text
            .lines()
            .map(|l| Event::from_line(l).unwrap().seq)
            .collect();
        assert_eq!(seqs, (1..=11).collect::<Vec<_>>());
    }

    #[test]
    fn a_disk_full_for_long_drops_metrics_only_and_counts_them() {
        let disk = SmallDisk::with_room(0);
        let mut journal = Journal::over(Box::new(disk.clone()));
        journal.flush();
        for step in 1..=(METRICS_WAITING as u64 + 500) {
            journal.emit(at(step), train(2.0));
            journal.flush();
            if step % 1000 == 0 {
                journal.emit(at(step), warning("kept"));
            }
        }
        let dropped_at_least = 499;
        disk.add_room(1 << 24);
        assert!(journal.flush());
        journal.emit(at(9999), done());
        let text = disk.text();
        let events: Vec<Event> = text.lines().map(|l| Event::from_line(l).unwrap()).collect();
        let kept = events
            .iter()
            .filter(|e| matches!(e.body, Body::Warning { .. }));
        assert_eq!(kept.count(), 4);
        let gap = events.iter().find_map(|e| match e.body {
            Body::Gap { dropped } => Some(dropped),
            _ => None,
        });
        let metrics = events.iter().filter(|e| e.body.is_metric()).count() as u64;
        assert!(gap.unwrap() >= dropped_at_least, "{gap:?}");
        assert_eq!(metrics + gap.unwrap(), METRICS_WAITING as u64 + 500);
        assert!(events.is_sorted_by(|a, b| a.seq < b.seq));
    }

    /// The same on a real full file system, where the test may mount one.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_really_full_disk_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|o| o.status.success());
        if !mounted {
            eprintln!("skipped: this user may not mount a small tmpfs");
            return;
        }
        struct Unmount<'a>(&'a Path);
        impl Drop for Unmount<'_> {
            fn drop(&mut self) {
                let _ = std::process::Command::new("umount").arg(self.0).status();
            }
        }
        let guard = Unmount(dir.path());
        let ballast = dir.path().join("ballast");
        std::fs::write(&ballast, vec![0; 8 << 10]).unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        for step in 1..=200 {
            journal.emit(at(step), train(2.0));
            journal.flush();
        }
        assert!(journal.problem().unwrap().contains("cannot be written"));
        std::fs::remove_file(ballast).unwrap();
        for step in 201..=210 {
            journal.emit(at(step), warning("filler"));
            if journal.flush() {
                break;
            }
        }
        drop(journal);
        let state = tail::load(dir.path()).unwrap();
        let steps: Vec<u64> = state.train.iter().map(|p| p.step).collect();
        assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());
        assert!(steps.len() > 30, "{}", steps.len());
        drop(guard);
    }
}
