//! `.txt`: documents separated by `<|endoftext|>`.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::compressed::Text;
use super::{Cuts, Piece, Pieces};
use crate::corpus::{CorpusError, END_OF_TEXT};

/// Bytes asked for at a time.
const BLOCK: usize = 1 << 20;

pub fn pieces(path: &Path, text: Text, cuts: Cuts) -> Pieces {
    Box::new(Plain {
        path: path.into(),
        read: text.mark,
        bytes: text,
        cuts,
        text: String::new(),
        told: 0,
        tail: Vec::new(),
        at_end: false,
        failed: false,
    })
}

struct Plain {
    path: PathBuf,
    bytes: Text,
    cuts: Cuts,
    /// The text read so far, and the number of its bytes that have been returned.
    text: String,
    told: usize,
    /// The first bytes of a character whose other bytes have not been read.
    tail: Vec<u8>,
    /// Bytes read so far.
    read: usize,
    at_end: bool,
    failed: bool,
}

impl Plain {
    /// Returns the first document or part, if the text read so far determines where it ends.
    fn whole(&mut self) -> Option<Piece> {
        let left = &self.text[self.told..];
        let end = memmem::find(left.as_bytes(), END_OF_TEXT.as_bytes());
        // A cut after the end would belong to another document.
        let cut = self.cuts.first(&left[..end.unwrap_or(left.len())]);
        let (n, skip, ends) = match (cut, end) {
            (Some(cut), _) => (cut, cut, false),
            (None, Some(end)) => (end, end + END_OF_TEXT.len(), true),
            (None, None) if self.at_end && !left.is_empty() => (left.len(), left.len(), false),
            (None, None) => return None,
        };
        let text = left[..n].to_string();
        self.told += skip;
        Some(Piece { text, ends })
    }

    fn more(&mut self) -> Result<(), CorpusError> {
        let start = self.tail.len();
        let mut block = std::mem::take(&mut self.tail);
        block.resize(BLOCK, 0);
        let n = loop {
            match self.bytes.read(&mut block[start..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let n = n.map_err(|source| CorpusError::Broken {
            path: self.path.clone(),
            at: self.read as u64,
            source,
        })?;
        self.text.drain(..std::mem::take(&mut self.told));
        self.at_end = n == 0;
        self.read += n;
        block.truncate(start + n);
        let begin = self.read - block.len();
        match std::str::from_utf8(&block) {
            Ok(text) => self.text.push_str(text),
            Err(error) => {
                let good = error.valid_up_to();
                if error.error_len().is_some() || self.at_end {
                    return Err(CorpusError::NotUtf8 {
                        path: self.path.clone(),
                        at: begin + good,
                    });
                }
                self.text.push_str(&String::from_utf8_lossy(&block[..good]));
                self.tail = block.split_off(good);
            }
        }
        Ok(())
    }
}

impl Iterator for Plain {
    type Item = Result<Piece, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(piece) = self.whole() {
                return Some(Ok(piece));
            }
            if self.at_end {
                return None;
            }
            if let Err(error) = self.more() {
                self.failed = true;
                return Some(Err(error));
            }
        }
        None
    }
}
