//! Locks that only a process that may write the file can hold.
//!
//! `flock` can be taken by every user who may read a file, so any user of the machine could hold a run's lock. A write
//! lock on a range of bytes needs a descriptor that is open for writing. Linux's locks of open file descriptions
//! (`fcntl(2)`, F_OFD_SETLK) belong to the descriptor, as flock's do: closing another descriptor of the file does not
//! release them. Over NFS they are the server's locks.

use std::fs::File;
use std::io;

/// The outcome of taking a write lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// The lock was taken.
    Taken,
    /// Another descriptor has a write lock: it belongs to a process that may write the file.
    Held,
    /// Only read locks are in the way, which every user who may read the file can take.
    Read,
    /// The file system, or the system, has no such locks.
    Unsupported,
}

/// Takes a write lock on an entire file that is open for writing, without waiting. It ends when the last duplicate of
/// the descriptor is closed.
///
/// # Errors
/// When the system refuses for another reason than another lock.
pub fn lock(file: &File) -> io::Result<Locked> {
    match system::set(file) {
        Ok(()) => Ok(Locked::Taken),
        Err(e)
            if e.kind() == io::ErrorKind::WouldBlock
                || e.kind() == io::ErrorKind::PermissionDenied =>
        {
            match is_locked(file) {
                Some(true) => Ok(Locked::Held),
                Some(false) => Ok(Locked::Read),
                None => Ok(Locked::Unsupported),
            }
        }
        Err(e) if is_unsupported(&e) => Ok(Locked::Unsupported),
        Err(e) => Err(e),
    }
}

/// Whether another descriptor holds a write lock on the file; `None` where such locks are not supported. Takes no lock,
/// and only needs permission to read the file.
pub fn is_locked(file: &File) -> Option<bool> {
    system::get(file).ok()
}

fn is_unsupported(error: &io::Error) -> bool {
    let codes = [libc::ENOLCK, libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

#[cfg(target_os = "linux")]
mod system {
    use super::{File, io};
    use nix::fcntl::{FcntlArg, fcntl};

    fn whole(kind: libc::c_int) -> libc::flock {
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        }
    }

    pub fn set(file: &File) -> io::Result<()> {
        fcntl(file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK)))?;
        Ok(())
    }

    /// A read lock conflicts only with write locks.
    pub fn get(file: &File) -> io::Result<bool> {
        let mut lock = whole(libc::F_RDLCK);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{File, io};

    // Without such locks, callers rely on what the holder has written.
    pub fn set(_: &File) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }

    pub fn get(_: &File) -> io::Result<bool> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_lock_is_seen_by_readers_and_not_held_by_them() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("file");
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let (ours, other) = (open().unwrap(), open().unwrap());
        let reader = File::open(&path).unwrap();
        assert_eq!(is_locked(&reader), Some(false));
        assert_eq!(lock(&ours).unwrap(), Locked::Taken);
        assert_eq!(lock(&other).unwrap(), Locked::Held);
        assert_eq!(
            (is_locked(&reader), is_locked(&ours)),
            (Some(true), Some(false))
        );
        // A duplicate keeps it, another descriptor's end does not release it.
        let duplicate = ours.try_clone().unwrap();
        drop(ours);
        drop(open().unwrap());
        assert_eq!(lock(&other).unwrap(), Locked::Held);
        drop(duplicate);
        assert_eq!(lock(&other).unwrap(), Locked::Taken);
        // A lock that needs no write permission neither blocks nor counts as a holder.
        drop(other);
        reader.lock().unwrap();
        assert_eq!(is_locked(&File::open(&path).unwrap()), Some(false));
        assert_eq!(lock(&open().unwrap()).unwrap(), Locked::Taken);
    }
}
