//! Lists, inspects, renames and removes the entries of an open directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Dir, Kind, entry, retried};

impl Dir {
    /// Renames an entry, replacing a file, a link or an empty directory of the new name.
    ///
    /// # Errors
    /// When that fails; nothing has changed then.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        let (from, to) = (entry(from.as_ref())?, entry(to.as_ref())?);
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file, a link, or anything else but a directory.
    ///
    /// # Errors
    /// When it does not exist or cannot be removed.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = entry(name.as_ref())?;
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// When it is not empty or not a directory, or cannot be removed.
    pub fn remove_empty_subdir(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = entry(name.as_ref())?;
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)?)
    }

    /// Removes an entry and, if it is a directory, everything in it. Links in it are removed, not followed.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = entry(name.as_ref())?;
        if self.kind(name)? != Some(Kind::Directory) {
            return self.remove_file(name);
        }
        let inside = self.open_subdir(name)?;
        for (entry, _) in inside.entries()? {
            inside.remove_all(&entry)?;
        }
        self.remove_empty_subdir(name)
    }

    /// Returns the kind of the entry of this name; `None` if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be searched.
    pub fn kind(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Kind>> {
        let name = entry(name.as_ref())?;
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Kind::of(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns names and kinds of its entries, in the file system's order, without `.` and `..`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self) -> io::Result<Vec<(OsString, Kind)>> {
        // Another open file description: a duplicate would share the read position.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = retried(|| openat(&self.fd, ".", flags, Mode::empty()))?;
        let mut found = Vec::new();
        for listed in nix::dir::Dir::from_fd(fd)? {
            let name = OsStr::from_bytes(listed?.file_name().to_bytes()).to_os_string();
            if name == "." || name == ".." {
                continue;
            }
            // An entry without a kind has been removed meanwhile.
            if let Some(kind) = self.kind(&name)? {
                found.push((name, kind));
            }
        }
        Ok(found)
    }

    /// Returns device and inode of an entry; `None` if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be searched.
    pub fn id_of(&self, name: impl AsRef<OsStr>) -> io::Result<Option<(u64, u64)>> {
        let name = entry(name.as_ref())?;
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}
