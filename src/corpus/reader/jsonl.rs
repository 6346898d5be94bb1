//! `.jsonl`: the field `text` of every line is a document.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::compressed::Bytes;
use super::{Cuts, Piece, Pieces};
use crate::corpus::CorpusError;

/// A longer line is no document.
const LONGEST: u64 = 1 << 30;

pub fn pieces(path: &Path, bytes: Bytes, cuts: Cuts) -> Pieces {
    let lines = Lines {
        path: path.into(),
        bytes: BufReader::with_capacity(1 << 18, bytes),
        line: 0,
        read: 0,
        failed: false,
    };
    Box::new(Cut::new(lines, cuts))
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

struct Lines {
    path: PathBuf,
    bytes: BufReader<Bytes>,
    line: usize,
    read: u64,
    failed: bool,
}

impl Lines {
    /// The next document; none at the end.
    fn document(&mut self) -> Result<Option<String>, CorpusError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut self.bytes)
                .take(LONGEST + 1)
                .read_until(b'\n', &mut line);
            let n = read.map_err(|source| CorpusError::Broken {
                path: self.path.clone(),
                at: self.read,
                source,
            })?;
            if n == 0 {
                return Ok(None);
            }
            self.read += n as u64;
            self.line += 1;
            if n as u64 > LONGEST {
                return Err(self.fail(format!("longer than {LONGEST} bytes")));
            }
            if !line.trim_ascii().is_empty() {
                return self.text(&line).map(Some);
            }
        }
    }

    fn text(&self, line: &[u8]) -> Result<String, CorpusError> {
        let error = match serde_json::from_slice::<Line>(line) {
            Ok(line) => return Ok(line.text.into_owned()),
            Err(error) => error,
        };
        Err(
            self.fail(match serde_json::from_slice::<serde_json::Value>(line) {
                Ok(_) => "no string field \"text\"".into(),
                Err(_) => format!("no JSON: {error}"),
            }),
        )
    }

    fn fail(&self, what: String) -> CorpusError {
        CorpusError::Line {
            path: self.path.clone(),
            line: self.line,
            what,
        }
    }
}

impl Iterator for Lines {
    type Item = Result<String, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.document().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Documents in parts.
pub struct Cut<I> {
    documents: I,
    cuts: Cuts,
    rest: Option<String>,
}

impl<I> Cut<I> {
    pub fn new(documents: I, cuts: Cuts) -> Self {
        Self {
            documents,
            cuts,
            rest: None,
        }
    }
}

impl<I: Iterator<Item = Result<String, CorpusError>>> Iterator for Cut<I> {
    type Item = Result<Piece, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = match self.rest.take() {
            Some(rest) => rest,
            None => match self.documents.next()? {
                Ok(text) => text,
                Err(error) => return Some(Err(error)),
            },
        };
        let cut = self.cuts.first(&text);
        self.rest = cut.map(|at| text.split_off(at));
        let ends = self.rest.is_none();
        Some(Ok(Piece { text, ends }))
    }
}
