//! A directory held open by its descriptor.
//!
//! Every operation names one entry of the directory, never a path, and is relative to the descriptor: renaming the
//! directory, or putting a link in the place of one of its parents, changes nothing about where it leads. No operation
//! follows a link in the place of its entry.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::read::{bytes_of, refuse_lfs_pointer};
use super::temporary::temporary_name;

/// What an entry of a directory is; a link is a link, wherever it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Link,
    /// A FIFO, a socket or a device.
    Other,
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

    /// Where it was opened. What lies there now may be another directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// The same directory, known by another path: after it was renamed.
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

    /// Makes a directory in it under a hidden name of its own; returns the name, too.
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
    /// As [`Self::open_file`], and when the file has a second name (a hard link): what is appended would change a file
    /// that may lie elsewhere.
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
                "it has {links} names (hard links), and the others would change with it; give it a copy of its own: cp \
                 FILE COPY && mv COPY FILE"
            ))),
            false => Ok(file),
        }
    }

    fn open_regular(&self, name: &OsStr, flags: OFlag) -> io::Result<File> {
        let name = entry(name)?;
        // Opening a FIFO does not wait with O_NONBLOCK, which means nothing for regular files.
        let flags =
            flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o666);
        let fd = retried(|| openat(&self.fd, name, flags, mode)).map_err(|e| match e {
            Errno::ELOOP => invalid("it is a link, not a regular file"),
            // A FIFO without a reader, a socket; a directory that was to be written.
            Errno::ENXIO | Errno::EISDIR => invalid("it is not a regular file"),
            e => e.into(),
        })?;
        match kind_of(&fstat(&fd)?) {
            Kind::File => Ok(File::from(fd)),
            _ => Err(invalid("it is not a regular file")),
        }
    }

    /// The bytes of a regular file of at most `most` bytes.
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

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// When it does not exist or is not a link.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        let name = entry(name.as_ref())?;
        Ok(PathBuf::from(readlinkat(&self.fd, name)?))
    }

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

    /// What has this name; `None` when nothing does.
    ///
    /// # Errors
    /// When the directory cannot be searched.
    pub fn kind(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Kind>> {
        let name = entry(name.as_ref())?;
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(kind_of(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Names and kinds of its entries, in the file system's order, without `.` and `..`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self) -> io::Result<Vec<(OsString, Kind)>> {
        // Another open file description: a duplicate would share the place that reading has reached.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = retried(|| openat(&self.fd, ".", flags, Mode::empty()))?;
        let mut found = Vec::new();
        for listed in nix::dir::Dir::from_fd(fd)? {
            let name = OsStr::from_bytes(listed?.file_name().to_bytes()).to_os_string();
            if name == "." || name == ".." {
                continue;
            }
            // Gone since, if it has no kind.
            if let Some(kind) = self.kind(&name)? {
                found.push((name, kind));
            }
        }
        Ok(found)
    }

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

    /// Device and inode of an entry; `None` when there is none.
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

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A name of one entry; anything that leads out of the directory or further in is refused.
fn entry(name: &OsStr) -> io::Result<&OsStr> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(name),
        _ => Err(invalid("it is not the name of a directory's entry")),
    }
}

fn kind_of(stat: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFLNK => Kind::Link,
        _ => Kind::Other,
    }
}

/// Calls again while a signal interrupts.
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
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn refusal<T>(result: io::Result<T>) -> String {
        result.err().expect("refused").to_string()
    }

    #[test]
    fn links_fifos_and_paths_are_refused_and_change_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let victim = tmp.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let inside = tmp.path().join("dir");
        std::fs::create_dir(&inside).unwrap();
        symlink(&victim, inside.join("link")).unwrap();
        symlink(tmp.path(), inside.join("up")).unwrap();
        symlink(tmp.path().join("none"), inside.join("dangling")).unwrap();
        nix::unistd::mkfifo(&inside.join("fifo"), Mode::S_IRWXU).unwrap();
        std::fs::hard_link(&victim, inside.join("twin")).unwrap();
        let dir = Dir::open(&inside).unwrap();

        for name in ["link", "dangling"] {
            let why = refusal(dir.open_to_append(name));
            assert_eq!(why, "it is a link, not a regular file");
            assert_eq!(
                dir.create_file(name).unwrap_err().kind(),
                ErrorKind::AlreadyExists
            );
        }
        assert_eq!(
            refusal(dir.open_file("link")),
            "it is a link, not a regular file"
        );
        assert_eq!(
            refusal(dir.open_to_append("fifo")),
            "it is not a regular file"
        );
        assert_eq!(refusal(dir.open_file("fifo")), "it is not a regular file");
        assert_eq!(
            refusal(dir.open_subdir("up")),
            "it is a link, not a directory"
        );
        assert!(refusal(dir.open_to_append("twin")).starts_with("it has 2 names"));
        for name in ["../victim", "..", ".", "", "/etc/passwd", "fifo/"] {
            assert!(
                refusal(dir.create_file(name)).starts_with("it is not the name"),
                "{name}"
            );
        }
        assert!(!tmp.path().join("none").exists());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");

        // Replaced themselves, not what they lead to.
        for name in ["link", "dangling", "fifo", "twin"] {
            dir.replace_file(name, b"new").unwrap();
            assert_eq!(std::fs::read_to_string(inside.join(name)).unwrap(), "new");
        }
        dir.replace_link("link", OsStr::new("twin")).unwrap();
        assert_eq!(dir.read_link("link").unwrap(), Path::new("twin"));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(dir.entries().unwrap().len(), 5, "nothing temporary is left");
    }

    #[test]
    fn what_is_removed_ends_at_links() {
        let tmp = tempfile::tempdir().unwrap();
        let outside = tmp.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), "kept").unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let tree = dir.create_subdir("tree").unwrap();
        tree.create_subdir("deep")
            .unwrap()
            .create_file("file")
            .unwrap();
        symlink(&outside, tmp.path().join("tree/link")).unwrap();
        dir.remove_all("tree").unwrap();
        assert_eq!(dir.kind("tree").unwrap(), None);
        assert_eq!(
            std::fs::read_to_string(outside.join("file")).unwrap(),
            "kept"
        );
    }

    #[test]
    fn a_renamed_directory_is_still_written() {
        let tmp = tempfile::tempdir().unwrap();
        let (was, now) = (tmp.path().join("was"), tmp.path().join("now"));
        std::fs::create_dir(&was).unwrap();
        let dir = Dir::open(&was).unwrap();
        std::fs::rename(&was, &now).unwrap();
        std::fs::create_dir(&was).unwrap();
        dir.replace_file("file", b"1").unwrap();
        assert!(now.join("file").exists() && !was.join("file").exists());
    }
}
