//! A new run's directory: made under a hidden name, and complete before it gets its own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::dir::{DirError, RunDir};
use super::handle::{EVENTS, LOCK};
use crate::file::{self, Dir, Kind, is_temporary};

/// A hidden directory that has not changed for this long, and that no process holds, was left by a killed process.
const LEFTOVER: Duration = Duration::from_secs(600);
/// Content of the directory of a run that never began, made by an older version of this program.
const HALF_MADE: [&str; 4] = ["checkpoints", "rank", LOCK, "config.toml.new"];

/// The directory of a run that has no name yet. Dropped before [`Self::finish`], it is removed.
#[derive(Debug)]
pub struct NewRun {
    runs: Dir,
    wanted: NewName,
    hidden: OsString,
    root: Option<Dir>,
}

/// The name of a run that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewName {
    /// This name and no other.
    Given(String),
    /// This name, or with `-2`, `-3`, ... behind it.
    Dated(String),
}

impl NewName {
    /// Chooses the name of a new run: `name`, or `<preset>-<date>-<time>`. Nothing is made yet, so that another process can
    /// still take the name.
    ///
    /// # Errors
    /// When the name is taken or unusable.
    pub fn choose(runs: &Path, preset: &str, name: Option<&str>) -> Result<Self, DirError> {
        let Some(name) = name else {
            return Ok(Self::Dated(dated(preset)));
        };
        super::dir::check_name(name)?;
        // Without a directory of runs no name is taken.
        if let Ok(runs) = Dir::open(runs) {
            refuse_taken(&runs, name)?;
        }
        Ok(Self::Given(name.into()))
    }

    /// The name, unless another process takes it first.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Given(name) | Self::Dated(name) => name,
        }
    }
}

impl NewRun {
    /// Makes an empty directory for a run that will be called `wanted`.
    ///
    /// # Errors
    /// When the name has been taken meanwhile, or `runs` cannot be written.
    pub fn begin(runs: &Path, wanted: NewName) -> Result<Self, DirError> {
        let unwritable = unwritable(runs);
        file::create_dirs(runs).map_err(&unwritable)?;
        let runs = Dir::open(runs).map_err(&unwritable)?;
        if let NewName::Given(name) = &wanted {
            refuse_taken(&runs, name)?;
        }
        clear_leftovers(&runs);
        let (hidden, root) = runs.create_temporary_subdir("run").map_err(unwritable)?;
        Ok(Self {
            runs,
            wanted,
            hidden,
            root: Some(root),
        })
    }

    /// The directory, to be filled in.
    ///
    /// # Errors
    /// Never before [`Self::finish`].
    pub fn root(&self) -> io::Result<&Dir> {
        self.root
            .as_ref()
            .ok_or_else(|| io::Error::other("the directory has its name already"))
    }

    /// Flushes the directory, gives it its name and flushes that. Returns its place and the open directory.
    ///
    /// # Errors
    /// When the name has been taken meanwhile, or the disk fails; nothing is left behind then.
    pub fn finish(mut self) -> Result<(RunDir, Dir), DirError> {
        let path = self.runs.path().to_path_buf();
        let unwritable = unwritable(&path);
        self.root().and_then(Dir::sync).map_err(&unwritable)?;
        let name = self.take_name()?;
        let Some(root) = self.root.take() else {
            return Err(unwritable(io::ErrorKind::NotFound.into()));
        };
        // If this fails, the run exists nevertheless, and later writes report the disk.
        self.runs.sync().map_err(&unwritable)?;
        let path = path.join(name);
        Ok((RunDir::at(&path), root.renamed(&path)))
    }

    fn take_name(&self) -> Result<String, DirError> {
        let mut n = 1;
        loop {
            let name = match (&self.wanted, n) {
                (NewName::Given(name), _) | (NewName::Dated(name), 1) => name.clone(),
                (NewName::Dated(stem), n) => format!("{stem}-{n}"),
            };
            // An empty directory of that name is replaced, and no other entry.
            match self.runs.rename(&self.hidden, &name) {
                Ok(()) => return Ok(name),
                Err(e) if is_taken(&e) => match self.wanted {
                    NewName::Dated(_) if n < 1000 => n += 1,
                    _ => {
                        refuse_taken(&self.runs, &name)?;
                        // The existing directory was only half made and has been removed; another process may take the
                        // name first.
                        return match self.runs.rename(&self.hidden, &name) {
                            Ok(()) => Ok(name),
                            Err(e) => Err(unwritable(self.runs.path())(e)),
                        };
                    }
                },
                Err(e) => return Err(unwritable(self.runs.path())(e)),
            }
        }
    }
}

impl Drop for NewRun {
    fn drop(&mut self) {
        if self.root.is_some() {
            let _ = self.runs.remove_all(&self.hidden);
        }
    }
}

fn unwritable(runs: &Path) -> impl Fn(io::Error) -> DirError + use<> {
    let path = runs.to_path_buf();
    move |source| DirError::Unwritable {
        path: path.clone(),
        source,
    }
}

