//! The end of a journal that is continued: repairs a torn last line, and finds the last event's number and time.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use crate::file::Dir;
use crate::run::event::Event;
use crate::run::handle::LOG;
use crate::run::holes;
use crate::run::tail::{GIVEN_UP, LONGEST_LINE};
use crate::text;

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// Makes the file end in a newline: completes a last line that only lacks its newline, cuts off a torn one.
pub(super) fn mend_tail(file: &mut File, dir: &Dir) -> io::Result<Option<String>> {
    let len = file.metadata()?.len();
    let start = Backwards::new(file).line_start(len)?;
    if start == len {
        return Ok(None);
    }
    let torn = line_at(file, start, len)?;
    if torn.as_deref().is_some_and(|line| read(line).is_some()) {
        file.write_all(b"\n")?;
        return Ok(None);
    }
    let n = len - start;
    let kept = match torn {
        Some(torn) => keep_in_log(dir, &torn),
        None => "too long to be kept".into(),
    };
    file.set_len(start)?;
    file.sync_all()?;
    Ok(Some(format!(
        "events.jsonl: cut off a torn last line of {n} bytes ({kept})"
    )))
}

/// Adds a torn line to the log, sanitised for terminals. Returns a description of the outcome.
fn keep_in_log(dir: &Dir, torn: &[u8]) -> String {
    let kept = dir.open_to_append(LOG).and_then(|mut log| {
        let torn = String::from_utf8_lossy(torn);
        let text = text::sanitize(&torn);
        writeln!(log, "torn last line cut off events.jsonl: {text}")
    });
    match kept {
        Ok(()) => "kept in log.txt".into(),
        Err(e) => format!("log.txt: {e}"),
    }
}

/// Bytes without an event at a journal's end after which the file is given up.
const MOST_UNREADABLE: u64 = 256 << 20;

/// Returns the next sequence number, and the run time of the last line that can be read.
pub(super) fn last_known(file: &File) -> io::Result<(u64, f64)> {
    let mut back = Backwards::new(file);
    // Unreadable lines after the last readable one had numbers too.
    let mut unreadable = 0;
    let mut end = file.metadata()?.len();
    // Every line ends with a newline: the tail has been repaired.
    while end > 0 {
        if back.read > MOST_UNREADABLE {
            let why = format!(
                "its last {} MiB hold no event, so this is not a journal",
                MOST_UNREADABLE >> 20
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let start = back.line_start(end - 1)?;
        let event = line_at(file, start, end - 1)?.and_then(|line| read(&line));
        if let Some(event) = event {
            return Ok((event.seq.saturating_add(unreadable + 1), event.elapsed));
        }
        unreadable += u64::from(start < end - 1);
        end = start;
    }
    Ok((unreadable + 1, 0.0))
}

fn read(line: &[u8]) -> Option<Event> {
    Event::from_line(std::str::from_utf8(line).ok()?).ok()
}

/// Returns the bytes of a line, or `None` if it is too long for a line of a journal.
fn line_at(file: &File, start: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    if end - start > LONGEST_LINE {
        return Ok(None);
    }
    let mut line = vec![0; (end - start) as usize];
    file.read_exact_at(&mut line, start)?;
    Ok(Some(line))
}

/// Finds the beginnings of lines, backwards from the end of a file. Reads only as much as it needs, and holds one
/// block.
struct Backwards<'a> {
    file: &'a File,
    block: Vec<u8>,
    /// Where the block begins in the file.
    at: u64,
    /// Bytes read so far.
    read: u64,
}

impl<'a> Backwards<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            file,
            block: Vec::new(),
            at: 0,
            read: 0,
        }
    }

    /// Returns the beginning of the line whose bytes (without a newline) end before `end`.
    ///
    /// # Errors
    /// When the file cannot be read, or the line has no beginning within [`GIVEN_UP`] bytes.
    fn line_start(&mut self, mut end: u64) -> io::Result<u64> {
        let mut passed = 0;
        while end > 0 {
            if passed == BLOCK_BYTES as u64 {
                // A hole has no newline, and need not be read.
                end = holes::data_before(self.file, end);
                if end == 0 {
                    break;
                }
            }
            if passed > GIVEN_UP {
                let why = format!(
                    "{} MiB without a line break are at its end, so this is not a journal; to resume, keep only its \
                     complete lines",
                    GIVEN_UP >> 20
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let held = self.at..self.at + self.block.len() as u64;
            if !held.contains(&(end - 1)) {
                self.at = end.saturating_sub(BLOCK_BYTES as u64);
                self.block.resize((end - self.at) as usize, 0);
                self.file.read_exact_at(&mut self.block, self.at)?;
                self.read += self.block.len() as u64;
            }
            let before = &self.block[..(end - self.at) as usize];
            if let Some(newline) = before.iter().rposition(|&b| b == b'\n') {
                return Ok(self.at + newline as u64 + 1);
            }
            passed += BLOCK_BYTES as u64;
            end = self.at;
        }
        Ok(0)
    }
}
