//! `.json`: rows are the elements of one array, or else a sequence of values, each on one line or on several.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compressed::Text;
use super::cut::Cut;
use super::rows::{LONGEST, Rows, Split};
use super::tally::Tally;
use super::{Pieces, ReadOptions};
use crate::corpus::CorpusError;

pub fn pieces(path: &Path, text: Text, how: &ReadOptions, tally: &Arc<Tally>) -> Pieces {
    let rows = Rows::new(path.into(), values(path, text), &how.field, tally);
    Box::new(Cut::new(rows, how.cuts))
}

/// Splits a text into the elements of its array, or the values that follow each other.
pub fn values(path: &Path, text: Text) -> impl Split + use<> {
    Values {
        path: path.into(),
        read: text.mark as u64,
        bytes: BufReader::with_capacity(1 << 18, text),
        line: 1,
        place: Place::Start,
    }
}

/// The position of a reader in a file, between two values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Before the first value.
    Start,
    /// After the `[` of an array.
    ArrayStart,
    /// After a comma of an array.
    BehindComma,
    /// After a value of an array.
    BehindElement,
    /// After the `]` of an array.
    ArrayEnd,
    /// After a value that is not in an array.
    BehindValue,
}

struct Values {
    path: PathBuf,
    bytes: BufReader<Text>,
    /// The line number, from 1.
    line: usize,
    /// Bytes read so far.
    read: u64,
    place: Place,
}

impl Values {
    fn fail(&self, line: usize, what: &str) -> CorpusError {
        CorpusError::Line {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// Returns bytes that have been read but not consumed; empty at the end of the file.
    fn ready(&mut self) -> Result<&[u8], CorpusError> {
        loop {
            match self.bytes.fill_buf() {
                Ok(_) => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(CorpusError::Broken {
                        path: self.path.clone(),
                        at: self.read,
                        source,
                    });
                }
            }
        }
        Ok(self.bytes.buffer())
    }

    fn take(&mut self, n: usize) {
        self.bytes.consume(n);
        self.read += n as u64;
    }

    /// Returns the first byte that is not white space, without consuming it.
    fn peek(&mut self) -> Result<Option<u8>, CorpusError> {
        loop {
            let ready = self.ready()?;
            if ready.is_empty() {
                return Ok(None);
            }
            let spaces = ready.iter().take_while(|b| b.is_ascii_whitespace()).count();
            let lines = memchr::memchr_iter(b'\n', &ready[..spaces]).count();
            let found = ready.get(spaces).copied();
            self.line += lines;
            self.take(spaces);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Appends the value that begins here. If it is not JSON, at least one byte is consumed.
    fn value(&mut self, row: &mut Vec<u8>) -> Result<(), CorpusError> {
        let start = self.line;
        let mut scan = Scan::default();
        loop {
            let ready = self.ready()?;
            if ready.is_empty() {
                // A number or a word may end with the file.
                return match scan.depth == 0 && !scan.quoted {
                    true => Ok(()),
                    false => Err(self.fail(
                        start,
                        "not valid JSON: the file ends within the value that begins here",
                    )),
                };
            }
            let (n, ended) = scan.end(ready);
            row.extend_from_slice(&ready[..n]);
            let lines = memchr::memchr_iter(b'\n', &ready[..n]).count();
            self.line += lines;
            self.take(n);
            if ended {
                return Ok(());
            }
            if row.len() as u64 > LONGEST {
                return Err(self.fail(start, &format!("longer than {LONGEST} bytes")));
            }
        }
    }
}

/// The state of scanning a value.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    quoted: bool,
    escaped: bool,
    begun: bool,
}

impl Scan {
    /// Returns how many of the bytes belong to the value, and whether it ends there.
    fn end(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (i, &byte) in bytes.iter().enumerate() {
            if self.quoted {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.quoted = false;
                        if self.depth == 0 {
                            return (i + 1, true);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' if self.depth == 0 && self.begun => return (i, true),
                b'"' => self.quoted = true,
                b'{' | b'[' if self.depth == 0 && self.begun => return (i, true),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return (i + 1, true);
                    }
                }
                b',' | b'}' | b']' if self.depth == 0 && self.begun => return (i, true),
                _ if self.depth == 0 && self.begun && byte.is_ascii_whitespace() => {
                    return (i, true);
                }
                _ => {}
            }
            self.begun = true;
        }
        (bytes.len(), false)
    }
}

impl Split for Values {
    fn next_row(&mut self, row: &mut Vec<u8>) -> Result<Option<usize>, CorpusError> {
        loop {
            let next = self.peek()?;
            self.place = match (self.place, next) {
                (Place::Start | Place::BehindValue | Place::ArrayEnd, None) => return Ok(None),
                (_, None) => {
                    return Err(
                        self.fail(self.line, "not valid JSON: the file ends within its array")
                    );
                }
                (Place::Start, Some(b'[')) => Place::ArrayStart,
                (Place::ArrayStart | Place::BehindElement, Some(b']')) => Place::ArrayEnd,
                (Place::BehindElement, Some(b',')) => Place::BehindComma,
                (Place::BehindElement, Some(_)) => {
                    return Err(self.fail(
                        self.line,
                        "not valid JSON: a comma or ] is missing before this",
                    ));
                }
                (Place::ArrayEnd, Some(_)) => {
                    return Err(self.fail(
                        self.line,
                        "not valid JSON: this follows the end of the array",
                    ));
                }
                (place, Some(_)) => {
                    let line = self.line;
                    self.value(row)?;
                    self.place = match place {
                        Place::Start | Place::BehindValue => Place::BehindValue,
                        _ => Place::BehindElement,
                    };
                    return Ok(Some(line));
                }
            };
            self.take(1);
        }
    }
}
