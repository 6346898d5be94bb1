//! The file that a journal is written to.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Operations that the journal needs of a file that is open for appending.
pub trait Sink: Send {
    /// One write(2); may write less than it is given.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn sync(&mut self) -> io::Result<()>;
    /// Bytes of the file.
    fn size(&self) -> io::Result<u64>;
    /// Overwrites bytes that have been appended before.
    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Sink for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        rewrite(self, at, bytes)
    }
}

/// Writes into a file in place, even if it is open for appending (where Linux would ignore the offset).
/// The file's only writer must be this thread.
///
/// # Errors
/// When the disk fails.
fn rewrite(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags - OFlag::O_APPEND))?;
    let written = file.write_all_at(bytes, at);
    fcntl(file, FcntlArg::F_SETFL(flags))?;
    written
}
