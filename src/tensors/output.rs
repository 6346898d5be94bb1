//! A directory or file in the making: it takes its name when all of it is on the disk, or never.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::TensorError;

/// Bytes that stay free beside what is written.
const SPARE_BYTES: u64 = 64 << 20;

/// What is being written, under a temporary name beside its target. Dropped before [`Self::commit`], nothing is left.
///
/// The temporary name is always the same and flocked while it is in use: what a killed process left is cleared away by
/// the next one, and two processes do not write the same thing.
#[derive(Debug)]
pub struct Output {
    target: PathBuf,
    tmp: PathBuf,
    is_directory: bool,
    /// Holds the lock.
    _lock: File,
}

impl Output {
    /// Begins a directory. An empty one of that name counts as none; one to replace must look like a model: plain files
    /// alone, with a `config.json` or safetensors among them.
    ///
    /// # Errors
    /// When the target exists and may not be replaced, another process writes it, or its parent cannot be written.
    pub fn directory(target: &Path, replace: bool) -> Result<Self, TensorError> {
        if is_there(target)? && !is_empty_directory(target) {
            refuse(
                target,
                replace,
                looks_like_a_model(target).map_err(TensorError::io(target))?,
            )?;
        }
        Self::begin(target, true)
    }

    /// Begins a file; only a regular file is replaced.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn file(target: &Path, replace: bool) -> Result<Self, TensorError> {
        if is_there(target)? {
            let regular = fs::symlink_metadata(target).is_ok_and(|m| m.is_file());
            let why = (!regular).then_some("it is no regular file");
            refuse(target, replace, why)?;
        }
        Self::begin(target, false)
    }

    fn begin(target: &Path, is_directory: bool) -> Result<Self, TensorError> {
        let tmp = beside(target, ".writing")?;
        let make = || {
            if is_directory {
                fs::create_dir(&tmp)
            } else {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).open(&tmp).map(drop)
            }
        };
        match make() {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // A leftover: nobody holds its lock.
                drop(lock(&tmp, target)?);
                remove(&tmp).and_then(|()| make())
            }
            made => made,
        }
        .map_err(TensorError::io(&tmp))?;
        let lock = lock(&tmp, target)?;
        Ok(Self {
            target: target.into(),
            tmp,
            is_directory,
            _lock: lock,
        })
    }

    /// Where to write: the directory to put files in, or the file itself, which exists and is empty.
    pub fn path(&self) -> &Path {
        &self.tmp
    }

    /// The name it takes in the end.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Flushes everything to the disk and gives it its name; what had the name before is gone afterwards.
    ///
    /// # Errors
    /// When that fails; nothing has changed at the target then.
    pub fn commit(self) -> Result<(), TensorError> {
        sync(&self.tmp)?;
        let io = TensorError::io(&self.target);
        if self.is_directory && is_there(&self.target)? && !is_empty_directory(&self.target) {
            exchange(&self.tmp, &self.target).map_err(io)?;
            // What lies there now is the old one; that it cannot be removed does the new one no harm.
        } else {
            fs::rename(&self.tmp, &self.target).map_err(io)?;
        }
        sync_one(parent(&self.target))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a commit there is nothing there, or what was replaced.
        let _ = remove(&self.tmp);
    }
}

/// Refuses when fewer bytes than these, and a reserve, are free where something is to be written.
///
/// # Errors
/// [`TensorError::NoSpace`].
pub fn check_space(at: &Path, bytes: u64) -> Result<(), TensorError> {
    let Ok(stat) = nix::sys::statvfs::statvfs(at) else {
        return Ok(()); // a file system that does not say is tried
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

/// An error unless an existing target may be replaced and nothing speaks against it.
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

fn is_there(path: &Path) -> Result<bool, TensorError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(TensorError::io(path)(source)),
    }
}

fn is_empty_directory(path: &Path) -> bool {
    let real = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    real && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// What speaks against deleting this in favour of a new model.
fn looks_like_a_model(path: &Path) -> io::Result<Option<&'static str>> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(Some("it is no directory"));
    }
    let mut is_model = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            return Ok(Some("it holds more than plain files"));
        }
        let name = PathBuf::from(entry.file_name());
        is_model |= name.as_os_str() == "config.json";
        is_model |= name.extension().is_some_and(|e| e == "safetensors");
    }
    Ok((!is_model).then_some("it does not look like a model"))
}

/// A hidden name beside the target.
fn beside(target: &Path, ending: &str) -> Result<PathBuf, TensorError> {
    let Some(name) = target.file_name() else {
        return Err(TensorError::Irreplaceable {
            path: target.into(),
            what: "it has no name of its own",
        });
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(ending);
    Ok(target.with_file_name(hidden))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Takes the lock of what is at `tmp`; file systems without locks are taken as they are.
fn lock(tmp: &Path, target: &Path) -> Result<File, TensorError> {
    let file = File::open(tmp).map_err(TensorError::io(tmp))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(TensorError::Busy {
            path: target.into(),
        }),
        _ => Ok(file),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// Waits until a file, or a directory with all its files, is on the disk.
fn sync(path: &Path) -> Result<(), TensorError> {
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(TensorError::io(path))? {
            sync(&entry.map_err(TensorError::io(path))?.path())?;
        }
    }
    sync_one(path)
}

fn sync_one(path: &Path) -> Result<(), TensorError> {
    let file = File::open(path).map_err(TensorError::io(path))?;
    file.sync_all().map_err(TensorError::io(path))
}

/// Lets two directories change names, at once where the system can.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let flags = RenameFlags::RENAME_EXCHANGE;
        match renameat2(AT_FDCWD, new, AT_FDCWD, old, flags) {
            Ok(()) => return Ok(()),
            Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut aside = new.as_os_str().to_owned();
    aside.push("-old");
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        fs::write(output.path().join("config.json"), "1").unwrap();
        assert_eq!(names(tmp.path()), [".model.writing"]);
        drop(output);
        assert!(names(tmp.path()).is_empty());

        fs::create_dir(&target).unwrap();
        let output = Output::directory(&target, false).unwrap();
        fs::write(output.path().join("config.json"), "1").unwrap();
        output.commit().unwrap();
        assert_eq!(names(tmp.path()), ["model"]);
        assert_eq!(names(&target), ["config.json"]);

        let file = tmp.path().join("model.gguf");
        let output = Output::file(&file, false).unwrap();
        fs::write(output.path(), "2").unwrap();
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
        assert!(said(false).contains("model exists; name another place"));
        fs::create_dir(target.join("sub")).unwrap();
        assert!(said(true).ends_with("it holds more than plain files"));
        fs::remove_dir(target.join("sub")).unwrap();

        let output = Output::directory(&target, true).unwrap();
        fs::write(output.path().join("config.json"), "new").unwrap();
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
        assert!(said(&target).ends_with("it is no regular file"));
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
        assert!(names(output.path()).is_empty());
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
