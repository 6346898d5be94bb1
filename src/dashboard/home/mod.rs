//! The home screen, which opens runs and starts presets and configs.
//!
//! `list` is its state and the effects of keys, `columns` the table of runs, `about` the box below the table, and `form` the form
//! for a new run, with `complete` for its first field; `draw` and `form_draw` draw.

mod about;
mod columns;
mod complete;
mod draw;
mod form;
mod form_draw;
mod list;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::draw::{FORM, LIST, draw};
use self::list::Home;
use super::app::Options;
use super::commands;
use super::event_loop::{self, Screen};
use super::keymap::{self, Found};
use super::library::Library;
use super::terminal::{Input, Terminal};

pub use form::{Check, Start};
pub use list::{Choice, Last};

/// Longest wait for input once all runs have been read. Then they are listed again.
const REST: Duration = Duration::from_secs(1);
/// Least time between frames while many runs are read.
const FRAME: Duration = Duration::from_millis(100);
/// Time between two updates of ages and remaining times.
const AGES: Duration = Duration::from_secs(10);

/// Shows the home screen until the operator makes a choice. `last` is the state that is kept between two calls; `check` checks
/// that the form's run can be started.
///
/// # Errors
/// When the terminal cannot be taken over or the runs directory cannot be read.
pub fn run(runs: &Path, options: &Options, last: &mut Last, check: Check<'_>) -> Result<Choice> {
    let mut home = Home::open(runs, options, std::mem::take(last), check)?;
    let mut terminal = Terminal::enter(options.job).context("the home screen needs a terminal")?;
    let choice = event_loop::drive(&mut home, &mut terminal)?;
    *last = home.close();
    Ok(choice)
}

impl Screen for Home<'_> {
    type Out = Choice;

    /// Reads one run per turn, so that keys are handled between long journals.
    fn turn(&mut self, now: Instant) -> Result<Option<Choice>> {
        if self.read_next() {
            self.dirty = true;
        } else if now.duration_since(self.listed) >= REST {
            self.listed = now;
            self.dirty |= self.refresh(Library::open(self.dir)?);
        }
        self.dirty |= self.refusal.age(now);
        if now.duration_since(self.ticked) >= AGES {
            self.ticked = now;
            self.tick();
            self.dirty = true;
        }
        Ok(None)
    }

    fn wait(&self) -> Duration {
        match (self.library.is_fresh(), self.dirty) {
            (false, _) => Duration::ZERO,
            (true, true) => FRAME,
            (true, false) => REST,
        }
    }

    fn is_due(&self, _: bool, now: Instant) -> bool {
        let rested = self.drawn.is_none_or(|at| now.duration_since(at) >= FRAME);
        self.dirty && (self.urgent || rested)
    }

    fn draw(&mut self, terminal: &mut Terminal, now: Instant) {
        terminal.draw(|frame| draw(frame, self));
        (self.dirty, self.urgent, self.drawn) = (false, false, Some(now));
    }

    fn on_input(&mut self, input: Input, _: &mut Terminal) -> Option<Choice> {
        (self.dirty, self.urgent) = (true, true);
        match input {
            Input::Hangup | Input::Stop => Some(Choice::Quit),
            Input::Key(key) => {
                let prefix = self.prefix.take();
                let scope = if self.form.is_some() { FORM } else { LIST };
                let bindings = &keymap::tables().bindings;
                match keymap::look_up(bindings, &[scope], prefix.as_deref(), &key) {
                    Found::Command(line) => commands::act_of(&line).and_then(|act| self.act(act)),
                    Found::Prefix(keys) => {
                        self.prefix = Some(keys);
                        None
                    }
                    Found::Nothing => {
                        if let Some(form) = &mut self.form {
                            form.type_key(&key);
                        }
                        None
                    }
                }
            }
            Input::Paste(text) => {
                if let Some(form) = &mut self.form {
                    form.paste(&text);
                }
                None
            }
            Input::Resized | Input::Suspend | Input::Away | Input::Back => None,
        }
    }

    fn on_resize(&mut self) {
        (self.dirty, self.urgent) = (true, true);
    }

    fn on_refused(&mut self, why: String) {
        self.refusal.show(why);
        (self.dirty, self.urgent) = (true, true);
    }
}
