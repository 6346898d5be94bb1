//! The runs of a directory, read lazily. Only this module and the [session](super::session) own data of runs.

mod row;

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;

use crate::run::dir::RunDir;
use crate::run::lock::RunLock;

pub use row::Row;

/// The runs in the order of `heirloom ls`, as of the last [`Library::sort`].
#[derive(Debug, Default)]
pub struct Library {
    pub runs: Vec<Listed>,
    /// Whether all runs have been read once. Until then they are in the order of their files' times, so that they do not move while
    /// they are read.
    complete: bool,
}

/// A run in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub dir: RunDir,
    /// Time of its journal's last change.
    pub changed: Option<SystemTime>,
    /// `None` until it has been read.
    pub row: Option<Row>,
    /// Whether the row is up to date with the journal.
    pub fresh: bool,
}

/// The way in which a run is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenAs {
    /// The run is in progress.
    Attach,
    /// The run is not finished, and no process works on it.
    Resume,
    Watch,
}

impl Listed {
    /// Returns the way in which an operator would open the run now.
    pub fn open_as(&self) -> OpenAs {
        let state = self.row.as_ref().map(|row| row.state.as_str());
        if RunLock::is_live(self.dir.path()) {
            return OpenAs::Attach;
        }
        match state {
            Some("stopped" | "crashed" | "interrupted") => OpenAs::Resume,
            _ => OpenAs::Watch,
        }
    }

    /// Returns the time of its last event, Unix time in milliseconds. If `read` is false, or the journal has not been read, returns
    /// the time of the journal's last change.
    fn active(&self, read: bool) -> i64 {
        match &self.row {
            Some(row) if read && row.error.is_none() => row.t,
            _ => {
                let since = |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).ok();
                let since = self.changed.and_then(since).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
        }
    }
}

impl Library {
    /// Lists the runs of a directory, without reading them.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open(runs: &Path) -> Result<Self> {
        let one = |dir: RunDir| {
            let meta = std::fs::metadata(dir.events());
            Listed {
                changed: meta.and_then(|m| m.modified()).ok(),
                row: None,
                fresh: false,
                dir,
            }
        };
        let runs = RunDir::list(runs)?.into_iter().map(one).collect();
        let mut library = Self {
            runs,
            complete: false,
        };
        library.sort();
        Ok(library)
    }

    /// Sorts the runs in the order of `heirloom ls`: the one with the latest event first.
    pub fn sort(&mut self) {
        self.complete |= self.runs.iter().all(|run| run.row.is_some());
        let read = self.complete;
        self.runs.sort_by(|a, b| {
            let newer = b.active(read).cmp(&a.active(read));
            newer.then_with(|| a.dir.path().cmp(b.dir.path()))
        });
    }

    /// Reads one run that has changed, or has not been read yet. Returns false if all are up to date.
    pub fn read_next(&mut self) -> bool {
        let Some(run) = self.runs.iter_mut().find(|run| !run.fresh) else {
            return false;
        };
        let first = run.row.is_none();
        let known = run.row.as_ref().and_then(|row| row.bytes);
        run.row = Some(row::read(&run.dir, known));
        run.fresh = true;
        // Sorted only once, because runs in progress would otherwise change places all the time.
        if first {
            self.sort();
        }
        true
    }

    /// Whether all rows are up to date.
    pub fn is_fresh(&self) -> bool {
        self.runs.iter().all(|run| run.fresh)
    }

    /// Takes a newer list, in which every run keeps its row until it is read again. Returns whether runs were added or removed.
    pub fn refresh(&mut self, newer: Self) -> bool {
        let known = std::mem::take(&mut self.runs).into_iter();
        let mut known: HashMap<_, _> = known
            .map(|run| (run.dir.path().to_path_buf(), run))
            .collect();
        let mut other = known.len() != newer.runs.len();
        for mut run in newer.runs {
            match known.remove(run.dir.path()) {
                None => other = true,
                Some(old) => {
                    // A killed process does not change the journal, so its lock is checked.
                    let gone = old.row.as_ref().is_some_and(|row| row.live)
                        && !RunLock::is_live(run.dir.path());
                    run.fresh = old.fresh && old.changed == run.changed && !gone;
                    run.row = old.row;
                }
            }
            self.runs.push(run);
        }
        self.sort();
        other
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dashboard::tests::realistic::journal::Moment;

    fn library(tmp: &Path, moments: &[Moment]) -> Library {
        for moment in moments {
            let dir = RunDir::create(tmp, "tiny", Some(moment.name())).unwrap();
            let lines = crate::dashboard::tests::realistic::journal::journal(*moment);
            std::fs::write(dir.events(), lines).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        Library::open(tmp).unwrap()
    }

    #[test]
    fn runs_are_in_the_order_of_their_last_events_once_they_are_read() {
        let tmp = tempfile::tempdir().unwrap();
        let moments = [Moment::Done, Moment::Interrupted, Moment::Deciding];
        let mut library = library(tmp.path(), &moments);
        let names = |library: &Library| -> Vec<String> {
            library.runs.iter().map(|r| r.dir.name()).collect()
        };
        let first = names(&library);
        // The order of the files' times is the reverse.
        assert_eq!(first, ["deciding", "interrupted", "done"]);
        while library.read_next() && !library.is_fresh() {
            assert_eq!(names(&library), first, "they move while they are read");
        }
        assert_eq!(names(&library), ["done", "deciding", "interrupted"]);
        assert!(
            library
                .runs
                .iter()
                .all(|r| r.row.as_ref().unwrap().bytes > Some(100_000))
        );
    }

    #[test]
    fn what_was_read_stays_in_sight_until_it_is_read_again() {
        let tmp = tempfile::tempdir().unwrap();
        let mut library = library(tmp.path(), &[Moment::Interrupted]);
        assert!(library.read_next() && library.is_fresh() && !library.read_next());
        assert!(!library.refresh(Library::open(tmp.path()).unwrap()));
        assert!(library.is_fresh());
        let journal = library.runs[0].dir.events();
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::File::options()
            .append(true)
            .open(journal)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(!library.refresh(Library::open(tmp.path()).unwrap()));
        assert!(library.runs[0].row.is_some() && !library.is_fresh());
    }

    #[test]
    fn a_trainer_that_was_killed_is_noticed_although_its_journal_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let mut library = library(tmp.path(), &[Moment::Healthy]);
        let lock = RunLock::acquire(library.runs[0].dir.path()).unwrap();
        let state = |library: &mut Library| {
            library.refresh(Library::open(tmp.path()).unwrap());
            library.read_next();
            library.runs[0].row.as_ref().unwrap().state.clone()
        };
        assert_eq!(state(&mut library), "running");
        drop(lock);
        assert_eq!(state(&mut library), "crashed");
    }

    #[test]
    fn a_journal_that_cannot_be_read_says_why() {
        let tmp = tempfile::tempdir().unwrap();
        let mut library = library(tmp.path(), &[]);
        let dir = RunDir::create(tmp.path(), "tiny", Some("odd")).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        std::fs::create_dir(dir.events()).unwrap();
        library.refresh(Library::open(tmp.path()).unwrap());
        assert!(library.read_next());
        let row = library.runs[0].row.as_ref().unwrap();
        assert_eq!(row.state, "unreadable");
        assert!(
            row.error.as_ref().unwrap().contains("cannot be read: "),
            "{row:?}"
        );
    }
}
