//! The start of a run: what the screen shows from its first frame on, while another thread reads texts and builds the model.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::message::Exit;
use crate::signals::Signalled;

/// The facts of a run that are known before its text is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub title: String,
    /// Device, threads and what products are computed in.
    pub device: String,
    /// One line a phase, in order.
    pub phases: Vec<String>,
}

/// Progress of a start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Starting {
    pub facts: Arc<Facts>,
    /// The file that is or was read last.
    pub reading: String,
    /// Bytes of the text that are done, and bytes in all; 0 in all where that is not known.
    pub bytes: (u64, u64),
    /// The work besides reading, as a verb, and its object.
    pub step: Option<(String, String)>,
    /// A line for the operator.
    pub note: Option<String>,
    /// A stop was asked for.
    pub stopping: bool,
}

impl Starting {
    /// The share of the text that is done, from 0 to 1; `None` where it is not known.
    pub fn share(&self) -> Option<f64> {
        let (done, total) = self.bytes;
        (total > 0).then(|| (done as f64 / total as f64).min(1.0))
    }
}

/// A start, shared by the thread that works and the screen.
#[derive(Debug)]
pub struct Start {
    now: Mutex<Starting>,
    signalled: Arc<Signalled>,
    /// Takes what is printed while the run has no log; the process that waits for this one has it as well.
    held: Option<File>,
    /// Set at the end: the run's log.
    log: OnceLock<PathBuf>,
}

impl Start {
    /// A start that has not got anywhere. What is printed meanwhile goes to `held`, or nowhere.
    pub fn new(facts: Facts, signalled: Arc<Signalled>, held: Option<File>) -> Arc<Self> {
        let now = Starting {
            facts: Arc::new(facts),
            ..Starting::default()
        };
        Arc::new(Self {
            now: Mutex::new(now),
            signalled,
            held,
            log: OnceLock::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Starting> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows that something is done besides reading: a verb, and to what.
    pub fn show(&self, doing: &str, what: &str) {
        self.lock().step = Some((doing.into(), what.into()));
    }

    /// Shows how many bytes of a text are done, and which of its files is being read.
    pub fn show_reading(&self, file: &str, done: u64, total: u64) {
        let mut now = self.lock();
        if now.reading != file {
            now.reading = file.into();
        } else if total == now.bytes.1 && done < now.bytes.0 {
            // Parts are done in parallel, and their reports may overtake one another.
            return;
        }
        now.bytes = (done, total);
        now.step = None;
    }

    /// Shows a line for the operator.
    pub fn note(&self, line: &str) {
        self.lock().note = Some(line.into());
    }

    /// Ends the start: the trainer is at work, and the run has a log.
    pub fn finish(&self, log: &Path) {
        // It ends once.
        let _ = self.log.set(log.into());
    }

    /// Returns the progress of the start; `None` after its end.
    pub(super) fn look(&self) -> Option<Starting> {
        if self.log.get().is_some() {
            return None;
        }
        let mut now = self.lock().clone();
        now.stopping = self.signalled.stop();
        Some(now)
    }

    pub(super) fn held(&self) -> Option<&File> {
        self.held.as_ref()
    }

    pub(super) fn log(&self) -> Option<&Path> {
        self.log.get().map(PathBuf::as_path)
    }

    /// Takes a key: one that ends the screen stops the start.
    pub(super) fn on_key(&self, key: &KeyEvent) -> Option<Exit> {
        if !ends(key) {
            return None;
        }
        if self.abandon() {
            return Some(Exit::NotStarted);
        }
        self.interrupt();
        None
    }

    /// Ends the start without a run; false when the run's directory has been made: then the trainer stops at its first step,
    /// with a checkpoint, once it was [asked](Self::interrupt) to.
    pub(super) fn abandon(&self) -> bool {
        self.signalled.abandon()
    }

    /// Asks for a stop.
    fn interrupt(&self) {
        self.signalled.interrupt();
    }
}

/// Whether a key ends a start.
fn ends(key: &KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        KeyCode::Char('q') => key.modifiers.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_goes_forward_and_the_end_comes_with_the_log() {
        let start = Start::new(Facts::default(), Signalled::none(), None);
        let share = || start.look().unwrap().share();
        assert_eq!(share(), None);
        start.show("fetching", "hf:a/b");
        start.show_reading("a.txt", 30, 60);
        start.show_reading("a.txt", 15, 60);
        assert_eq!(share(), Some(0.5));
        assert_eq!(start.look().unwrap().step, None);
        start.show_reading("b.txt", 60, 60);
        start.show("building", "the model");
        let now = start.look().unwrap();
        assert_eq!((now.share(), &*now.reading), (Some(1.0), "b.txt"));
        assert_eq!(now.step.unwrap(), ("building".into(), "the model".into()));
        start.finish(Path::new("runs/a/log.txt"));
        assert_eq!(start.look(), None);
        assert_eq!(start.log(), Some(Path::new("runs/a/log.txt")));
    }
}
