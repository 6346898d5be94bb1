//! Writes a directory or file atomically: it gets its name only when all of it is on the disk.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::TensorError;
use crate::file::{Dir, Kind};

/// Bytes that must stay free on the disk.
const SPARE_BYTES: u64 = 64 << 20;

/// An output being written under a temporary name next to its target: a directory for files ([`Dir`]) or an empty file
/// ([`File`]). If it is dropped before [`Self::commit`], the temporary output is removed.
///
/// The temporary name is always the same, and is locked with flock while it is in use: the next process removes the remains of
/// a killed one, and two processes cannot write the same output.
#[derive(Debug)]
pub struct Output<C> {
    target: PathBuf,
    /// The directory of the target, and the target's name in it.
    parent: Dir,
    name: OsString,
    tmp: OsString,
    content: C,
    /// Holds the lock.
    _lock: File,
}

impl Output<Dir> {
    /// Begins a directory. An existing empty directory counts as missing. A directory to replace must look like a model: only
    /// plain files, among them a `config.json` or safetensors.
    ///
    /// # Errors
    /// When the target exists and may not be replaced, another process writes it, or its parent cannot be written.
    pub fn directory(target: &Path, replace: bool) -> Result<Self, TensorError> {
        let io = TensorError::io(target);
        let (parent, name) = parent(target)?;
        if parent.kind(&name).map_err(&io)?.is_some() && !is_empty_directory(&parent, &name) {
            let against = looks_like_a_model(&parent, &name).map_err(io)?;
            refuse(target, replace, against)?;
        }
        Self::begin(target, parent, name, |parent, tmp| {
            parent.create_subdir(tmp)
        })
    }

    /// Flushes everything to the disk and gives it its name, replacing an earlier directory.
    ///
    /// # Errors
    /// When that fails; nothing has changed at the target then.
    pub fn commit(self) -> Result<(), TensorError> {
        let io = TensorError::io(&self.target);
        let sync = || -> io::Result<()> {
            for (name, _) in self.content.entries()? {
                self.content.open_file(name)?.sync_all()?;
            }
            self.content.sync()
        };
        sync().map_err(&io)?;
        let replaces = self.parent.kind(&self.name).map_err(&io)?.is_some();
        if replaces && !is_empty_directory(&self.parent, &self.name) {
            // The old directory now has the temporary name. A failure to remove it does not affect the new one.
            exchange(&self.parent, &self.tmp, &self.name).map_err(&io)?;
        } else {
            self.parent.rename(&self.tmp, &self.name).map_err(&io)?;
        }
        self.parent.sync().map_err(io)
    }
}

impl Output<File> {
    /// Begins a file; only a regular file is replaced.
    ///
    /// # Errors
    /// As [`Output::directory`].
    pub fn file(target: &Path, replace: bool) -> Result<Self, TensorError> {
        let (parent, name) = parent(target)?;
        if let Some(kind) = parent.kind(&name).map_err(TensorError::io(target))? {
            let why = (kind != Kind::File).then_some("it is not a regular file");
            refuse(target, replace, why)?;
        }
        Self::begin(target, parent, name, |parent, tmp| parent.create_file(tmp))
    }

    /// Flushes the file to the disk and gives it its name, replacing an earlier file.
    ///
    /// # Errors
    /// When that fails; nothing has changed at the target then.
    pub fn commit(self) -> Result<(), TensorError> {
        let io = TensorError::io(&self.target);
        self.content.sync_all().map_err(&io)?;
        self.parent.rename(&self.tmp, &self.name).map_err(&io)?;
        self.parent.sync().map_err(io)
    }
}

