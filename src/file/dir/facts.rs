//! An open directory itself: whether it is on disk, still there, and whose it is.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::Dir;
use crate::file::temporary::temporary_name;

impl Dir {
    /// Waits until its entries are on disk. A file system that cannot flush directories is taken as it is.
    ///
    /// # Errors
    /// When the disk reports a failure.
    pub fn sync(&self) -> io::Result<()> {
        match nix::unistd::fsync(&self.fd) {
            Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether it has been removed: nothing can be made in it any more.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn is_deleted(&self) -> io::Result<bool> {
        Ok(fstat(&self.fd)?.st_nlink == 0)
    }

    /// When an entry was last made, renamed or removed.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn modified(&self) -> io::Result<SystemTime> {
        let dir = File::from(self.fd.try_clone()?);
        dir.metadata()?.modified()
    }

    /// Returns device and inode, which identify the directory independently of its path.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn id(&self) -> io::Result<(u64, u64)> {
        let stat = fstat(&self.fd)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The user that owns it.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.fd)?.st_uid)
    }

    /// The user that owns what this process makes in it: as a rule this process's own, but network file systems may
    /// give everything to one user.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn owner_of_new_files(&self) -> io::Result<u32> {
        let name = temporary_name(OsStr::new("owner"));
        let file = self.create_file(&name)?;
        let owner = fstat(&file).map(|stat| stat.st_uid);
        let _ = self.remove_file(&name);
        Ok(owner?)
    }
}
