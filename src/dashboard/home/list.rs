//! What the home screen lists, and what is chosen there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use crate::config;
use crate::dashboard::app::Options;
use crate::dashboard::library::{Library, Listed, Way};
use crate::dashboard::message::Act;

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Train this preset.
    Preset(String),
    /// Watch this run.
    Watch(PathBuf),
    /// Open the dashboard of this run, which is in progress.
    Attach(PathBuf),
    /// Continue this run.
    Resume(PathBuf),
    Quit,
}

/// What the screen shows: presets first, then runs, the newest first.
pub struct Home<'a> {
    pub dir: &'a Path,
    pub options: &'a Options,
    pub library: Library,
    pub selected: usize,
    /// Keys of a sequence so far.
    pub prefix: Option<String>,
    pub listed: Instant,
    pub dirty: bool,
    /// The chosen run is stopped, and Enter would resume it.
    pub asked: bool,
}

impl<'a> Home<'a> {
    /// Lists the runs of `dir`; none of them is read yet.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open(dir: &'a Path, options: &'a Options) -> Result<Self> {
        Ok(Self {
            dir,
            options,
            library: Library::open(dir)?,
            selected: 0,
            prefix: None,
            listed: Instant::now(),
            dirty: true,
            asked: false,
        })
    }

    fn len(&self) -> usize {
        config::presets().len() + self.library.runs.len()
    }

    /// Takes a newer list; the choice stays on its run. False when all is as it was.
    pub fn refresh(&mut self, newer: Library) -> bool {
        let presets = config::presets().len();
        let chosen = self.selected.checked_sub(presets);
        let chosen = chosen.map(|i| self.library.runs[i].dir.clone());
        if !self.library.refresh(newer) {
            return false;
        }
        self.asked = false;
        if let Some(dir) = chosen {
            let mut runs = self.library.runs.iter();
            let place = runs.position(|run| run.dir == dir);
            self.selected = presets + place.unwrap_or(0);
            self.selected = self.selected.min(self.len() - 1);
        }
        true
    }

    /// Takes a command; returns what was chosen by it.
    pub fn act(&mut self, act: Act) -> Option<Choice> {
        let last = self.len() - 1;
        let asked = std::mem::take(&mut self.asked);
        match act {
            Act::Back if asked => {}
            Act::Back => return Some(Choice::Quit),
            Act::Previous => self.selected = self.selected.saturating_sub(1),
            Act::Next => self.selected = (self.selected + 1).min(last),
            Act::Top => self.selected = 0,
            Act::Bottom => self.selected = last,
            Act::Watch => return Some(Choice::Watch(self.run()?.dir.path().into())),
            Act::Accept => {
                let Some(run) = self.run() else {
                    let preset = &config::presets()[self.selected];
                    return Some(Choice::Preset(preset.name.into()));
                };
                let path = run.dir.path().into();
                return match run.way() {
                    Way::Attach => Some(Choice::Attach(path)),
                    Way::Resume if asked => Some(Choice::Resume(path)),
                    Way::Resume => {
                        self.asked = true;
                        None
                    }
                    Way::Watch => Some(Choice::Watch(path)),
                };
            }
            _ => {}
        }
        None
    }

    /// The run that is marked, if none of the presets is.
    pub fn run(&self) -> Option<&Listed> {
        let i = self.selected.checked_sub(config::presets().len())?;
        self.library.runs.get(i)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dashboard::glyphs::Glyphs;
    use crate::dashboard::theme::Theme;
    use crate::run::dir::RunDir;
    use crate::run::lock::RunLock;

    fn options() -> Options {
        Options {
            theme: Theme::mono(),
            glyphs: Glyphs::Braille,
            title: String::new(),
            log: None,
            dir: None,
            verify: |_, _| Ok(()),
        }
    }

    #[test]
    fn keys_choose_presets_then_runs() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(tmp.path(), "tiny", Some("mine")).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let options = options();
        let mut home = Home::open(tmp.path(), &options).unwrap();
        assert_eq!(home.act(Act::Accept), Some(Choice::Preset("tiny".into())));
        assert_eq!(home.act(Act::Previous), None);
        assert_eq!(home.act(Act::Bottom), None);
        assert_eq!(home.act(Act::Next), None);
        let path = || dir.path().into();
        assert_eq!(home.act(Act::Watch), Some(Choice::Watch(path())));
        // Nothing is known of it yet: it is looked at.
        assert_eq!(home.act(Act::Accept), Some(Choice::Watch(path())));
        // A run that is stopped is resumed by a second Enter, and Esc takes back the first.
        assert!(home.library.read_next());
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
    fn a_refreshed_list_keeps_the_choice_and_what_was_read() {
        let tmp = tempfile::tempdir().unwrap();
        let run = |name: &str| {
            let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
            std::fs::write(dir.events(), "").unwrap();
        };
        run("first");
        let options = options();
        let mut home = Home::open(tmp.path(), &options).unwrap();
        assert!(home.library.read_next() && home.library.is_read());
        home.act(Act::Bottom);
        assert!(!home.refresh(Library::open(tmp.path()).unwrap()));
        std::thread::sleep(Duration::from_millis(20));
        run("second");
        assert!(home.refresh(Library::open(tmp.path()).unwrap()));
        assert_eq!(home.library.runs.len(), 2);
        let chosen = &home.library.runs[home.selected - config::presets().len()];
        assert_eq!(chosen.dir.name(), "first");
        assert!(chosen.row.is_some());
    }
}
