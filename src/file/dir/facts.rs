//! Facts about an open directory itself: whether it is on disk, whether it still exists, and who owns it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::Dir;
use crate::file::temporary::temporary_name;

impl Dir {
    /// Waits until its entries are on disk. Does nothing on a file system that cannot flush directories.
    ///
    /// # Errors
    /// When the disk reports a failure.
    pub fn sync(&self) -> io::Result<()> {
        match nix::unistd::fsync(&self.fd) {
            Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether it has been removed, so that nothing can be created in it.
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

    /// Returns the user that owns it.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.fd)?.st_uid)
    }

    /// Returns the user that owns files which this process makes in it: usually the process's own user, but network
    /// file systems may assign everything to one user.
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
