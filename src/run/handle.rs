//! A run's directory, held open by the process that writes it.
//!
//! Everything that the process makes, renames or removes in the directory goes through the descriptors opened here. A
//! link or another directory that is put in the place of the run's directory, or of a part of it, is not written to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use nix::unistd::{Uid, User, geteuid};

use super::dir::RunDir;
use crate::file::{Dir, Kind, is_temporary};
use crate::text;

/// Names in a run's directory.
pub const EVENTS: &str = "events.jsonl";
pub const CONFIG: &str = "config.toml";
pub const DECISIONS: &str = "decisions.json";
pub const LOCK: &str = "lock";
pub const LOG: &str = "log.txt";
const CHECKPOINTS: &str = "checkpoints";
const RANK: &str = "rank";

#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    #[error("cannot open {}: {source}", text::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{} is a link to {}, and a resumed run would write and delete files there. Copy the run together with the linked \
         directory, and resume the copy: {copy}",
        text::path(path),
        text::path(target)
    )]
    Link {
        path: PathBuf,
        target: PathBuf,
        copy: String,
    },
    #[error(
        "{} is not a directory: move it away, or copy the run without it: {copy}",
        text::path(path)
    )]
    NotADirectory { path: PathBuf, copy: String },
    #[error(
        "{} belongs to user {owner}, who could change the run during training. Copy the run and resume the copy: {copy}",
        text::path(path)
    )]
    Foreign {
        path: PathBuf,
        owner: String,
        copy: String,
    },
}

/// The directory of a run and those in it.
#[derive(Debug)]
struct Opened {
    root: Arc<Dir>,
    checkpoints: Arc<Dir>,
    rank: Arc<Dir>,
}

/// A run's directory, open for writing.
#[derive(Debug)]
pub struct RunHandle {
    dir: RunDir,
    /// Opened again when a directory was deleted and recreated.
    opened: RwLock<Opened>,
}

impl RunHandle {
    /// Opens the directory of a run that exists, and makes directories that it lacks.
    ///
    /// # Errors
    /// When it cannot be opened, when a directory in it is a link, or when it or a directory in it belongs to another
    /// user; the message describes how to copy the run.
    pub fn open(dir: &RunDir) -> Result<Self, HandleError> {
        let root = Dir::open(dir.path()).map_err(io_at(dir.path()))?;
        Self::of(dir, root)
    }

