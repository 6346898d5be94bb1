//! Follows a journal that another process writes, or reads a finished one.
//!
//! Reads are bounded, so that a long journal can be shown while it loads: [`Tail::poll`] until
//! [`Tail::caught_up`]. A torn last line is normal and read again later; a torn line in the middle is reported and
//! skipped. Nothing is kept of a line that has no newline yet, since a resuming writer may cut it off.

use notify::Watcher;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::event::Event;
use super::lock::RunLock;
use super::state::RunState;

/// Bytes read per poll, but for a line that is longer.
const CHUNK: u64 = 1 << 20;
/// Longer lines are not the journal's.
const LONGEST_LINE: u64 = 64 << 20;
/// notify does not see what other machines write, so waiting ends at least this often.
const GLANCE: Duration = Duration::from_secs(1);
/// The file's first bytes, by which a replaced file is told from a grown one.
const HEAD: usize = 256;

/// What a poll brings.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every item is an event, a box would only cost"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum TailItem {
    Event(Event),
    /// Line `line` (from 1) could not be read.
    Skipped {
        line: u64,
        why: String,
    },
    /// The journal was replaced or cut: what was told before is void, it is told again from the start.
    Restarted,
}

impl TailItem {
    /// Folds the item into a state.
    pub fn apply_to(&self, state: &mut RunState) {
        match self {
            Self::Event(event) => state.apply(event),
            Self::Skipped { line, why } => {
                state.warn(format!("events.jsonl:{line}: skipped a line: {why}"));
            }
            Self::Restarted => {
                let version = state.version;
                *state = RunState::default();
                state.version = version + 1;
            }
        }
    }
}

/// A place in a journal. The file need not exist yet.
pub struct Tail {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    head: Vec<u8>,
    /// Bytes and lines consumed.
    offset: u64,
    line: u64,
    caught_up: bool,
    watch: Option<Watch>,
}

struct Watch {
    changed: Receiver<()>,
    /// `None` where the system grants no watch; then waiting is only the clock.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Tail {
    /// At the start of the journal of the run at `dir`.
    pub fn open(dir: &Path) -> Self {
        Self {
            path: dir.join("events.jsonl"),
            identity: None,
            head: Vec::new(),
            offset: 0,
            line: 0,
            caught_up: false,
            watch: None,
        }
    }

    /// Whether the last poll reached the end of the file.
    pub fn caught_up(&self) -> bool {
        self.caught_up
    }

    /// The next items, at most about a mebibyte of lines; none when there is nothing new, or no file (yet).
    ///
    /// # Errors
    /// When the file is there but cannot be read. Polling may go on.
    pub fn poll(&mut self) -> io::Result<Vec<TailItem>> {
        let mut items = Vec::new();
        self.caught_up = true;
        let file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(items),
            file => file?,
        };
        let len = self.recognise(&file, &mut items)?;
        if len <= self.offset {
            return Ok(items);
        }
        let (bytes, at_end) = self.read_lines(&file, len)?;
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            self.line += 1;
            self.offset += line.len() as u64;
            self.read_line(&line[..line.len() - 1], &mut items);
        }
        if self.head.len() < HEAD {
            let mut head = vec![0; self.offset.min(HEAD as u64) as usize];
            file.read_exact_at(&mut head, 0)?;
            self.head = head;
        }
        self.caught_up = at_end;
        Ok(items)
    }

    /// Starts over when this is not the file that was read before. Returns its length.
    fn recognise(&mut self, file: &File, items: &mut Vec<TailItem>) -> io::Result<u64> {
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        let mut head = vec![0; self.head.len()];
        let same = self.identity.is_none_or(|known| known == identity)
            && meta.len() >= self.offset
            && file.read_exact_at(&mut head, 0).is_ok()
            && head == self.head;
        if !same {
            self.offset = 0;
            self.line = 0;
            self.head.clear();
            items.push(TailItem::Restarted);
        }
        self.identity = Some(identity);
        Ok(meta.len())
    }

    /// Whole lines from `offset` on, a chunk of them or one that is longer than a chunk, and whether the file ends
    /// after them (but for a torn line).
    fn read_lines(&self, file: &File, len: u64) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = Vec::new();
        let mut want = CHUNK;
        loop {
            let from = self.offset + bytes.len() as u64;
            let more = (want - bytes.len() as u64).min(len - from);
            Positioned { file, at: from }
                .take(more)
                .read_to_end(&mut bytes)?;
            let at_end = self.offset + bytes.len() as u64 >= len;
            if let Some(end) = bytes.iter().rposition(|&b| b == b'\n') {
                bytes.truncate(end + 1);
                return Ok((bytes, at_end));
            }
            if at_end {
                return Ok((Vec::new(), true));
            }
            if want >= LONGEST_LINE {
                let why = format!("line {} has no end", self.line + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            want *= 4;
        }
    }

    fn read_line(&self, line: &[u8], items: &mut Vec<TailItem>) {
        if line.is_empty() {
            return;
        }
        let read = std::str::from_utf8(line)
            .map_err(|_| "it is not UTF-8".to_string())
            .and_then(|text| Event::from_line(text).map_err(|e| e.to_string()));
        items.push(match read {
            Ok(event) => TailItem::Event(event),
            Err(why) => TailItem::Skipped {
                line: self.line,
                why,
            },
        });
    }

    /// Waits until the journal may have changed: a file notification, a second, or `timeout`, whichever is first.
    /// False when it was only the clock.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let Some(watch) = &self.watch else {
            // Changes between the last poll and this moment would not wake anybody: let the caller poll again.
            self.watch = Some(watch(&self.path));
            return true;
        };
        let timeout = timeout.min(GLANCE);
        match &watch._watcher {
            Some(_) => watch.changed.recv_timeout(timeout).is_ok(),
            None => {
                std::thread::sleep(timeout);
                false
            }
        }
    }
}