impl<C: AsFd> Output<C> {
    fn begin(
        target: &Path,
        parent: Dir,
        name: OsString,
        make: impl Fn(&Dir, &OsStr) -> io::Result<C>,
    ) -> Result<Self, TensorError> {
        let mut tmp = OsString::from(".");
        tmp.push(&name);
        tmp.push(".writing");
        let io = |source| TensorError::io(&parent.path_of(&tmp))(source);
        let content = match make(&parent, &tmp) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // It is a leftover, unless another process holds its lock.
                let leftover = match parent.kind(&tmp).map_err(io)? {
                    Some(Kind::Directory) => {
                        let dir = parent.open_subdir(&tmp).map_err(io)?;
                        Some(descriptor(&dir).map_err(io)?)
                    }
                    Some(Kind::File) => Some(parent.open_file(&tmp).map_err(io)?),
                    _ => None,
                };
                if let Some(leftover) = leftover {
                    lock(&leftover, target)?;
                }
                parent.remove_all(&tmp).map_err(io)?;
                make(&parent, &tmp)
            }
            made => made,
        }
        .map_err(io)?;
        let lock_file = descriptor(&content).map_err(io)?;
        lock(&lock_file, target)?;
        Ok(Self {
            target: target.into(),
            parent,
            name,
            tmp,
            content,
            _lock: lock_file,
        })
    }
}

impl<C> Output<C> {
    /// Returns the directory to write files into, or the file itself.
    pub fn content(&self) -> &C {
        &self.content
    }

    /// Returns the final path.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Returns the temporary path, for messages.
    pub fn temporary(&self) -> PathBuf {
        self.parent.path_of(&self.tmp)
    }
}

impl<C> Drop for Output<C> {
    fn drop(&mut self) {
        // After a commit the temporary name is free, or belongs to the replaced output.
        let _ = self.parent.remove_all(&self.tmp);
    }
}

/// Checks that the disk at `at` has room for `bytes` and a reserve.
///
/// # Errors
/// [`TensorError::NoSpace`].
pub fn check_space(at: &Path, bytes: u64) -> Result<(), TensorError> {
    let Ok(stat) = nix::sys::statvfs::statvfs(at) else {
        return Ok(()); // without a report of free space, writing is attempted
    };
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let need = bytes.saturating_add(SPARE_BYTES);
    if free >= need {
        return Ok(());
    }
    Err(TensorError::NoSpace {
        path: at.into(),
        free: free >> 20,
        need: need.div_ceil(1 << 20),
    })
}

/// Returns an error if the target exists and must not be replaced.
fn refuse(target: &Path, replace: bool, against: Option<&'static str>) -> Result<(), TensorError> {
    match against {
        _ if !replace => Err(TensorError::Exists {
            path: target.into(),
        }),
        None => Ok(()),
        Some(what) => Err(TensorError::Irreplaceable {
            path: target.into(),
            what,
        }),
    }
}

fn is_empty_directory(parent: &Dir, name: &OsStr) -> bool {
    let entries = parent.open_subdir(name).and_then(|dir| dir.entries());
    entries.is_ok_and(|entries| entries.is_empty())
}

/// Returns why a directory does not look like a model, and so must not be replaced by one.
fn looks_like_a_model(parent: &Dir, name: &OsStr) -> io::Result<Option<&'static str>> {
    if parent.kind(name)? != Some(Kind::Directory) {
        return Ok(Some("it is not a directory"));
    }
    let mut is_model = false;
    for (name, kind) in parent.open_subdir(name)?.entries()? {
        if kind != Kind::File {
            return Ok(Some("it holds more than plain files"));
        }
        is_model |= name == "config.json";
        is_model |= Path::new(&name)
            .extension()
            .is_some_and(|e| e == "safetensors");
    }
    Ok((!is_model).then_some("it does not look like a model"))
}

/// Opens the directory of a target. Returns it, and the target's name in it.
fn parent(target: &Path) -> Result<(Dir, OsString), TensorError> {
    match target.file_name() {
        Some(_) => Dir::of_file(target).map_err(TensorError::io(target)),
        None => Err(TensorError::Irreplaceable {
            path: target.into(),
            what: "it has no name of its own",
        }),
    }
}

/// Duplicates the descriptor of an open file or directory.
fn descriptor(of: &impl AsFd) -> io::Result<File> {
    of.as_fd().try_clone_to_owned().map(File::from)
}

