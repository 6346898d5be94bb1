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
pub(super) const LONGEST_LINE: u64 = 64 << 20;
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
            items.extend(read_line(self.line, &line[..line.len() - 1]));
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

/// What line `number` (from 1) says, without its newline; `None` when it is empty.
pub(super) fn read_line(number: u64, line: &[u8]) -> Option<TailItem> {
    if line.is_empty() {
        return None;
    }
    let read = std::str::from_utf8(line)
        .map_err(|_| "it is not UTF-8".to_string())
        .and_then(|text| Event::from_line(text).map_err(|e| e.to_string()));
    Some(match read {
        Ok(event) => TailItem::Event(event),
        Err(why) => TailItem::Skipped { line: number, why },
    })
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
mod tests;
