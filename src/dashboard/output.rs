//! Redirects stdout and stderr of this process while the screen is shown.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::file;

/// The original stdout and stderr, which are restored when this is dropped.
pub struct OutputGuard {
    out: OwnedFd,
    err: OwnedFd,
    /// Output since the redirection that is not in a log yet.
    held: Option<File>,
}

/// Redirects stdout and stderr to `log` (or to `/dev/null` if it cannot be opened), because libraries and panics would write over
/// the screen. Must be called after [`Terminal::enter`], which duplicates stdout.
///
/// # Errors
/// When the descriptors cannot be duplicated.
pub fn redirect_output(log: &Path) -> io::Result<OutputGuard> {
    let guard = OutputGuard::new(None)?;
    point_output_at(log)?;
    Ok(guard)
}

/// Redirects output before a log exists: it is held in an unlinked file until [`OutputGuard::move_to`] or the end of the screen.
/// Without such a file it is lost.
///
/// # Errors
/// When the descriptors cannot be duplicated.
pub fn hold_output(held: Option<&File>) -> io::Result<OutputGuard> {
    let guard = OutputGuard::new(held.map(File::try_clone).transpose()?)?;
    match held {
        Some(held) => point_output(held)?,
        None => point_output(&file::open_device("/dev/null")?)?,
    }
    Ok(guard)
}

fn point_output_at(log: &Path) -> io::Result<()> {
    point_output(&file::open_to_append(log).or_else(|_| file::open_device("/dev/null"))?)
}

fn point_output(file: &File) -> io::Result<()> {
    dup2_stdout(file)?;
    dup2_stderr(file)?;
    Ok(())
}

impl OutputGuard {
    fn new(held: Option<File>) -> io::Result<Self> {
        Ok(Self {
            out: io::stdout().as_fd().try_clone_to_owned()?,
            err: io::stderr().as_fd().try_clone_to_owned()?,
            held,
        })
    }

    /// Redirects output to `log`, and appends the held output to it.
    ///
    /// # Errors
    /// When the descriptors cannot be duplicated.
    pub fn move_to(&mut self, log: &Path) -> io::Result<()> {
        let _ = io::stdout().flush();
        point_output_at(log)?;
        if let Some(held) = self.held.take() {
            let _ = io::stderr().write_all(&file::take_all(&held));
        }
        Ok(())
    }
}

impl Drop for OutputGuard {
    fn drop(&mut self) {
        let _ = io::stdout().flush();
        let _ = dup2_stdout(&self.out);
        let _ = dup2_stderr(&self.err);
        if let Some(held) = &self.held {
            let _ = io::stderr().write_all(&file::take_all(held));
        }
    }
}
