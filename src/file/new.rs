//! A file that gets its name only when all of it is on disk.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::dir::Dir;
use super::temporary::temporary_name;

/// A file being written under a temporary name in the directory of its final one. Dropped before [`Self::commit`], it
/// is removed.
#[derive(Debug)]
pub struct NewFile {
    dir: Dir,
    name: OsString,
    temporary: OsString,
    file: File,
    named: bool,
}

impl NewFile {
    /// Begins a file for `path`. Links in the path up to the file's directory are followed.
    ///
    /// # Errors
    /// When the directory does not exist or cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (dir, name) = Dir::of_file(path)?;
        Self::begin(dir, &name)
    }

    fn begin(dir: Dir, name: &OsStr) -> io::Result<Self> {
        let temporary = temporary_name(name);
        let file = dir.create_file(&temporary)?;
        Ok(Self {
            dir,
            name: name.to_os_string(),
            temporary,
            file,
            named: false,
        })
    }

    /// The open file, for writers that take one.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Flushes the file to the disk, gives it its name and flushes that. An existing entry of that name is replaced in
    /// one step.
    ///
    /// # Errors
    /// When that fails; an existing entry still has the name, unless only the last flush failed.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.take_name()?;
        self.dir.sync()
    }

    /// Gives the file its name without waiting for the disk, for files that can be made again.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn commit_unsynced(mut self) -> io::Result<()> {
        self.take_name()
    }

    fn take_name(&mut self) -> io::Result<()> {
        self.dir.rename(&self.temporary, &self.name)?;
        self.named = true;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.named {
            let _ = self.dir.remove_file(&self.temporary);
        }
    }
}

/// Replaces the file at `path` in one step. When this returns, the new file survives a power failure.
///
/// # Errors
/// When that fails. The old file is then unchanged.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = NewFile::create(path)?;
    new.write_all(bytes)?;
    new.commit()
}

impl Dir {
    /// Begins a file that gets the name at the end, replacing an existing entry.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn begin_file(&self, name: impl AsRef<OsStr>) -> io::Result<NewFile> {
        NewFile::begin(self.try_clone()?, name.as_ref())
    }

    /// Replaces a file, a link or a FIFO in one step. When this returns, the new file survives a power failure.
    ///
    /// # Errors
    /// When that fails. The old file is then unchanged.
    pub fn replace_file(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        let mut new = self.begin_file(name)?;
        io::Write::write_all(&mut new, bytes)?;
        new.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_complete() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("file.txt");
        let entries = || std::fs::read_dir(tmp.path()).unwrap().count();
        replace(&path, b"old").unwrap();
        let mut new = NewFile::create(&path).unwrap();
        new.write_all(b"half").unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap(), entries()),
            (b"old".to_vec(), 2)
        );
        drop(new);
        assert_eq!(
            (std::fs::read(&path).unwrap(), entries()),
            (b"old".to_vec(), 1)
        );
        replace(&path, b"new").unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap(), entries()),
            (b"new".to_vec(), 1)
        );
        assert!(replace(&tmp.path().join("none/file"), b"").is_err());
        assert!(replace(Path::new("/"), b"").is_err());
    }
}