    /// Takes over the open directory of a run.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(dir: &RunDir, root: Dir) -> Result<Self, HandleError> {
        let opened = RwLock::new(open_all(dir, root)?);
        Ok(Self {
            dir: dir.clone(),
            opened,
        })
    }

    /// The path of the run when it was opened.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The run's directory.
    pub fn root(&self) -> Arc<Dir> {
        Arc::clone(&self.read().root)
    }

    /// The directory of checkpoints, made again if it was deleted.
    ///
    /// # Errors
    /// When it cannot be made again.
    pub fn checkpoints(&self) -> io::Result<Arc<Dir>> {
        self.subdir(CHECKPOINTS, |opened| &mut opened.checkpoints)
    }

    /// The directory of rank files, made again if it was deleted.
    ///
    /// # Errors
    /// When it cannot be made again.
    pub fn rank(&self) -> io::Result<Arc<Dir>> {
        self.subdir(RANK, |opened| &mut opened.rank)
    }

    /// Makes the run's directory again where it was, after it was deleted or moved away.
    ///
    /// # Errors
    /// When that fails, or something else has the name now.
    pub fn make_again(&self) -> Result<(), HandleError> {
        let path = self.dir.path();
        let there = Dir::open(path).and_then(|there| there.id()).ok();
        // If it is the same directory, only files in it were deleted.
        if there.is_none() || there != self.root().id().ok() {
            crate::file::create_dirs(path).map_err(io_at(path))?;
            let root = Dir::open(path).map_err(io_at(path))?;
            *self.write() = open_all(&self.dir, root)?;
        }
        Ok(())
    }

    /// Removes the run's directory with everything in it, if it still is where it was made.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        let (runs, name) = Dir::of_file(self.dir.path())?;
        match runs.id_of(&name)? == Some(self.root().id()?) {
            true => runs.remove_all(&name),
            false => Ok(()),
        }
    }

    /// Removes what an interrupted write left behind. Only the holder of the run's lock may do so.
    pub fn clear_leftovers(&self) {
        let (root, rank) = (self.root(), self.rank());
        for dir in [Some(root), rank.ok()].into_iter().flatten() {
            for (name, kind) in dir.entries().unwrap_or_default() {
                if kind == Kind::File && is_temporary(&name) {
                    // A leftover that stays does no harm.
                    let _ = dir.remove_file(&name);
                }
            }
        }
    }

    fn subdir(
        &self,
        name: &str,
        which: impl Fn(&mut Opened) -> &mut Arc<Dir>,
    ) -> io::Result<Arc<Dir>> {
        let mut opened = self.write();
        if which(&mut opened).is_deleted()? {
            let root = Arc::clone(&opened.root);
            *which(&mut opened) = Arc::new(made(&root, name)?);
        }
        Ok(Arc::clone(which(&mut opened)))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Opened> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_all(dir: &RunDir, root: Dir) -> Result<Opened, HandleError> {
    let own = OwnUser::default();
    own.check(dir, &root, &root)?;
    let subdir = |name: &str| -> Result<Arc<Dir>, HandleError> {
        let path = root.path_of(name);
        let kind = root.kind(name).map_err(io_at(&path))?;
        match kind {
            Some(Kind::Link) => {
                return Err(HandleError::Link {
                    target: root.read_link(name).unwrap_or_default(),
                    copy: copy_with(dir, name),
                    path,
                });
            }
            Some(Kind::Directory) | None => {}
            Some(_) => {
                let copy = copy_of(dir);
                return Err(HandleError::NotADirectory { path, copy });
            }
        }
        let opened = made(&root, name).map_err(io_at(&path))?;
        own.check(dir, &root, &opened)?;
        Ok(Arc::new(opened))
    };
    Ok(Opened {
        checkpoints: subdir(CHECKPOINTS)?,
        rank: subdir(RANK)?,
        root: Arc::new(root),
    })
}

/// Opens a directory in `root`, making it where it is missing.
fn made(root: &Dir, name: &str) -> io::Result<Dir> {
    match root.create_subdir(name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => root.open_subdir(name),
        // A directory that exists on a full or read-only file system.
        Err(e) => root.open_subdir(name).map_err(|_| e),
        made => made,
    }
}

/// Decides which users' directories count as this process's own.
#[derive(Default)]
struct OwnUser {
    /// The owner of new files, asked once when it matters.
    of_new_files: std::cell::OnceCell<Option<u32>>,
}

impl OwnUser {
    fn check(&self, run: &RunDir, root: &Dir, dir: &Dir) -> Result<(), HandleError> {
        let owner = dir.owner().map_err(io_at(dir.path()))?;
        let own = geteuid().as_raw() == owner
            // Some network file systems assign all files to one user.
            || *self.of_new_files.get_or_init(|| root.owner_of_new_files().ok()) == Some(owner);
        match own {
            true => Ok(()),
            false => Err(HandleError::Foreign {
                path: dir.path().to_path_buf(),
                owner: match User::from_uid(Uid::from_raw(owner)) {
                    Ok(Some(user)) => text::clean(&user.name).into_owned(),
                    _ => owner.to_string(),
                },
                copy: copy_of(run),
            }),
        }
    }
}

/// The commands that copy a run and resume the copy.
fn copy_of(run: &RunDir) -> String {
    let (from, to) = (text::argument(run.path()), copy_name(run));
    format!(
        "cp -r {from} {} && heirloom train --resume {}",
        text::argument(&to),
        RunDir::at(&to).argument()
    )
}

/// The commands that replace a link by a real directory.
fn copy_with(run: &RunDir, name: &str) -> String {
    let (from, to) = (run.path(), copy_name(run));
    format!(
        "cp -r {} {to} && rm {link} && cp -r {} {link} && heirloom train --resume {}",
        text::argument(from),
        text::argument(&from.join(name).join(".")),
        RunDir::at(&to).argument(),
        link = text::argument(&to.join(name)),
        to = text::argument(&to),
    )
}

/// Returns a free name next to the run.
fn copy_name(run: &RunDir) -> PathBuf {
    let name = |n: u32| {
        let mut name = run.path().file_name().unwrap_or_default().to_os_string();
        name.push("-copy");
        if n > 1 {
            name.push(n.to_string());
        }
        run.path().with_file_name(name)
    };
    (1..100)
        .map(name)
        .find(|path| std::fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| name(1))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> HandleError + use<> {
    let path = path.to_path_buf();
    move |source| HandleError::Io {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_in_the_place_of_directories_are_refused_with_a_way_out() {
        let tmp = tempfile::tempdir().unwrap();
        let (run, other) = (tmp.path().join("f"), tmp.path().join("mine"));
        std::fs::create_dir_all(run.join("rank")).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("file"), "").unwrap();
        symlink(&other, run.join("checkpoints")).unwrap();
        let refused = RunHandle::open(&RunDir::at(&run)).unwrap_err().to_string();
        assert!(
            refused.contains("/f/checkpoints is a link to "),
            "{refused}"
        );
        let command = refused.rsplit_once(": ").unwrap().1;
        let copying = command.split_once(" && heirloom ").unwrap().0;
        let done = std::process::Command::new("sh")
            .args(["-c", copying])
            .status();
        assert!(done.unwrap().success(), "{copying}");
        let copy = RunHandle::open(&RunDir::at(&tmp.path().join("f-copy"))).unwrap();
        assert_eq!(
            copy.checkpoints().unwrap().kind("file").unwrap(),
            Some(Kind::File)
        );
        std::fs::remove_file(run.join("checkpoints")).unwrap();
        std::fs::write(run.join("checkpoints"), "").unwrap();
        let refused = RunHandle::open(&RunDir::at(&run)).unwrap_err().to_string();
        assert!(refused.contains("is not a directory"), "{refused}");
        assert!(refused.contains("f-copy2"), "{refused}");
    }

    #[test]
    fn a_deleted_directory_is_made_again_and_no_other_is_taken() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("run");
        std::fs::create_dir(&path).unwrap();
        let handle = RunHandle::open(&RunDir::at(&path)).unwrap();
        std::fs::remove_dir(path.join("rank")).unwrap();
        handle.rank().unwrap().replace_file("file", b"1").unwrap();
        assert!(path.join("rank/file").exists());
        std::fs::remove_dir(path.join("checkpoints")).unwrap();
        symlink(tmp.path(), path.join("checkpoints")).unwrap();
        assert!(handle.checkpoints().is_err());
        std::fs::remove_dir_all(&path).unwrap();
        handle.make_again().unwrap();
        handle
            .checkpoints()
            .unwrap()
            .replace_file("file", b"1")
            .unwrap();
        assert!(path.join("checkpoints/file").exists());
    }
}
