//! An index of a journal at one moment, for reading any part of it repeatedly.
//!
//! Only the place, run time and step of each line are kept (24 bytes), so that a journal of any length fits into
//! memory; the events themselves are read from the file when needed. Lines that are appended later are not in the
//! index.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::event::Event;
use super::event::foreign::{LARGEST_NUMBER, MOST_COUNTED};
use super::holes;
use super::tail::{GIVEN_UP, LONGEST_LINE, TailItem, endless, read_line, too_long};
use crate::file;

/// Most lines: 240 MB of them.
const MOST_LINES: usize = 10_000_000;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The reason why an event is a landmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landmark {
    Phase,
    Growth,
    /// A decision opens or is resolved.
    Decision,
    Checkpoint,
    /// The run goes back: a rollback, or a resume from a checkpoint.
    Back,
    Warning,
}

/// Facts of a line, known without reading it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Byte at which the line begins.
    pub offset: u64,
    /// Seconds of run time; never less than that of the line before.
    pub elapsed: f64,
    /// Optimizer steps since the run began; falls where a run goes back.
    pub step: u64,
}

/// The index of one run's journal. Lines are counted from 0; a line that cannot be read has the time and step of the
/// line before.
pub struct JournalIndex {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
    /// The end of the last complete line.
    end: u64,
    landmarks: Vec<(usize, Landmark)>,
    /// Lines that are too long to be read.
    long: Vec<usize>,
}

impl JournalIndex {
    /// Indexes the journal of the run at `dir`; a torn last line is left out.
    ///
    /// # Errors
    /// When the journal does not exist or cannot be read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("events.jsonl");
        let mut index = Self {
            file: file::open(&path)?,
            path,
            entries: Vec::new(),
            end: 0,
            landmarks: Vec::new(),
            long: Vec::new(),
        };
        index.scan()?;
        Ok(index)
    }

    fn scan(&mut self) -> io::Result<()> {
        let mut file = self.file.try_clone()?;
        let mut chunk = vec![0; CHUNK];
        // The beginning of a line that has not been read to its end, up to the longest length that is read, and its
        // length so far.
        let (mut begun, mut length) = (Vec::new(), 0u64);
        // At most as much as was read.
        let mut passed = 0;
        loop {
            let n = match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if self.entries.len() > MOST_LINES {
                let why = format!("it has more than {MOST_LINES} lines");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            for piece in chunk[..n].split_inclusive(|&b| b == b'\n') {
                let (rest, ends) = match piece.split_last() {
                    Some((b'\n', rest)) => (rest, true),
                    _ => (piece, false),
                };
                if ends && begun.is_empty() {
                    self.add(rest, rest.len() as u64);
                    continue;
                }
                length += rest.len() as u64;
                passed += rest.len() as u64;
                if passed > GIVEN_UP {
                    return Err(endless(self.entries.len() as u64 + 1));
                }
                if length <= LONGEST_LINE {
                    begun.extend_from_slice(rest);
                }
                if ends {
                    self.add(&begun, length);
                    begun.clear();
                    (length, passed) = (0, 0);
                }
            }
            if length > LONGEST_LINE {
                // A hole is part of a line, and need not be read.
                let at = file.stream_position()?;
                let Some(data) = holes::data_from(&file, at) else {
                    return Ok(());
                };
                file.seek(SeekFrom::Start(data))?;
                length += data - at;
            }
        }
    }

    /// Adds a line of `length` bytes, without its newline.
    fn add(&mut self, line: &[u8], length: u64) {
        let long = length > LONGEST_LINE;
        if long {
            self.long.push(self.entries.len());
        }
        let last = self.entries.last();
        let (before, step) = last.map_or((0.0, 0), |e| (e.elapsed, e.step));
        let mut entry = Entry {
            offset: self.end,
            elapsed: before,
            step,
        };
        if !long && let Some(glance) = glance(line) {
            entry.elapsed = glance.elapsed.max(before);
            entry.step = glance.step;
            if let Some(landmark) = glance.landmark {
                self.landmarks.push((self.entries.len(), landmark));
            }
        }
        self.entries.push(entry);
        self.end += length + 1;
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Landmarks, in order.
    pub fn landmarks(&self) -> &[(usize, Landmark)] {
        &self.landmarks
    }

    /// The lines from `from` on, up to `to` or until about a mebibyte is read; `None` for an empty one.
    ///
    /// # Errors
    /// When the file cannot be read, or has been cut since it was indexed.
    pub fn read(&self, from: usize, to: usize) -> io::Result<Vec<Option<TailItem>>> {
        let to = to.min(self.entries.len());
        if from >= to {
            return Ok(Vec::new());
        }
        let next = self.long.partition_point(|&i| i < from);
        let to = match self.long.get(next) {
            Some(&long) if long == from => return Ok(vec![Some(too_long(from as u64 + 1))]),
            Some(&long) => to.min(long),
            None => to,
        };
        let begin = self.entries[from].offset;
        let most = self.entries[from..to].partition_point(|e| e.offset < begin + CHUNK as u64);
        let to = from + most;
        let end = self.entries.get(to).map_or(self.end, |e| e.offset);
        let mut bytes = vec![0; (end - begin) as usize];
        self.file.read_exact_at(&mut bytes, begin)?;
        let lines = bytes.split_inclusive(|&b| b == b'\n');
        Ok((from..to)
            .zip(lines)
            .map(|(i, line)| read_line(i as u64 + 1, &line[..line.len() - 1]))
            .collect())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

struct Glance {
    elapsed: f64,
    step: u64,
    landmark: Option<Landmark>,
}

/// The few fields that the index needs; several times faster than reading the whole event.
#[derive(Deserialize)]
struct Fields<'a> {
    elapsed: f64,
    step: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    result: Option<IgnoredAny>,
}

fn glance(line: &[u8]) -> Option<Glance> {
    if let Ok(fields) = serde_json::from_slice::<Fields<'_>>(line) {
        let landmark = match &*fields.kind {
            // A phase's end carries its result.
            "phase" if fields.result.is_none() => Some(Landmark::Phase),
            "grow" => Some(Landmark::Growth),
            "decision" => Some(Landmark::Decision),
            "checkpoint" => Some(Landmark::Checkpoint),
            "rollback" | "resumed" => Some(Landmark::Back),
            "warning" => Some(Landmark::Warning),
            _ => None,
        };
        // An event with such numbers is refused.
        let fits = fields.step <= MOST_COUNTED && fields.elapsed.abs() <= LARGEST_NUMBER;
        return fits.then_some(Glance {
            elapsed: fields.elapsed,
            step: fields.step,
            landmark,
        });
    }
    // A newer writer's event may have other types in these fields: it is not a landmark, but it has a time.
    let event = Event::from_line(std::str::from_utf8(line).ok()?).ok()?;
    Some(Glance {
        elapsed: event.elapsed,
        step: event.step,
        landmark: None,
    })
}

#[cfg(test)]
mod tests;