/// Watches the journal's directory, because the journal may not exist yet.
fn watch(path: &Path) -> Watch {
    let (tell, changed) = sync_channel(1);
    let name = path.file_name().map(std::ffi::OsStr::to_os_string);
    let on_change = move |event: notify::Result<notify::Event>| {
        let ours = event.is_ok_and(|event| {
            // Reading it ourselves is an access too.
            !event.kind.is_access() && event.paths.iter().any(|p| p.file_name() == name.as_deref())
        });
        if ours {
            // A full channel holds a wake-up already.
            let _ = tell.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(on_change).and_then(|mut watcher| {
        let dir = path.parent().unwrap_or(Path::new("."));
        watcher.watch(dir, notify::RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    Watch {
        changed,
        _watcher: watcher.ok(),
    }
}

/// Reads a file from a place without moving a shared cursor.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads a whole journal and [settles](settle) what it says.
///
/// # Errors
/// When the journal is there but cannot be read.
pub fn load(dir: &Path) -> io::Result<RunState> {
    let mut tail = Tail::open(dir);
    let mut state = RunState::default();
    loop {
        for item in tail.poll()? {
            item.apply_to(&mut state);
        }
        if tail.caught_up() {
            settle(&mut state, dir);
            return Ok(state);
        }
    }
}

/// A run that the journal leaves running or paused is `interrupted` when no live process holds its lock.
pub fn settle(state: &mut RunState, dir: &Path) {
    state.settle(RunLock::is_live(dir));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Body, Outcome, Phase, PhaseResult, RunStatus, Start};
    use crate::run::journal::{Journal, Stamp};
    use crate::run::state::{MarkKind, Status};
    use std::io::Write;
    use std::time::Instant;

    fn at(step: u64) -> Stamp {
        Stamp {
            step,
            phase: Phase::Reference,
            phase_step: step,
            branch: 0,
        }
    }

    fn train(step: u64) -> Body {
        Body::Train {
            loss: Some(5.0 - step as f64 / 100.0),
            nonfinite: None,
            lr: 1e-3,
            grad_norm: Some(1.0),
            tokens: step * 1024,
            tokens_per_second: 100.0,
        }
    }

    fn eval(step: u64) -> Body {
        Body::Eval {
            val_loss: Some(5.0 - step as f64 / 100.0),
            nonfinite: None,
            stderr: Some(0.01),
            windows: 8,
            gap: None,
            gap_stderr: None,
            matched: false,
            seconds: 0.1,
        }
    }

    fn checkpoint(step: u64) -> Body {
        Body::Checkpoint {
            name: format!("b0-s{step:08}"),
            bytes: 10,
            seconds: 0.1,
            val_loss: Some(2.0),
            reason: "every".into(),
            verified: true,
        }
    }

    fn status(status: RunStatus) -> Body {
        Body::Run {
            status,
            info: None,
            message: None,
        }
    }

    fn phase(result: Option<PhaseResult>) -> Body {
        Body::Phase {
            layers: 8,
            parameters: 1000,
            steps: 100,
            start: Start::Random,
            source_layers: vec![],
            result,
        }
    }

    fn result() -> PhaseResult {
        PhaseResult {
            layers: 8,
            parameters: 1000,
            steps: 100,
            tokens: 102_400,
            val_loss: 4.0,
            stderr: 0.01,
            gap: None,
            gap_stderr: None,
            tokens_per_second: 100.0,
            tokens_per_second_wall: 90.0,
            lazy_layers: vec![],
            max_rank: vec![3.0; 8],
            start: Start::Random,
            matched: false,
        }
    }

    fn done() -> Body {
        Body::Done {
            outcome: Some(Outcome::Matched),
            failed: false,
            message: "over".into(),
        }
    }

    fn line(step: u64) -> String {
        let event = Journal::over(Box::new(Nowhere)).emit(at(step), train(step));
        event.to_line() + "\n"
    }

    struct Nowhere;
    impl crate::run::journal::Sink for Nowhere {
        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn steps(items: &[TailItem]) -> Vec<u64> {
        let step = |item: &TailItem| match item {
            TailItem::Event(e) => Some(e.step),
            _ => None,
        };
        items.iter().filter_map(step).collect()
    }

    #[test]
    fn a_journal_and_its_tail_can_live_on_any_thread() {
        fn sendable<T: Send>() {}
        sendable::<Tail>();
        sendable::<Journal>();
        sendable::<RunLock>();
    }

    #[test]
    fn a_round_that_ended_without_a_number_is_still_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        let mut broken = result();
        broken.val_loss = f64::NAN;
        journal.emit(at(1), phase(Some(broken)));
        drop(journal);
        let state = load(dir.path()).unwrap();
        assert!(state.core.reference.unwrap().val_loss.is_nan());
    }

    #[test]
    fn a_run_without_a_journal_is_empty_and_fills_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = Tail::open(dir.path());
        assert_eq!(tail.poll().unwrap(), []);
        assert!(tail.caught_up());
        std::fs::write(dir.path().join("events.jsonl"), line(1)).unwrap();
        assert_eq!(steps(&tail.poll().unwrap()), [1]);
        assert_eq!(tail.poll().unwrap(), []);
    }

    #[test]
    fn a_torn_last_line_is_read_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("events.jsonl")).unwrap();
        let mut tail = Tail::open(dir.path());
        let (a, b) = (line(1), line(2));
        write!(file, "{a}{}", &b[..30]).unwrap();
        assert_eq!(steps(&tail.poll().unwrap()), [1]);
        assert!(tail.caught_up());
        assert_eq!(tail.poll().unwrap(), []);
        write!(file, "{}", &b[30..]).unwrap();
        assert_eq!(steps(&tail.poll().unwrap()), [2]);
    }

    #[test]
    fn a_torn_line_that_the_writer_cuts_off_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, line(1) + "{\"v\":1,\"seq\":2,").unwrap();
        let mut tail = Tail::open(dir.path());
        assert_eq!(steps(&tail.poll().unwrap()), [1]);
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.emit(at(2), train(2));
        journal.emit(at(3), train(3));
        journal.flush();
        let items = tail.poll().unwrap();
        assert_eq!(items.len(), 2, "{items:?}");
        assert_eq!(steps(&items), [2, 3]);
    }

    #[test]
    fn a_torn_line_in_the_middle_is_reported_and_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = line(1) + &line(2)[..40] + "\n";
        text += &line(3);
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(b"\xff\xfe\n\n");
        bytes.extend_from_slice(line(4).as_bytes());
        std::fs::write(dir.path().join("events.jsonl"), bytes).unwrap();
        let items = Tail::open(dir.path()).poll().unwrap();
        assert_eq!(steps(&items), [1, 3, 4]);
        let skipped: Vec<u64> = items
            .iter()
            .filter_map(|i| match i {
                TailItem::Skipped { line, .. } => Some(*line),
                _ => None,
            })
            .collect();
        assert_eq!(skipped, [2, 4]);
        let state = load(dir.path()).unwrap();
        assert!(
            state
                .notes
                .iter()
                .any(|n| n.text.contains("events.jsonl:2: skipped a line"))
        );
    }

    #[test]
    fn a_cut_or_replaced_journal_is_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, line(1) + &line(2)).unwrap();
        let mut tail = Tail::open(dir.path());
        assert_eq!(steps(&tail.poll().unwrap()), [1, 2]);
        std::fs::write(&path, line(7)).unwrap();
        let items = tail.poll().unwrap();
        assert_eq!(items[0], TailItem::Restarted);
        assert_eq!(steps(&items), [7]);
        // Longer than what was read, and perhaps with the same inode.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tail.poll().unwrap(), []);
        std::fs::write(&path, line(8) + &line(9) + &line(10)).unwrap();
        let items = tail.poll().unwrap();
        assert_eq!(items[0], TailItem::Restarted);
        assert_eq!(steps(&items), [8, 9, 10]);
        let mut state = RunState::default();
        state.apply(&Event::from_line(line(1).trim()).unwrap());
        for item in &items {
            item.apply_to(&mut state);
        }
        assert_eq!(state.train.len(), 3);
    }

    #[test]
    fn a_long_journal_comes_in_bounded_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        let message = "x".repeat(3 << 20);
        journal.emit(at(0), Body::Log { message });
        for step in 1..=20_000 {
            journal.emit(at(step), train(step));
        }
        drop(journal);
        let mut tail = Tail::open(dir.path());
        let mut polls = Vec::new();
        loop {
            polls.push(tail.poll().unwrap().len());
            if tail.caught_up() {
                break;
            }
        }
        assert_eq!(polls.iter().sum::<usize>(), 20_001);
        assert!(polls.len() >= 3, "{polls:?}");
    }

    #[test]
    fn waiting_ends_soon_after_a_write_and_not_by_our_own_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, line(1)).unwrap();
        let mut tail = Tail::open(dir.path());
        tail.wait(Duration::from_secs(5));
        tail.poll().unwrap();
        let began = Instant::now();
        tail.wait(Duration::from_millis(300));
        assert!(
            began.elapsed() >= Duration::from_millis(250),
            "{:?}",
            began.elapsed()
        );
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(line(2).as_bytes()).unwrap();
        });
        let began = Instant::now();
        while steps(&tail.poll().unwrap()) != [2] {
            tail.wait(Duration::from_secs(5));
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        writer.join().unwrap();
    }

    /// What a fold knows, without what tells the two runs apart: numbers, times, notes and resume marks.
    fn essence(state: &RunState) -> String {
        let train: Vec<_> = state
            .train
            .iter()
            .map(|p| (p.step, p.tokens, p.loss))
            .collect();
        let evals: Vec<_> = state
            .evals
            .iter()
            .map(|p| (p.step, p.tokens, p.val_loss))
            .collect();
        let marks: Vec<_> = state
            .marks
            .iter()
            .filter(|m| m.kind != MarkKind::Resumed)
            .map(|m| (m.step, &m.kind))
            .collect();
        format!("{:?}\n{train:?}\n{evals:?}\n{marks:?}", state.core)
    }

    fn work(journal: &mut Journal, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            journal.emit(at(step), train(step));
            if step % 10 == 0 {
                journal.emit(at(step), eval(step));
            }
            if step % 25 == 0 {
                journal.emit(at(step), checkpoint(step));
            }
        }
    }

    #[test]
    fn a_resumed_run_folds_to_the_same_state_as_one_never_interrupted() {
        let whole = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(whole.path()).unwrap();
        journal.emit(at(0), status(RunStatus::Started));
        journal.emit(at(0), phase(None));
        work(&mut journal, 1..=100);
        journal.emit(at(100), phase(Some(result())));
        journal.emit(at(100), done());
        drop(journal);

        let broken = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(broken.path()).unwrap();
        journal.emit(at(0), status(RunStatus::Started));
        journal.emit(at(0), phase(None));
        work(&mut journal, 1..=50);
        let from_seq = journal.next_seq() - 1;
        work(&mut journal, 51..=63);
        journal.emit(at(63), status(RunStatus::Interrupted));
        drop(journal);
        let (mut journal, _) = Journal::open(broken.path()).unwrap();
        let checkpoint = "b0-s00000050".into();
        journal.emit(
            at(50),
            Body::Resumed {
                from_seq,
                checkpoint,
            },
        );
        work(&mut journal, 51..=100);
        journal.emit(at(100), phase(Some(result())));
        journal.emit(at(100), done());
        drop(journal);

        let (whole, broken) = (load(whole.path()).unwrap(), load(broken.path()).unwrap());
        assert_eq!(essence(&whole), essence(&broken));
        assert_eq!(whole.train.len(), 100);
    }

    #[test]
    fn a_running_journal_without_a_holder_is_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.emit(at(0), status(RunStatus::Started));
        journal.emit(at(1), status(RunStatus::Paused));
        journal.flush();
        let mut state = load(dir.path()).unwrap();
        assert_eq!(state.core.status, Status::Interrupted);
        let lock = RunLock::acquire(dir.path()).unwrap();
        settle(&mut state, dir.path());
        assert_eq!(
            state.core.status,
            Status::Paused,
            "a live process works on it after all"
        );
        drop(lock);
        settle(&mut state, dir.path());
        assert_eq!(state.core.status, Status::Interrupted);
        // A later event folds into what the journal says, not into the verdict.
        let event = journal.emit(at(2), train(2));
        state.apply(&event);
        assert_eq!(state.core.status, Status::Paused);
        state.apply(&journal.emit(at(2), done()));
        settle(&mut state, dir.path());
        assert_eq!(state.core.status, Status::Done);
    }
}