fn is_taken(error: &io::Error) -> bool {
    // The error for an existing directory that is not empty, a file, or a link.
    let codes = [libc::ENOTEMPTY, libc::EEXIST, libc::ENOTDIR];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// Fails where the name exists. A directory that an interrupted process left half-made, without anything that could be
/// lost, is removed instead.
fn refuse_taken(runs: &Dir, name: &str) -> Result<(), DirError> {
    let path = runs.path_of(name);
    match runs.kind(name) {
        Ok(None) => return Ok(()),
        Ok(Some(Kind::Directory)) if remove_half_made(runs, name).is_some() => return Ok(()),
        _ => {}
    }
    Err(match RunDir::at(&path).is_run() {
        true => DirError::Exists {
            name: name.into(),
            path,
        },
        false => DirError::Taken { path },
    })
}

fn remove_half_made(runs: &Dir, name: &str) -> Option<()> {
    let dir = runs.open_subdir(name).ok()?;
    let entries = dir.entries().ok()?;
    if !entries
        .iter()
        .all(|(name, _)| HALF_MADE.iter().any(|half| name == half))
    {
        return None;
    }
    if let Ok(lock) = dir.open_file(LOCK)
        && file::lock::is_locked(&lock) != Some(false)
    {
        return None;
    }
    for (name, kind) in entries {
        match kind {
            // Checkpoints in it stay.
            Kind::Directory => dir.remove_empty_subdir(&name).ok()?,
            _ => dir.remove_file(&name).ok()?,
        }
    }
    runs.remove_empty_subdir(name).ok()
}

/// Removes hidden directories of processes that were killed while they made a run.
fn clear_leftovers(runs: &Dir) {
    for (name, kind) in runs.entries().unwrap_or_default() {
        if kind == Kind::Directory && is_temporary(&name) && is_leftover(runs, &name) {
            // A directory that stays does no harm.
            let _ = runs.remove_all(&name);
        }
    }
}

fn is_leftover(runs: &Dir, name: &OsStr) -> bool {
    let Ok(dir) = runs.open_subdir(name) else {
        return false;
    };
    let changed = dir.modified().ok();
    let old = changed.and_then(|at| SystemTime::now().duration_since(at).ok());
    let held = dir
        .open_file(EVENTS)
        .is_ok_and(|journal| file::lock::is_locked(&journal) != Some(false));
    old.is_some_and(|age| age > LEFTOVER) && !held
}

/// `<preset>-<date>-<time>`, in characters that names have.
fn dated(preset: &str) -> String {
    let stem: String = preset
        .chars()
        .map(|c| if super::dir::name_char(c) { c } else { '-' })
        .collect();
    let stem = match stem.trim_start_matches(['.', '-']) {
        "" => "run",
        stem => stem,
    };
    let now = jiff::ZonedDateTime::now().strftime("%Y%m%d-%H%M%S");
    format!("{stem}-{now}")
}

impl RunDir {
    /// Makes the directory of a run with nothing in it.
    ///
    /// # Errors
    /// As [`NewRun::begin`] and [`NewRun::finish`].
    pub fn create(runs: &Path, preset: &str, name: Option<&str>) -> Result<Self, DirError> {
        let new = NewRun::begin(runs, NewName::choose(runs, preset, name)?)?;
        let made: io::Result<PathBuf> = ["checkpoints", "rank"]
            .iter()
            .try_fold(PathBuf::new(), |_, part| {
                new.root()?.create_subdir(part).map(|dir| dir.path().into())
            });
        made.map_err(unwritable(runs))?;
        Ok(new.finish()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(runs: &Path) -> NewRun {
        let name = NewName::choose(runs, "tiny", Some("r")).unwrap();
        NewRun::begin(runs, name).unwrap()
    }

    fn names(runs: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(runs).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_has_its_name_when_it_is_complete() {
        let tmp = tempfile::tempdir().unwrap();
        let new = begin(tmp.path());
        new.root()
            .unwrap()
            .replace_file("config.toml", b"")
            .unwrap();
        assert!(!tmp.path().join("r").exists());
        assert_eq!(RunDir::list(tmp.path()).unwrap(), []);
        drop(new);
        assert_eq!(names(tmp.path()), [""; 0]);

        let new = begin(tmp.path());
        new.root()
            .unwrap()
            .replace_file("config.toml", b"")
            .unwrap();
        let second = begin(tmp.path());
        let (dir, root) = new.finish().unwrap();
        assert_eq!(
            (dir.path(), root.path()),
            (&*tmp.path().join("r"), dir.path())
        );
        let late = second.finish().unwrap_err();
        assert!(matches!(late, DirError::Exists { .. }), "{late}");
        let taken = NewName::choose(tmp.path(), "tiny", Some("r")).unwrap_err();
        assert!(matches!(taken, DirError::Exists { .. }), "{taken}");
        assert_eq!(names(tmp.path()), ["r"]);
    }

    #[test]
    fn what_an_interrupted_process_left_is_no_obstacle() {
        let tmp = tempfile::tempdir().unwrap();
        for part in [
            "half/checkpoints",
            "half/rank",
            "empty",
            "kept/checkpoints/b0",
            "notes",
        ] {
            std::fs::create_dir_all(tmp.path().join(part)).unwrap();
        }
        std::fs::write(tmp.path().join("half/lock"), "").unwrap();
        std::fs::write(tmp.path().join("half/config.toml.new"), "").unwrap();
        std::fs::write(tmp.path().join("notes/a.txt"), "").unwrap();
        for name in ["half", "empty"] {
            let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
            assert!(dir.rank().is_dir());
        }
        for name in ["kept", "notes"] {
            let refused = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap_err();
            assert!(refused.to_string().contains("is not a run"), "{refused}");
        }
        assert_eq!(names(tmp.path()), ["empty", "half", "kept", "notes"]);
        assert!(tmp.path().join("kept/checkpoints/b0").is_dir());
    }
}
