//! The list of the home screen, and the choices made there.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;

use super::form::{Check, Form, Start, Step};
use crate::config;
use crate::dashboard::app::Options;
use crate::dashboard::library::{Library, Listed, OpenAs};
use crate::dashboard::message::Act;
use crate::dashboard::refusal::Refusal;

/// The operator's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Train this preset or config.
    Start(Start),
    /// Watch this run.
    Watch(PathBuf),
    /// Open the dashboard of this run, which is in progress.
    Attach(PathBuf),
    /// Continue this run.
    Resume(PathBuf),
    Quit,
}

/// The state of the home screen that is kept while a run is shown.
#[derive(Debug, Default)]
pub struct Last {
    library: Library,
    /// The run that was opened, which is selected afterwards.
    marked: Option<PathBuf>,
}

/// The content of the screen: the runs, or the presets if there are no runs yet.
pub struct Home<'a> {
    pub dir: &'a Path,
    pub options: &'a Options,
    pub check: Check<'a>,
    pub library: Library,
    pub selected: usize,
    /// Whether the operator has moved the selection. Until then the first run stays selected.
    pub moved: bool,
    /// The first visible run and the number of visible runs, as of the last frame.
    pub sight: Cell<(usize, usize)>,
    /// Keys of a sequence so far.
    pub prefix: Option<String>,
    /// The time at which ages are computed, Unix time in milliseconds.
    pub clock: i64,
    /// When the runs were listed last, when `clock` was set, and when a frame was drawn.
    pub listed: Instant,
    pub ticked: Instant,
    pub drawn: Option<Instant>,
    pub dirty: bool,
    /// Whether a key was pressed since the last frame.
    pub urgent: bool,
    /// Whether the screen asks for a second Enter to resume the selected run.
    pub asked: bool,
    /// Why the screen could not be suspended.
    pub refusal: Refusal,
    /// The form for a new run, while it is open.
    pub form: Option<Form>,
}

