//! `.jsonl`: every line is a row.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compressed::Text;
use super::cut::Cut;
use super::rows::{LONGEST, Rows, Split};
use super::tally::Tally;
use super::{Pieces, ReadOptions};
use crate::corpus::CorpusError;

pub fn pieces(path: &Path, text: Text, how: &ReadOptions, tally: &Arc<Tally>) -> Pieces {
    let rows = Rows::new(path.into(), lines(path, text), &how.field, tally);
    Box::new(Cut::new(rows, how.cuts))
}

/// Splits a text into its lines.
pub fn lines(path: &Path, text: Text) -> impl Split + use<> {
    Lines {
        path: path.into(),
        read: text.mark as u64,
        bytes: BufReader::with_capacity(1 << 18, text),
        line: 0,
    }
}

struct Lines {
    path: PathBuf,
    bytes: BufReader<Text>,
    line: usize,
    read: u64,
}

impl Split for Lines {
    fn next_row(&mut self, row: &mut Vec<u8>) -> Result<Option<usize>, CorpusError> {
        loop {
            row.clear();
            let read = (&mut self.bytes).take(LONGEST + 1).read_until(b'\n', row);
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
                return Err(CorpusError::Line {
                    path: self.path.clone(),
                    line: self.line,
                    what: format!("longer than {LONGEST} bytes"),
                });
            }
            if row.last() == Some(&b'\n') {
                row.pop();
            }
            if !row.trim_ascii().is_empty() {
                return Ok(Some(self.line));
            }
        }
    }
}
