//! Files: how files from untrusted sources are opened, and the only way in which this program creates files.
//!
//! For reading, only regular files are opened (a FIFO would block the reader), and no more is read than such a file can
//! sensibly hold. For writing, [`Dir`] is a directory held open, in which names are single entries and links are not
//! followed; [`NewFile`] and [`replace`] write under a temporary name, flush, and rename. Nothing outside this folder
//! creates, renames or removes files by other means, which clippy's disallowed methods and a test check.

#![allow(
    clippy::disallowed_methods,
    reason = "what the rest of the program uses instead"
)]

mod dir;
mod exec;
pub mod lock;
mod new;
mod read;
mod temporary;
mod unnamed;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub use dir::{Dir, Kind};
pub use exec::close_on_exec;
pub use new::{NewFile, replace};
pub use read::{open, read_bytes, read_start, read_text};
pub use temporary::{is_temporary, random};
pub use unnamed::{take_all, unnamed};

/// Opens a regular file for appending, making it where it is missing. Links in the path up to the file's directory are
/// followed, one in the file's place is not.
///
/// # Errors
/// As [`Dir::open_to_append`].
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let (dir, name) = Dir::of_file(path)?;
    dir.open_to_append(name)
}

/// Opens a device, a terminal or a pipe of this process's own by its name under `/dev`, for reading and writing without
/// waiting.
///
/// # Errors
/// When it is not there or may not be opened.
pub fn open_device(path: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Makes a directory and its missing parents.
///
/// # Errors
/// When one of them cannot be made, or is not a directory.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    match Dir::of_file(path) {
        Ok((parent, _)) => parent.sync(),
        Err(_) => Ok(()),
    }
}

/// Removes a file, a link, or anything else but a directory, at a path whose last part is not followed.
///
/// # Errors
/// When it does not exist or cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let (dir, name) = Dir::of_file(path)?;
    dir.remove_file(name)
}

/// Replaces the file that an operator has named for output: if that is a link, the file that it leads to.
///
/// # Errors
/// As [`replace`], and when the path is not a file, since it would be lost.
pub fn replace_output(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match path.canonicalize() {
        Ok(target) if target.is_file() => replace(&target, bytes),
        Ok(_) => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        )),
        Err(_) => replace(path, bytes),
    }
}