impl<'a> Home<'a> {
    /// Lists the runs of `dir`, and keeps the state of the `last` time.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open(dir: &'a Path, options: &'a Options, last: Last, check: Check<'a>) -> Result<Self> {
        let mut library = last.library;
        library.refresh(Library::open(dir)?);
        let place = |marked: PathBuf| library.runs.iter().position(|r| r.dir.path() == marked);
        let place = last.marked.and_then(place);
        Ok(Self {
            dir,
            options,
            check,
            library,
            selected: place.unwrap_or(0),
            moved: place.is_some(),
            sight: Cell::default(),
            prefix: None,
            clock: Timestamp::now().as_millisecond(),
            listed: Instant::now(),
            ticked: Instant::now(),
            drawn: None,
            dirty: true,
            urgent: true,
            asked: false,
            refusal: Refusal::default(),
            form: None,
        })
    }

    /// Returns the state to keep when the screen is closed.
    pub fn close(self) -> Last {
        Last {
            marked: self.run().map(|run| run.dir.path().into()),
            library: self.library,
        }
    }

    fn len(&self) -> usize {
        match self.library.runs.len() {
            0 => config::presets().len(),
            n => n,
        }
    }

    /// Changes the library; the selection stays on its run.
    fn change<T>(&mut self, change: impl FnOnce(&mut Library) -> T) -> T {
        let chosen = self.run().map(|run| run.dir.clone());
        let presets = self.library.runs.is_empty();
        let out = change(&mut self.library);
        if presets != self.library.runs.is_empty() {
            self.selected = 0;
        }
        let chosen = chosen.filter(|_| self.moved || self.asked);
        let mut runs = self.library.runs.iter();
        let place = chosen.and_then(|dir| runs.position(|run| run.dir == dir));
        match place {
            Some(place) => self.selected = place,
            // The run is gone: a neighbour is selected, and the question is closed.
            None => {
                self.selected = self.selected.min(self.len() - 1);
                self.asked = false;
            }
        }
        out
    }

    /// Reads a run. Returns false if all runs have been read.
    pub fn read_next(&mut self) -> bool {
        self.change(Library::read_next)
    }

    /// Takes a newer list. Returns whether runs were added or removed.
    pub fn refresh(&mut self, newer: Library) -> bool {
        self.change(|library| library.refresh(newer))
    }

    /// Updates the time of ages, and sorts the runs.
    pub fn tick(&mut self) {
        self.clock = Timestamp::now().as_millisecond();
        self.change(Library::sort);
    }

    /// Carries out a command. Returns the choice that it makes, if any.
    pub fn act(&mut self, act: Act) -> Option<Choice> {
        if let Some(form) = &mut self.form {
            match form.act(act, self.check) {
                Step::Stay => {}
                Step::Close => self.form = None,
                Step::Start(start) => return Some(Choice::Start(start)),
            }
            return None;
        }
        let last = self.len() - 1;
        let page = self.sight.get().1.max(1);
        let asked = std::mem::take(&mut self.asked);
        self.moved |= !matches!(act, Act::Back | Act::New);
        match act {
            Act::Back if asked => {}
            Act::Back => return Some(Choice::Quit),
            Act::Previous => self.selected = self.selected.saturating_sub(1),
            Act::Next => self.selected = (self.selected + 1).min(last),
            Act::PageUp | Act::PageDown => {
                let (from, rows) = self.sight.get();
                let moved = |at: usize| match act {
                    Act::PageUp => at.saturating_sub(page),
                    _ => (at + page).min(last),
                };
                self.selected = moved(self.selected);
                self.sight.set((moved(from), rows));
            }
            Act::Top => self.selected = 0,
            Act::Bottom => self.selected = last,
            Act::New => self.form = Some(Form::default()),
            Act::Watch => return Some(Choice::Watch(self.run()?.dir.path().into())),
            Act::Accept => {
                let Some(run) = self.run() else {
                    let preset = &config::presets()[self.selected];
                    return Some(Choice::Start(Start::of(preset.name)));
                };
                let path = run.dir.path().into();
                return match run.open_as() {
                    OpenAs::Attach => Some(Choice::Attach(path)),
                    OpenAs::Resume if asked => Some(Choice::Resume(path)),
                    OpenAs::Resume => {
                        self.asked = true;
                        None
                    }
                    OpenAs::Watch => Some(Choice::Watch(path)),
                };
            }
            _ => {}
        }
        None
    }

    /// Returns the selected run; `None` if a preset is selected because there are no runs.
    pub fn run(&self) -> Option<&Listed> {
        self.library.runs.get(self.selected)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use std::time::Duration;

    use super::*;
    use crate::run::dir::RunDir;
    use crate::run::lock::RunLock;

    fn open<'a>(dir: &'a Path, options: &'a Options) -> Home<'a> {
        Home::open(dir, options, Last::default(), &|_| Ok(())).unwrap()
    }

    #[test]
    fn without_runs_enter_starts_a_preset() {
        let tmp = tempfile::tempdir().unwrap();
        let options = options();
        let mut home = open(tmp.path(), &options);
        let started = |name| Some(Choice::Start(Start::of(name)));
        assert_eq!(home.act(Act::Accept), started("tiny"));
        assert_eq!(home.act(Act::Bottom), None);
        assert_eq!(home.act(Act::Accept), started("books"));
        // A run that another shell has started replaces the presets.
        let dir = RunDir::create(tmp.path(), "tiny", Some("mine")).unwrap();
        std::fs::write(dir.events(), "").unwrap();
        assert!(home.refresh(Library::open(tmp.path()).unwrap()));
        assert_eq!(home.run().unwrap().dir, dir);
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(home.refresh(Library::open(tmp.path()).unwrap()));
        assert_eq!(home.act(Act::Accept), started("tiny"));
    }

    #[test]
    fn enter_does_what_a_run_is_ready_for() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(tmp.path(), "tiny", Some("mine")).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let options = options();
        let mut home = open(tmp.path(), &options);
        let path = || dir.path().into();
        assert_eq!(home.act(Act::Watch), Some(Choice::Watch(path())));
        // Its state is not known yet, so Enter watches it.
        assert_eq!(home.act(Act::Accept), Some(Choice::Watch(path())));
        // A second Enter resumes a stopped run, and Esc cancels the first Enter.
        assert!(home.read_next());
        assert_eq!(home.act(Act::Accept), None);
        assert_eq!(home.act(Act::Back), None);
        assert_eq!(home.act(Act::Accept), None);
        assert_eq!(home.act(Act::Accept), Some(Choice::Resume(path())));
        let lock = RunLock::acquire(dir.path()).unwrap();
        assert_eq!(home.act(Act::Accept), Some(Choice::Attach(path())));
        drop(lock);
        assert_eq!(home.act(Act::Back), Some(Choice::Quit));
    }

    #[test]
    fn the_choice_stays_on_its_run_and_is_found_again() {
        let tmp = tempfile::tempdir().unwrap();
        let run = |name: &str| {
            let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
            std::fs::write(dir.events(), "").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            dir
        };
        let first = run("first");
        run("second");
        let options = options();
        let mut home = open(tmp.path(), &options);
        // Until it is moved, the selection is on the latest run.
        assert_eq!(home.run().unwrap().dir.name(), "second");
        run("third");
        assert!(home.refresh(Library::open(tmp.path()).unwrap()));
        assert_eq!(home.run().unwrap().dir.name(), "third");
        home.act(Act::Bottom);
        run("fourth");
        assert!(home.refresh(Library::open(tmp.path()).unwrap()));
        assert_eq!(home.run().unwrap().dir.name(), "first");
        while home.read_next() {}
        assert_eq!(home.run().unwrap().dir, first);
        // The state is kept while a run is shown.
        let home = Home::open(tmp.path(), &options, home.close(), &|_| Ok(())).unwrap();
        assert_eq!(home.run().unwrap().dir, first);
        assert!(home.library.is_fresh());
    }

    #[test]
    fn pages_are_as_long_as_what_is_in_sight() {
        let tmp = tempfile::tempdir().unwrap();
        for n in 0..30 {
            let dir = RunDir::create(tmp.path(), "tiny", Some(&format!("r{n:02}"))).unwrap();
            std::fs::write(dir.events(), "").unwrap();
        }
        let options = options();
        let mut home = open(tmp.path(), &options);
        home.sight.set((0, 12));
        let mut places = Vec::new();
        for act in [
            Act::PageDown,
            Act::PageDown,
            Act::PageDown,
            Act::PageUp,
            Act::Top,
            Act::PageUp,
        ] {
            assert_eq!(home.act(act), None);
            places.push(home.selected);
        }
        assert_eq!(places, [12, 24, 29, 17, 0, 0]);
    }
}
