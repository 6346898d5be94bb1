//! The progress of a run's start, which the screen shows while another thread reads texts and builds the model.

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
    /// Device, threads and precision of matrix products.
    pub device: String,
    /// One line per phase, in order.
    pub phases: Vec<String>,
}

/// Progress of a start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Starting {
    pub facts: Arc<Facts>,
    /// The file that is being read, or was read last.
    pub reading: String,
    /// Bytes of the text that are done, and all bytes; 0 if their number is not known.
    pub bytes: (u64, u64),
    /// Work other than reading, as a verb and its object.
    pub step: Option<(String, String)>,
    /// A line for the operator.
    pub note: Option<String>,
    /// Whether a stop was asked for.
    pub stopping: bool,
}

impl Starting {
    /// Returns the share of the text that is done, from 0 to 1; `None` if it is not known.
    pub fn share(&self) -> Option<f64> {
        let (done, total) = self.bytes;
        (total > 0).then(|| (done as f64 / total as f64).min(1.0))
    }
}

/// A start, shared by the working thread and the screen.
#[derive(Debug)]
pub struct Start {
    now: Mutex<Starting>,
    signalled: Arc<Signalled>,
    /// File that takes output while the run has no log. The parent process also has it.
    held: Option<File>,
    /// The run's log, which is set at the end of the start.
    log: OnceLock<PathBuf>,
}

impl Start {
    /// Makes a start without progress. Output goes to `held`, or is lost without it.
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

    /// Shows work other than reading, as a verb and its object.
    pub fn show(&self, doing: &str, what: &str) {
        self.lock().step = Some((doing.into(), what.into()));
    }

    /// Shows the bytes of a text that are done, and the file that is being read.
    pub fn show_reading(&self, file: &str, done: u64, total: u64) {
        let mut now = self.lock();
        if now.reading != file {
            now.reading = file.into();
        } else if total == now.bytes.1 && done < now.bytes.0 {
            // Parts are read in parallel, so an older report may come later.
            return;
        }
        now.bytes = (done, total);
        now.step = None;
    }

    /// Shows a line for the operator.
    pub fn note(&self, line: &str) {
        self.lock().note = Some(line.into());
    }

    /// Ends the start: the trainer has begun, and the run has a log.
    pub fn finish(&self, log: &Path) {
        // The log is set only once.
        let _ = self.log.set(log.into());
    }

    /// Returns the progress of the start; `None` after its end.
    pub(super) fn look(&self) -> Option<Starting> {
        if self.log.get().is_some() {
            return None;
        }
        let mut now = self.lock().clone();
        now.stopping = self.is_stopping();
        Some(now)
    }

    pub(super) fn held(&self) -> Option<&File> {
        self.held.as_ref()
    }

    pub(super) fn log(&self) -> Option<&Path> {
        self.log.get().map(PathBuf::as_path)
    }

    /// Handles a key. A key that ends the screen stops the start.
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

    /// Ends the start without a run. Returns false if the run's directory exists already: then the trainer stops at its first step,
    /// with a checkpoint, if it was [asked](Self::interrupt) to.
    pub(super) fn abandon(&self) -> bool {
        self.signalled.abandon()
    }

    /// Whether a stop was asked for, before or after the run has begun.
    pub(super) fn is_stopping(&self) -> bool {
        self.signalled.stop()
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
