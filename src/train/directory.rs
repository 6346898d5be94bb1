//! The run's directory and the lock on it, which may be deleted or moved under a running trainer.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::keeper::describe_replacement;
use crate::config::{self, Config};
use crate::run::dir::RunDir;
use crate::run::handle::{CONFIG, RunHandle};
use crate::run::journal::{Journal, Place};
use crate::run::lock::RunLock;
use crate::text;

/// Interval between two checks of the directory.
const EVERY: Duration = Duration::from_secs(1);

/// The directory of a run and the lock on it, what was last reported of both, and when.
pub(super) struct Directory {
    handle: Arc<RunHandle>,
    lock: Arc<Mutex<RunLock>>,
    looked: Instant,
    /// The place that was last reported: each is reported once, when the directory comes to it.
    reported: Place,
    /// Whether a lock file that was deleted or replaced has been reported: one that cannot be written again is reported
    /// once.
    lock_reported: bool,
}

/// The result of a check of the directory.
pub(super) enum Found {
    /// It is in its place; with a warning about its lock file.
    Kept(Option<String>),
    /// It is elsewhere, or another run's is in its place; with a warning the first time.
    Lost(Option<String>),
    Deleted {
        /// Whether this is news.
        first: bool,
    },
}

impl Directory {
    pub(super) fn new(lock: Arc<Mutex<RunLock>>) -> Self {
        let handle = {
            let lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lock.handle())
        };
        Self {
            handle,
            lock,
            looked: Instant::now(),
            reported: Place::Kept,
            lock_reported: false,
        }
    }

    /// The place of the run when it was opened.
    pub(super) fn run(&self) -> &RunDir {
        self.handle.dir()
    }

    /// The open directory.
    pub(super) fn handle(&self) -> &Arc<RunHandle> {
        &self.handle
    }

    /// Replaces the run's `config.toml`.
    ///
    /// # Errors
    /// When it cannot be written; the old file is then unchanged.
    pub(super) fn write_config(&self, config: &Config) -> io::Result<()> {
        let text = config::to_toml(config);
        self.handle.root().replace_file(CONFIG, text.as_bytes())
    }

    /// Looks for the directory, if the last look is long enough ago.
    pub(super) fn look(&mut self, journal: &Journal) -> Option<Found> {
        if self.looked.elapsed() < EVERY {
            return None;
        }
        self.looked = Instant::now();
        let place = journal.place();
        let first = std::mem::replace(&mut self.reported, place) != place;
        Some(match place {
            Place::Kept => Found::Kept(self.look_after_lock()),
            Place::Replaced => {
                Found::Lost(first.then(|| describe_replacement(journal, self.run())))
            }
            Place::Moved => Found::Lost(first.then(|| {
                format!(
                    "{} has been moved: events and checkpoints are written to the moved directory. Move it back, or end \
                     this process (kill {}), which writes a checkpoint first",
                    text::path(self.run().path()),
                    std::process::id()
                )
            })),
            Place::Deleted => Found::Deleted { first },
        })
    }

    /// Shows that this process lives, and takes a deleted lock again. Returns a warning if there is something to report.
    fn look_after_lock(&mut self) -> Option<String> {
        let Ok(mut lock) = self.lock.lock() else {
            return None;
        };
        if lock.is_in_place() {
            lock.touch();
            return None;
        }
        let message = match lock.write_again() {
            Ok(()) => {
                "the run's lock file was deleted or replaced, and has been written again".into()
            }
            Err(error) if !self.lock_reported => format!(
                "the run's lock file was deleted or replaced, and cannot be written again: {error}"
            ),
            Err(_) => return None,
        };
        self.lock_reported = true;
        Some(message)
    }

    /// Makes a deleted directory again, with its lock. Returns its journal, which is empty.
    pub(super) fn make_again(&self) -> Result<File> {
        self.handle.make_again()?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.renew()?;
        Ok(lock.journal()?)
    }

    /// A deleted directory is there again.
    pub(super) fn is_back(&mut self) {
        self.reported = Place::Kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_looked_for_and_reported_once() {
        let tmp = tempfile::tempdir().unwrap();
        let (at, away) = (tmp.path().join("run"), tmp.path().join("away"));
        std::fs::create_dir(&at).unwrap();
        let lock = RunLock::acquire(&at).unwrap();
        let (file, root) = (lock.journal().unwrap(), lock.handle().root());
        let (mut journal, _) = Journal::go_on(file, &root).unwrap();
        let mut directory = Directory::new(Arc::new(Mutex::new(lock)));
        let look = |directory: &mut Directory, journal: &Journal| {
            directory.looked = Instant::now().checked_sub(EVERY).unwrap();
            let found = directory.look(journal).unwrap();
            assert!(directory.look(journal).is_none(), "not due");
            found
        };
        let lost = |found| match found {
            Found::Lost(warning) => warning,
            _ => panic!("it is where it was"),
        };
        for _ in 0..2 {
            std::fs::rename(&at, &away).unwrap();
            let warning = lost(look(&mut directory, &journal)).unwrap();
            assert!(warning.contains("has been moved"), "{warning}");
            assert_eq!(lost(look(&mut directory, &journal)), None);
            std::fs::rename(&away, &at).unwrap();
            assert!(matches!(look(&mut directory, &journal), Found::Kept(None)));
        }
        std::fs::remove_file(at.join("lock")).unwrap();
        assert!(matches!(
            look(&mut directory, &journal),
            Found::Kept(Some(_))
        ));
        assert!(matches!(look(&mut directory, &journal), Found::Kept(None)));
        std::fs::remove_dir_all(&at).unwrap();
        for first in [true, false] {
            let found = look(&mut directory, &journal);
            assert!(matches!(found, Found::Deleted { first: f } if f == first));
        }
        let file = directory.make_again().unwrap();
        journal.begin_again(file, at.join("events.jsonl")).unwrap();
        directory.is_back();
        assert!(matches!(look(&mut directory, &journal), Found::Kept(None)));
    }
}
