//! Follows a journal that another process writes, or reads a finished one.
//!
//! Reads are bounded, so that a long journal can be shown while it loads: call [`Tail::poll`] until
//! [`Tail::caught_up`]. A torn last line is normal and is read again later; a torn line in the middle is reported and
//! skipped, as is a line that is too long for a journal. Holes are not read (a sparse file of terabytes costs nothing
//! to create), and a file with too long a line is given up. Nothing is kept of a line without a newline, since a
//! resuming writer may cut it off.

use notify::Watcher;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::event::Event;
use super::holes;
use super::lock::RunLock;
use super::state::RunState;
use crate::config;
use crate::failure;
use crate::file;
use crate::text;

pub use super::series::open::load;

/// Bytes read per poll, except for a line that is longer.
const CHUNK: u64 = 1 << 20;
/// Longer lines are not a journal's: they are skipped without being held in memory.
pub(super) const LONGEST_LINE: u64 = 4 << 20;
/// Bytes without a newline after which a file is given up: it is not a journal.
pub(super) const GIVEN_UP: u64 = 64 << 20;
/// Bytes of the reason for skipping a line, which may quote it.
const LONGEST_REASON: usize = 200;
/// notify does not see what other machines write, so waiting ends at least this often.
const GLANCE: Duration = Duration::from_secs(1);
/// The file's first bytes, and the bytes before a position in it, which distinguish a replaced file from a grown one.
const HEAD: usize = 256;
const BEFORE: usize = 64;

/// A position in a journal after a complete line, and the bytes that identify this journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes and lines before it.
    pub offset: u64,
    pub line: u64,
    /// The journal's first bytes.
    head: Vec<u8>,
    /// The last bytes before the position.
    before: Vec<u8>,
}

impl Position {
    /// Whether it is a position in this file.
    pub fn fits(&self, file: &File) -> bool {
        let same = |bytes: &[u8], at: u64| {
            let mut there = vec![0; bytes.len()];
            file.read_exact_at(&mut there, at).is_ok() && there == bytes
        };
        let short = self.head.len() <= HEAD && self.before.len() <= BEFORE;
        let begins = self.offset.checked_sub(self.before.len() as u64);
        short && same(&self.head, 0) && begins.is_some_and(|at| same(&self.before, at))
    }

    /// Takes in the bytes from those known up to the position.
    fn remember(&mut self, bytes: &[u8]) {
        let missing = HEAD - self.head.len().min(HEAD);
        self.head.extend(bytes.iter().take(missing));
        self.before
            .extend(&bytes[bytes.len().saturating_sub(BEFORE)..]);
        let surplus = self.before.len().saturating_sub(BEFORE);
        self.before.drain(..surplus);
    }
}

/// An item that a poll returns.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every item is an event, a box would only cost"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum TailItem {
    Event(Event),
    /// Line `line` (from 1) could not be read, nor could any of the `lines` up to the next event; `why` the first one.
    Skipped {
        line: u64,
        lines: u64,
        why: String,
    },
    /// The journal was replaced or cut: earlier items are void, and the journal is read again from the start.
    Restarted,
}

impl TailItem {
    /// Folds the item into a state.
    pub fn apply_to(&self, state: &mut RunState) {
        match self {
            Self::Event(event) => state.apply(event),
            Self::Skipped { .. } => {
                state.warn(self.skipped().unwrap_or_default());
            }
            Self::Restarted => {
                let version = state.version;
                *state = RunState::default();
                state.version = version + 1;
            }
        }
    }

    /// Describes the lines that were skipped.
    pub fn skipped(&self) -> Option<String> {
        let Self::Skipped { line, lines, why } = self else {
            return None;
        };
        Some(match lines {
            1 => format!("events.jsonl:{line}: skipped a line: {why}"),
            n => format!("events.jsonl:{line}: skipped {n} lines, the first one: {why}"),
        })
    }
}

/// A reader at a position in a journal. The file need not exist yet.
pub struct Tail {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// The position up to which items have been returned.
    at: Position,
    /// Length of the file at the last check.
    len: u64,
    /// Bytes of the too long line that is being skipped, as far as they have been skipped.
    in_long_line: Option<u64>,
    /// Whether only the last of consecutive `train` events is read.
    skims: bool,
    caught_up: bool,
    watch: Option<Watch>,
}

struct Watch {
    changed: Receiver<()>,
    /// `None` where the system refuses a watch; waiting then only uses the clock.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Tail {
    /// Opens the journal of the run at `dir` at its start.
    pub fn open(dir: &Path) -> Self {
        Self::open_at(dir, Position::default())
    }

