//! Reads what a client sends, line by line.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;

use super::protocol::{LONGEST_INCOMING, Refusal};

/// The reason why no line was read.
pub(super) enum LineError {
    Refused(Refusal),
    Io,
}

/// Reads lines of bounded length. A call of [`Self::next`] may be cancelled; what it has read is kept.
pub(super) struct Lines {
    reading: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(reading: OwnedReadHalf) -> Self {
        Self {
            reading: BufReader::new(reading),
            line: Vec::new(),
        }
    }

    /// Returns the next line without its newline; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            let bytes = self.reading.fill_buf().await.map_err(|_| LineError::Io)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let newline = bytes.iter().position(|&b| b == b'\n');
            let part = &bytes[..newline.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > LONGEST_INCOMING {
                return Err(LineError::Refused(Refusal::TooLong));
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(newline.is_some());
            self.reading.consume(used);
            if newline.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}
