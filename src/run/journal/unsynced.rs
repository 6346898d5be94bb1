//! Bytes of the journal that the disk may not have yet.
//!
//! After a failed fsync Linux counts the pages it could not write as clean: a later fsync succeeds and proves nothing.
//! Bytes written since the last successful fsync are therefore kept, and written a second time, in the same place,
//! before the next fsync. Readers of the file see the same bytes throughout.

use std::io;

use super::sink::Sink;

/// Number of bytes after which an fsync is due even if no event asks for one; bounds the memory.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Bytes written since the last successful fsync.
#[derive(Default)]
pub(super) struct Unsynced {
    /// Offset of the first byte in the file; `None` where it is not known.
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

    /// Whether the offset of the next bytes is still to be determined.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Flushes the file, after rewriting what an earlier fsync may have lost. Returns a description of that repair.
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

    /// Whether an fsync has failed, so that the rewrite must come before any new bytes.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}