    /// Opens the journal of the run at `dir` at a position; at the start if it is not a position in this journal.
    pub fn open_at(dir: &Path, at: Position) -> Self {
        Self {
            path: dir.join("events.jsonl"),
            identity: None,
            at,
            len: 0,
            in_long_line: None,
            skims: false,
            caught_up: false,
            watch: None,
        }
    }

    /// Returns the position up to which all lines have been returned.
    pub fn position(&self) -> Position {
        self.at.clone()
    }

    /// Returns how much of the journal has been read, from 0 to 1.
    pub fn progress(&self) -> f64 {
        match self.len {
            0 => 0.0,
            len => (self.at.offset as f64 / len as f64).min(1.0),
        }
    }

    /// Makes a reader that reads only the last of consecutive `train` events, for callers that need no curves. It is several times as fast.
    pub fn skimming(self) -> Self {
        Self {
            skims: true,
            ..self
        }
    }

    /// Whether the last poll reached the end of the file.
    pub fn caught_up(&self) -> bool {
        self.caught_up
    }

    /// Returns the next items, at most about a mebibyte of lines; empty when nothing is new or the file does not exist
    /// (yet).
    ///
    /// # Errors
    /// When the file is there but cannot be read, or has a line of more than 64 MiB. Polling can be continued.
    pub fn poll(&mut self) -> io::Result<Vec<TailItem>> {
        self.poll_until(u64::MAX)
    }

    /// As [`Self::poll`], but stops after the first event with a number of `last` or more.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn poll_until(&mut self, last: u64) -> io::Result<Vec<TailItem>> {
        let mut items = Vec::new();
        self.caught_up = true;
        let file = match file::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(items),
            file => file?,
        };
        let len = self.recognise(&file, &mut items)?;
        if len <= self.at.offset {
            return Ok(items);
        }
        if let Some(passed) = self.in_long_line {
            if passed > GIVEN_UP {
                return Err(endless(self.at.line + 1));
            }
            self.caught_up = self.pass_long_line(&file, len)?;
            return Ok(items);
        }
        let (bytes, at_end) = self.read_lines(&file, len)?;
        if bytes.is_empty() && !at_end {
            self.in_long_line = Some(0);
            add(too_long(self.at.line + 1), &mut items);
        }
        // Most lines are at least this long: growing the list step by step would copy it repeatedly.
        items.reserve(bytes.len() / 200);
        let mut lines = bytes.split_inclusive(|&b| b == b'\n').peekable();
        let mut consumed = 0;
        while let Some(line) = lines.next() {
            self.at.line += 1;
            self.at.offset += line.len() as u64;
            consumed += line.len();
            if self.skims && is_train(line) && lines.peek().is_some_and(|next| is_train(next)) {
                continue;
            }
            if let Some(item) = read_line(self.at.line, &line[..line.len() - 1]) {
                add(item, &mut items);
            }
            if matches!(items.last(), Some(TailItem::Event(event)) if event.seq >= last) {
                break;
            }
        }
        self.at.remember(&bytes[..consumed]);
        self.caught_up = at_end && consumed == bytes.len();
        Ok(items)
    }

    /// Starts over when this is not the file that was read before. Returns its length.
    fn recognise(&mut self, file: &File, items: &mut Vec<TailItem>) -> io::Result<u64> {
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        let same = self.identity.is_none_or(|known| known == identity)
            && meta.len() >= self.at.offset
            && self.at.fits(file);
        if !same {
            self.at = Position::default();
            self.in_long_line = None;
            items.push(TailItem::Restarted);
        }
        self.identity = Some(identity);
        self.len = meta.len();
        Ok(meta.len())
    }

    /// Returns complete lines from `offset` on, either a chunk of them or one that is longer than a chunk, and whether
    /// the file ends after them (except for a torn line). Empty before the file's end when the next line is too long.
    fn read_lines(&self, file: &File, len: u64) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = Vec::new();
        let mut want = CHUNK;
        loop {
            let from = self.at.offset + bytes.len() as u64;
            let more = (want - bytes.len() as u64).min(len - from);
            Positioned { file, at: from }
                .take(more)
                .read_to_end(&mut bytes)?;
            let at_end = self.at.offset + bytes.len() as u64 >= len;
            if let Some(end) = bytes.iter().rposition(|&b| b == b'\n') {
                bytes.truncate(end + 1);
                return Ok((bytes, at_end));
            }
            if bytes.len() as u64 >= LONGEST_LINE {
                return Ok((Vec::new(), false));
            }
            if at_end {
                return Ok((Vec::new(), true));
            }
            want = (want * 4).min(LONGEST_LINE);
        }
    }

    /// Advances within a line that is too long, by at most a chunk, and past its end if the chunk contains it. Returns
    /// whether the file ends there.
    fn pass_long_line(&mut self, file: &File, len: u64) -> io::Result<bool> {
        let data = holes::data_from(file, self.at.offset)
            .unwrap_or(len)
            .min(len);
        if data > self.at.offset {
            self.at.offset = data;
            // The bytes before the position: a hole reads as zeros.
            self.at.remember(&[0; BEFORE]);
        }
        let mut bytes = Vec::new();
        Positioned {
            file,
            at: self.at.offset,
        }
        .take(CHUNK.min(len - self.at.offset))
        .read_to_end(&mut bytes)?;
        let passed = match bytes.iter().position(|&b| b == b'\n') {
            Some(end) => {
                self.in_long_line = None;
                self.at.line += 1;
                end + 1
            }
            None => {
                let passed = self.in_long_line.unwrap_or(0);
                self.in_long_line = Some(passed + bytes.len() as u64);
                bytes.len()
            }
        };
        self.at.offset += passed as u64;
        self.at.remember(&bytes[..passed]);
        Ok(bytes.is_empty() || self.at.offset >= len)
    }

    /// Waits until the journal may have changed: until a file notification, for a second, or for `timeout`, whichever
    /// is first. Returns false when only time has passed.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let Some(watch) = &self.watch else {
            // Changes between the last poll and this moment would not wake the thread: the caller should poll again.
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

