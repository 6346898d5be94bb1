//! The home screen: presets to start, runs to open.

mod draw;
mod list;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::draw::{SCOPE, draw};
use self::list::Home;
use super::app::Options;
use super::commands;
use super::event_loop::{self, Screen};
use super::keymap::{self, Found};
use super::library::Library;
use super::terminal::{Input, Terminal};

pub use list::Choice;

/// How long input is waited for when all runs have been read; then they are listed again.
const REST: Duration = Duration::from_secs(1);

/// Shows the home screen until something is chosen.
///
/// # Errors
/// When the terminal cannot be taken over or the runs directory cannot be read.
pub fn run(runs: &Path, options: &Options) -> Result<Choice> {
    let mut home = Home::open(runs, options)?;
    let mut terminal = Terminal::enter().context("the home screen needs a terminal")?;
    event_loop::drive(&mut home, &mut terminal)
}

impl Screen for Home<'_> {
    type Out = Choice;

    /// One run a turn is read, so that keys are answered while a long journal is.
    fn turn(&mut self, now: Instant) -> Result<Option<Choice>> {
        if self.library.read_next() {
            self.dirty = true;
        } else if now.duration_since(self.listed) >= REST {
            self.listed = now;
            self.dirty |= self.refresh(Library::open(self.dir)?);
        }
        Ok(None)
    }

    fn wait(&self) -> Duration {
        match self.library.is_read() {
            true => REST,
            false => Duration::ZERO,
        }
    }

    fn is_due(&self, _: bool, _: Instant) -> bool {
        self.dirty
    }

    fn draw(&mut self, terminal: &mut Terminal, _: Instant) {
        terminal.draw(|frame| draw(frame, self, self.options));
        self.dirty = false;
    }

    fn on_input(&mut self, input: Input, _: &mut Terminal) -> Option<Choice> {
        self.dirty = true;
        match input {
            Input::Hangup | Input::Stop => Some(Choice::Quit),
            Input::Key(key) => {
                let prefix = self.prefix.take();
                match keymap::look_up(
                    &keymap::tables().bindings,
                    &[SCOPE],
                    prefix.as_deref(),
                    &key,
                ) {
                    Found::Command(line) => commands::act_of(&line).and_then(|act| self.act(act)),
                    Found::Prefix(keys) => {
                        self.prefix = Some(keys);
                        None
                    }
                    Found::Nothing => None,
                }
            }
            Input::Resized | Input::Paste(_) => None,
        }
    }

    fn on_resize(&mut self) {
        self.dirty = true;
    }
}
