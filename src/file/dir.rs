//! A directory held open by its descriptor.
//!
//! Every operation names one entry of the directory, never a path, and is relative to the descriptor: renaming the
//! directory, or replacing one of its parents by a link, does not change which directory is used. No operation follows
//! a link at its entry.

mod entries;
mod facts;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::symlinkat;

use super::read::{bytes_of, refuse_lfs_pointer};
use super::temporary::temporary_name;

/// The kind of a directory's entry; a link is a link, wherever it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Link,
    /// A FIFO, a socket or a device.
    Other,
}

impl Kind {
    fn of(stat: &FileStat) -> Self {
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFDIR => Self::Directory,
            SFlag::S_IFLNK => Self::Link,
            _ => Self::Other,
        }
    }
}

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    /// Where it was opened, for messages.
    path: PathBuf,
}

impl Dir {
    /// Opens a directory by its path. Links in the path are followed: it is the caller's, or the operator's, own.
    ///
    /// # Errors
    /// When it does not exist, is not a directory, or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = retried(|| openat(AT_FDCWD, path, flags, Mode::empty()))?;
        let path = path.to_path_buf();
        Ok(Self { fd, path })
    }

    /// Opens the directory that holds the file at `path`, and returns it with the file's name.
    ///
    /// # Errors
    /// As [`Self::open`], and when the path does not end in a name.
    pub fn of_file(path: &Path) -> io::Result<(Self, OsString)> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "it does not end in a file's name",
            ));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok((Self::open(parent)?, name.to_os_string()))
    }

    /// The path at which it was opened. Another directory may be there now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// The same directory under its new path, after it was renamed.
    #[must_use]
    pub fn renamed(self, path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            ..self
        }
    }

    /// Duplicates the descriptor.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            path: self.path.clone(),
        })
    }

    /// Opens a directory in it.
    ///
    /// # Errors
    /// When it does not exist, is a link or not a directory, or cannot be opened.
    pub fn open_subdir(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = entry(name.as_ref())?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = retried(|| openat(&self.fd, name, flags, Mode::empty())).map_err(|e| match e {
            // Which of the two a link causes depends on the kernel.
            Errno::ELOOP | Errno::ENOTDIR => match self.kind(name) {
                Ok(Some(Kind::Link)) => invalid("it is a link, not a directory"),
                _ => invalid("it is not a directory"),
            },
            e => e.into(),
        })?;
        Ok(Self {
            fd,
            path: self.path.join(name),
        })
    }

    /// Makes a directory in it and opens it.
    ///
    /// # Errors
    /// When there is anything of that name, or the directory cannot be written.
    pub fn create_subdir(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        self.create_subdir_with(name.as_ref(), 0o777)
    }

    /// Makes a directory in it that only this user can look into, and opens it.
    ///
    /// # Errors
    /// As [`Self::create_subdir`].
    pub fn create_private_subdir(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        self.create_subdir_with(name.as_ref(), 0o700)
    }

    fn create_subdir_with(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        let name = entry(name)?;
        mkdirat(&self.fd, name, Mode::from_bits_truncate(mode))?;
        self.open_subdir(name)
    }

    /// Makes a directory in it under a hidden temporary name; also returns the name.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn create_temporary_subdir(&self, stem: &str) -> io::Result<(OsString, Self)> {
        let name = temporary_name(OsStr::new(stem));
        let made = self.create_subdir(&name)?;
        Ok((name, made))
    }

    /// Makes a file for writing.
    ///
    /// # Errors
    /// When there is anything of that name, or the directory cannot be written.
    pub fn create_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = entry(name.as_ref())?;
        let flags = OFlag::O_RDWR
            | OFlag::O_CREAT
            | OFlag::O_EXCL
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC
            | OFlag::O_NOCTTY;
        let mode = Mode::from_bits_truncate(0o666);
        let fd = retried(|| openat(&self.fd, name, flags, mode))?;
        Ok(File::from(fd))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it does not exist, is a link, a directory, a FIFO or a device, or cannot be opened.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let file = self.open_regular(name.as_ref(), OFlag::O_RDONLY)?;
        refuse_lfs_pointer(&file)?;
        Ok(file)
    }

    /// Opens a regular file for reading and appending, making it where it is missing.
    ///
    /// # Errors
    /// As [`Self::open_file`], and when the file has a second name (a hard link): appending would change a file that
    /// may be elsewhere.
    pub fn open_to_append(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.open_own(
            name.as_ref(),
            OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT,
        )
    }

    /// Opens a regular file for reading and writing, making it where it is missing.
    ///
    /// # Errors
    /// As [`Self::open_to_append`].
    pub fn open_to_write(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.open_own(name.as_ref(), OFlag::O_RDWR | OFlag::O_CREAT)
    }

    /// Opens a regular file that has no other name.
    fn open_own(&self, name: &OsStr, flags: OFlag) -> io::Result<File> {
        let file = self.open_regular(name, flags)?;
        let links = fstat(&file)?.st_nlink;
        match links > 1 {
            true => Err(invalid(format!(
                "it has {links} hard links, and a write would change all of them; replace it with a separate copy first: \
                 cp FILE COPY && mv COPY FILE"
            ))),
            false => Ok(file),
        }
    }

    fn open_regular(&self, name: &OsStr, flags: OFlag) -> io::Result<File> {
        let name = entry(name)?;
        // With O_NONBLOCK, opening a FIFO does not wait; for regular files the flag has no effect.
        let flags =
            flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o666);
        let fd = retried(|| openat(&self.fd, name, flags, mode)).map_err(|e| match e {
            Errno::ELOOP => invalid("it is a link, not a regular file"),
            // A FIFO without a reader, or a socket; or a directory opened for writing.
            Errno::ENXIO | Errno::EISDIR => invalid("it is not a regular file"),
            e => e.into(),
        })?;
        match Kind::of(&fstat(&fd)?) {
            Kind::File => Ok(File::from(fd)),
            _ => Err(invalid("it is not a regular file")),
        }
    }

    /// Reads a regular file of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Self::open_file`], and when it is larger.
    pub fn read_bytes(&self, name: impl AsRef<OsStr>, most: u64) -> io::Result<Vec<u8>> {
        bytes_of(self.open_file(name)?, most)
    }

    /// Makes a symbolic link, or replaces it in one step.
    ///
    /// # Errors
    /// When the directory cannot be written, or a directory has the name.
    pub fn replace_link(&self, name: impl AsRef<OsStr>, target: &OsStr) -> io::Result<()> {
        let name = entry(name.as_ref())?;
        let temporary = temporary_name(name);
        symlinkat(target, &self.fd, temporary.as_os_str())?;
        let renamed = self.rename(&temporary, name);
        if renamed.is_err() {
            let _ = self.remove_file(&temporary);
        }
        renamed?;
        self.sync()
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// When it does not exist or is not a link.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        let name = entry(name.as_ref())?;
        Ok(PathBuf::from(readlinkat(&self.fd, name)?))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Checks the name of one entry; refuses everything that leads out of the directory or further in.
fn entry(name: &OsStr) -> io::Result<&OsStr> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(name),
        _ => Err(invalid("it is not the name of a directory's entry")),
    }
}

/// Repeats a call while signals interrupt it.
fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why.into())
}

#[cfg(test)]
mod tests;
