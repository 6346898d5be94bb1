//! The `:` line: commands in words, the same as `heirloom ctl` takes, and those of the screen.

mod complete;
mod draw;

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

pub use draw::visible;

use super::{Layer, Room, Row, Stamp, Step};
use crate::dashboard::commands::{self, Act, Ran};
use crate::dashboard::keymap::Differs;
use crate::dashboard::update::{Context, Effect};
use crate::dashboard::view::Scene;
use crate::run::command::Command;
use crate::text::sanitize;

/// Longest line, in characters.
pub const LONGEST: usize = 200;

pub const ROW: Row = Row {
    id: "command",
    keys: &[":"],
    footer: "cmd",
    help: "a command in words: grow 2, set lr 2e-4, zoom in",
    control: false,
    passes: false,
    differs: Differs::Appears(" command "),
    open,
};

/// A command being typed.
#[derive(Debug, Default)]
pub struct CommandLine {
    input: Input,
    /// Why the line was not understood.
    error: Option<String>,
    /// What is about to be done.
    asked: Option<Command>,
    /// Earlier lines, and which of them is shown; the number of them: none.
    history: Vec<String>,
    at: usize,
    /// Ways to end the last word, and the one that was taken last.
    candidates: Vec<String>,
    taken: Option<usize>,
}

fn open(context: &mut Context<'_>) -> Vec<Effect> {
    let history = context.ui.history.clone();
    let line = Box::new(CommandLine {
        at: history.len(),
        history,
        ..CommandLine::default()
    });
    context.ui.layers.push(line, context.now);
    Vec::new()
}

impl CommandLine {
    fn show(&mut self, text: &str) {
        self.input = Input::new(text.into());
        (self.error, self.taken) = (None, None);
        self.candidates.clear();
    }

    /// Shows an earlier line, or a later one.
    fn recall(&mut self, earlier: bool) {
        self.at = match earlier {
            true => self.at.saturating_sub(1),
            false => (self.at + 1).min(self.history.len()),
        };
        let text = self.history.get(self.at).cloned().unwrap_or_default();
        self.show(&text);
    }

    /// Ends the last word in the only way there is, or in the next one of several.
    fn complete(&mut self, context: &Context<'_>) {
        if self.taken.is_none() {
            self.candidates = complete::candidates(self.input.value(), context.run);
        }
        match self.candidates.len() {
            0 => {}
            1 => {
                let only = self.candidates[0].clone();
                self.show(&only);
            }
            n => {
                let shared = complete::shared_prefix(&self.candidates);
                if self.taken.is_none() && shared.len() > self.input.value().len() {
                    self.show(&shared);
                    return;
                }
                let next = self.taken.map_or(0, |i| (i + 1) % n);
                self.taken = Some(next);
                self.input = Input::new(self.candidates[next].trim_end().into());
            }
        }
    }

    fn enter(&mut self, context: &mut Context<'_>) -> Step {
        let line = self.input.value().trim().to_string();
        if line.is_empty() {
            return Step::Close;
        }
        match commands::run(context, &line) {
            Ok(Ran::Done(effects)) => {
                context.ui.remember(&line);
                Step::Do(effects)
            }
            Ok(Ran::Ask(command)) => {
                context.ui.remember(&line);
                self.asked = Some(command);
                Step::Confirm(Stamp::stretch(context.run))
            }
            Err(error) => {
                self.error = Some(error);
                Step::Stay
            }
        }
    }
}

impl Layer for CommandLine {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step {
        match (act, self.asked.take()) {
            (Act::Accept, Some(command)) if confirmed => {
                return Step::Do(vec![Effect::Send(command)]);
            }
            (Act::Accept, _) => return self.enter(context),
            (Act::Back, _) => return Step::Close,
            (Act::Complete, _) => self.complete(context),
            (Act::Older | Act::Newer, _) => self.recall(act == Act::Older),
            _ => {}
        }
        Step::Stay
    }

    fn type_key(&mut self, key: &KeyEvent) -> Step {
        let empty = self.input.value().is_empty();
        if key.code == KeyCode::Backspace && empty {
            return Step::Close;
        }
        let full = self.input.value().chars().count() >= LONGEST;
        if !(full && matches!(key.code, KeyCode::Char(_)) && key.modifiers.is_empty()) {
            self.input.handle_event(&Event::Key(*key));
        }
        (self.error, self.taken) = (None, None);
        Step::Stay
    }

    fn paste(&mut self, text: &str) -> bool {
        // A line break would be an Enter: only what can be read before it is sent is taken.
        let text = text.replace(['\r', '\n', '\t'], " ");
        let text = sanitize(&text);
        let (before, after): (String, String) = {
            let chars: Vec<char> = self.input.value().chars().collect();
            let (a, b) = chars.split_at(self.input.cursor().min(chars.len()));
            (a.iter().collect(), b.iter().collect())
        };
        let room = LONGEST.saturating_sub(self.input.value().chars().count());
        let text: String = text.chars().take(room).collect();
        let cursor = before.chars().count() + text.chars().count();
        self.input = Input::new(format!("{before}{text}{after}")).with_cursor(cursor);
        (self.error, self.taken) = (None, None);
        true
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        Room::Bottom(draw::HEIGHT)
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool) {
        draw::draw(frame, scene, self, area, confirming);
    }
}

#[cfg(test)]
mod tests;
