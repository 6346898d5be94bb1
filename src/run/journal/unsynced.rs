//! Bytes of the journal that the disk may not have yet.
//!
//! After a failed fsync Linux counts the pages it could not write as clean: a later fsync succeeds and proves nothing.
//! What was written since the last fsync that succeeded is therefore kept, and written a second time, in the same
//! place, before the next one. Readers of the file see the same bytes all the while.

use std::io;

use super::sink::Sink;

/// Bytes after which an fsync is due, even if no event asks for one: that many are kept at most.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// What was written since the last fsync that succeeded.
#[derive(Default)]
pub(super) struct Unsynced {
    /// Place of the first byte in the file; `None` where that is not known.
    at: Option<u64>,
    bytes: Vec<u8>,
    /// Whether an fsync has failed since.
    failed: bool,
}

impl Unsynced {
    /// Bytes that may still be appended before an fsync is due.
    pub(super) fn room(&self) -> usize {
        MOST_BYTES - self.bytes.len().min(MOST_BYTES)
    }

    /// Remembers bytes that are about to be appended to `sink`, or have been: `size` was its length before.
    pub(super) fn add(&mut self, size: Option<u64>, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.at = size;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether the place of the next bytes has to be asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Flushes the file, after what an earlier fsync may have lost has been written again. Returns what is to be said
    /// of that.
    ///
    /// # Errors
    /// When the disk fails again.
    pub(super) fn sync(&mut self, sink: &mut dyn Sink) -> io::Result<Option<String>> {
        let again = match self.failed {
            true => Some(self.write_again(sink)?),
            false => None,
        };
        if let Err(error) = sink.sync() {
            self.failed = true;
            return Err(error);
        }
        *self = Self::default();
        Ok(again)
    }

    fn write_again(&self, sink: &mut dyn Sink) -> io::Result<String> {
        let n = self.bytes.len();
        let size = sink.size().ok();
        match self.at {
            Some(at) if size == Some(at + n as u64) => {
                sink.rewrite(at, &self.bytes)?;
                Ok(format!(
                    "the {n} bytes that the failed flush may have lost were written a second time"
                ))
            }
            _ => Ok(format!(
                "{n} bytes from before the failed flush could not be written a second time, since the file has changed \
                 meanwhile: after a power failure they may be missing"
            )),
        }
    }

    /// Whether an fsync has failed, so that another one must come before anything new is written.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}
