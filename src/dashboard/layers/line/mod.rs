//! The `:` line, which takes the commands of `heirloom ctl` and those of the screen.

mod complete;
mod draw;
mod typed;

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;
use tui_input::backend::crossterm::EventHandler;

use super::input::LONGEST;
use super::layer::{Layer, Opening, Room, Row, Stamp, Step};
use super::scroll::Scroll;
use crate::dashboard::keys::Differs;
use crate::dashboard::message::{Act, Effect};
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;
use crate::run::command::Command;

pub use complete::shared_prefix;
pub use typed::CommandLine;

pub const ROW: Row = Row {
    id: "command",
    keys: &[":"],
    footer: "cmd",
    help: "a command in words: grow 2, set lr 2e-4, zoom in",
    control: false,
    passes: false,
    differs: Differs::Appears(" command "),
    open: |context| Opening::of(CommandLine::new(&context.ui.history)),
};

impl Layer for CommandLine {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step {
        match (act, self.asked.take()) {
            (Act::Accept, Some(command)) if confirmed => {
                return Step::Do(vec![Effect::Send(command)]);
            }
            (Act::Accept, _) => {
                let line = self.input.value().trim();
                return match line.is_empty() {
                    true => Step::Close,
                    false => Step::Run(line.into()),
                };
            }
            (Act::Back, _) => return Step::Close,
            (Act::Complete, _) => {
                self.complete(&context.tables.entries, context.run, &context.facts.nearby);
            }
            (Act::Older | Act::Newer, _) => self.recall(act == Act::Older),
            _ => {}
        }
        Step::Stay
    }

    fn answer(&mut self, asked: Result<Command, String>, context: &mut Context<'_>) -> Step {
        match asked {
            Ok(command) => {
                (self.asked, self.scroll) = (Some(command), Scroll::default());
                Step::Confirm(Stamp::phase(context.run))
            }
            Err(error) => {
                self.error = Some(error);
                Step::Stay
            }
        }
    }

    fn show(&mut self, text: String) {
        self.shown = Some(text);
    }

    fn opened(&self) -> Vec<Effect> {
        vec![Effect::LookAround]
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
        (self.error, self.shown, self.taken) = (None, None, None);
        Step::Stay
    }

    fn paste(&mut self, text: &str) -> bool {
        self.insert(text);
        true
    }

    fn scroll(&mut self, act: Act) {
        self.scroll.act(act);
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        match self.asked {
            Some(_) => Room::Bottom(draw::ASKING),
            None => Room::Bottom(draw::HEIGHT),
        }
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool) {
        draw::draw(frame, scene, self, area, confirming);
    }
}

#[cfg(test)]
mod tests;