/// Locks a file that is being written. On file systems without locks it stays unlocked.
fn lock(file: &File, target: &Path) -> Result<(), TensorError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(TensorError::Busy {
            path: target.into(),
        }),
        _ => Ok(()),
    }
}

/// Exchanges the names of two directories, atomically if the system can.
fn exchange(parent: &Dir, new: &OsStr, old: &OsStr) -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::fcntl::{RenameFlags, renameat2};
        let flags = RenameFlags::RENAME_EXCHANGE;
        match renameat2(parent, new, parent, old, flags) {
            Ok(()) => return Ok(()),
            Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut aside = new.to_owned();
    aside.push("-old");
    parent.rename(old, &aside)?;
    if let Err(error) = parent.rename(new, old) {
        parent.rename(&aside, old)?;
        return Err(error);
    }
    parent.rename(&aside, new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_name_is_taken_at_the_end_or_never() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("model");
        let output = Output::directory(&target, false).unwrap();
        output.content().replace_file("config.json", b"1").unwrap();
        assert_eq!(names(tmp.path()), [".model.writing"]);
        drop(output);
        assert!(names(tmp.path()).is_empty());

        fs::create_dir(&target).unwrap();
        let output = Output::directory(&target, false).unwrap();
        output.content().replace_file("config.json", b"1").unwrap();
        output.commit().unwrap();
        assert_eq!(names(tmp.path()), ["model"]);
        assert_eq!(names(&target), ["config.json"]);

        let file = tmp.path().join("model.gguf");
        let output = Output::file(&file, false).unwrap();
        std::io::Write::write_all(&mut output.content(), b"2").unwrap();
        output.commit().unwrap();
        assert_eq!(names(tmp.path()), ["model", "model.gguf"]);
    }

    #[test]
    fn only_models_are_replaced_and_only_when_asked() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("model");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("notes.txt"), "").unwrap();
        let said = |replace| Output::directory(&target, replace).unwrap_err().to_string();
        assert!(said(true).ends_with("it does not look like a model"));
        fs::write(target.join("config.json"), "old").unwrap();
        assert!(said(false).contains("model exists; choose another path"));
        fs::create_dir(target.join("sub")).unwrap();
        assert!(said(true).ends_with("it holds more than plain files"));
        fs::remove_dir(target.join("sub")).unwrap();

        let output = Output::directory(&target, true).unwrap();
        output
            .content()
            .replace_file("config.json", b"new")
            .unwrap();
        assert_eq!(
            fs::read_to_string(target.join("config.json")).unwrap(),
            "old"
        );
        output.commit().unwrap();
        assert_eq!(names(tmp.path()), ["model"]);
        assert_eq!(names(&target), ["config.json"]);
        assert_eq!(
            fs::read_to_string(target.join("config.json")).unwrap(),
            "new"
        );

        let said = |path: &Path| Output::file(path, true).unwrap_err().to_string();
        assert!(said(&target).ends_with("it is not a regular file"));
        assert!(said(&tmp.path().join("none/..")).contains("no name of its own"));
        assert!(said(Path::new("/")).contains("cannot be replaced"));
    }

    #[test]
    fn leftovers_are_cleared_and_living_ones_respected() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("model");
        fs::create_dir(tmp.path().join(".model.writing")).unwrap();
        fs::write(tmp.path().join(".model.writing/half"), "").unwrap();
        let output = Output::directory(&target, false).unwrap();
        assert!(output.content().entries().unwrap().is_empty());
        let told = Output::directory(&target, false).unwrap_err().to_string();
        assert!(
            told.contains("is being written by another process"),
            "{told}"
        );
        output.commit().unwrap();
    }

    #[test]
    fn a_model_larger_than_the_disk_is_refused_beforehand() {
        let tmp = tempfile::tempdir().unwrap();
        let told = check_space(tmp.path(), u64::MAX).unwrap_err().to_string();
        assert!(told.contains("MB are needed: make room"), "{told}");
        check_space(tmp.path(), 1).unwrap();
    }
}