/// Reads line `number` (from 1) without its newline; `None` when it is empty.
pub(super) fn read_line(number: u64, line: &[u8]) -> Option<TailItem> {
    if line.is_empty() {
        return None;
    }
    let read = std::str::from_utf8(line)
        .map_err(|_| "it is not UTF-8".to_string())
        .and_then(|text| Event::from_line(text).map_err(|e| e.to_string()));
    Some(match read {
        Ok(event) => TailItem::Event(event),
        Err(why) => skipped(number, &why),
    })
}

/// An item for line `line`, which is longer than any line of a journal.
pub(super) fn too_long(line: u64) -> TailItem {
    skipped(
        line,
        &format!("it is longer than {} MiB", LONGEST_LINE >> 20),
    )
}

/// The error for a file whose line `line` (from 1) is too long to be skipped.
pub(super) fn endless(line: u64) -> io::Error {
    let why = format!(
        "line {line} is longer than {} MiB, so this is not a journal",
        GIVEN_UP >> 20
    );
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn skipped(line: u64, why: &str) -> TailItem {
    TailItem::Skipped {
        line,
        lines: 1,
        // The reason may quote the unreadable text.
        why: text::cut(&text::clean(why), LONGEST_REASON).into_owned(),
    }
}

/// Whether a line is a `train` event: within a JSON string its quotes would be escaped.
fn is_train(line: &[u8]) -> bool {
    memchr::memmem::find(line, br#""kind":"train""#).is_some()
}

/// Adds an item. Consecutive lines that cannot be read become one item, so that damaged data takes no more memory than
/// it takes in the file.
fn add(item: TailItem, items: &mut Vec<TailItem>) {
    match (&item, items.last_mut()) {
        (TailItem::Skipped { .. }, Some(TailItem::Skipped { lines, .. })) => *lines += 1,
        _ => items.push(item),
    }
}

/// Watches the journal's directory, because the journal may not exist yet.
fn watch(path: &Path) -> Watch {
    let (tell, changed) = sync_channel(1);
    let name = path.file_name().map(std::ffi::OsStr::to_os_string);
    let on_change = move |event: notify::Result<notify::Event>| {
        let ours = event.is_ok_and(|event| {
            // Reading the file here also causes access notifications.
            !event.kind.is_access() && event.paths.iter().any(|p| p.file_name() == name.as_deref())
        });
        if ours {
            // A full channel holds a wake-up already.
            let _ = tell.try_send(());
        }
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    // Where the system refuses notify a thread, its calls panic, and so would the drop.
    let watcher = failure::quietly(|| {
        let mut watcher = ManuallyDrop::new(notify::recommended_watcher(on_change).ok()?);
        let watching = watcher.watch(dir, notify::RecursiveMode::NonRecursive);
        let watcher = ManuallyDrop::into_inner(watcher);
        watching.is_ok().then_some(watcher)
    });
    Watch {
        changed,
        _watcher: watcher.ok().flatten(),
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

/// A run that the journal leaves running or paused is `interrupted` when no live process holds its lock. Schedules that the
/// journal does not have are the config's.
pub fn settle(state: &mut RunState, dir: &Path) {
    state.settle(RunLock::is_live(dir));
    if state.lacks_schedules() {
        let source = config::Source::Run(dir.join("config.toml"));
        let loaded = config::load_as_written(&source);
        state.configure(loaded.ok().map(|loaded| loaded.config));
    }
}

#[cfg(test)]
mod tests;
