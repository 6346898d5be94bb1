//! The run's directory may be deleted or moved under a running trainer.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::keeper::describe_replacement;
use super::trainer::Trainer;
use crate::config;
use crate::run::event::{Body, RunStatus};
use crate::run::handle::CONFIG;
use crate::run::journal::Place;
use crate::text;

/// How often the directory is looked for.
const EVERY: Duration = Duration::from_secs(1);

impl Trainer {
    /// Makes a deleted directory anew, with what is known here; says once that one was moved.
    pub(super) fn look_after_directory(&mut self) {
        if self.looked.elapsed() < EVERY {
            return;
        }
        self.looked = Instant::now();
        let place = self.journal.place();
        let news = std::mem::replace(&mut self.reported_place, place) != place;
        match place {
            Place::Kept => {
                self.look_after_lock();
                self.keeping().write_owed();
            }
            Place::Replaced if news => self.warn(describe_replacement(&self.journal, &self.dir)),
            Place::Moved if news => self.warn(format!(
                "{} is no longer where it was: events and checkpoints are written to the moved directory. Move it back, or end \
                 this process (kill {}), which writes a checkpoint first",
                text::path(self.dir.path()),
                std::process::id()
            )),
            // Tried again until it succeeds.
            Place::Deleted => {
                let message = match self.make_directory_anew() {
                    Ok(()) => {
                        self.reported_place = Place::Kept;
                        "the run's journal was deleted and a new one was begun: its earlier events are lost, and so is whatever else was deleted".into()
                    }
                    Err(error) if news => format!(
                        "the run's directory was deleted and cannot be made again: {error:#}; training goes on, and it is tried every second"
                    ),
                    Err(_) => return,
                };
                self.warn(message);
                self.journal.flush();
            }
            Place::Moved | Place::Replaced => {}
        }
    }

    /// Shows that this process lives, and takes a deleted lock anew.
    fn look_after_lock(&mut self) {
        let Ok(mut lock) = self.lock.lock() else {
            return;
        };
        if lock.is_in_place() {
            lock.touch();
            return;
        }
        let message = match lock.write_again() {
            Ok(()) => Some(
                "the run's lock file was deleted or replaced, and has been written again"
                    .to_string(),
            ),
            Err(error) if !self.reported_lock => Some(format!(
                "the run's lock file was deleted or replaced, and cannot be written again: {error}"
            )),
            Err(_) => None,
        };
        drop(lock);
        if let Some(message) = message {
            self.reported_lock = true;
            self.warn(message);
        }
    }

    fn make_directory_anew(&mut self) -> Result<()> {
        // The one that is on its way belongs to the directory that is gone.
        self.keeping().finish();
        self.handle.make_again()?;
        let journal = {
            let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            lock.renew()?;
            lock.journal()?
        };
        self.journal.begin_again(journal, self.dir.events())?;
        let root = self.handle.root();
        root.replace_file(CONFIG, config::to_toml(&self.wanted).as_bytes())?;
        let info = self.info();
        self.tell_run(RunStatus::Started, Some(info), None);
        // Old checkpoints are mostly gone with the directory.
        let there = self.keeper.checkpoints().names();
        self.state.kept.retain(|k| there.contains(&k.name));
        self.keeping().look_for_best();
        let phase = self.phase_event(None);
        self.emit(Body::Phase(phase));
        self.keeping().background("directory made again", false);
        Ok(())
    }
}
