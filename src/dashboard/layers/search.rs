//! The line for a text to search in the log.

use crossterm::event::{Event, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::input::{LONGEST, visible};
use super::layer::{Layer, Opening, Room, Row, Step};
use crate::dashboard::keys::Differs;
use crate::dashboard::message::Act;
use crate::dashboard::panels::menu::framed;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::{Context, LOG};
use crate::text::sanitize;

pub const ROW: Row = Row {
    id: "search",
    keys: &["/"],
    footer: "",
    help: "search the log",
    control: false,
    passes: false,
    differs: Differs::Appears(" search "),
    open: |_| Opening::of(Search::default()),
};

#[derive(Debug, Default)]
struct Search {
    input: Input,
}

impl Layer for Search {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, context: &mut Context<'_>) -> Step {
        match act {
            Act::Accept => {
                context.ui.view = LOG;
                context.ui.log.search_for(context.run, self.input.value());
                Step::Close
            }
            Act::Back => Step::Close,
            _ => Step::Stay,
        }
    }

    fn type_key(&mut self, key: &KeyEvent) -> Step {
        if self.input.value().chars().count() < LONGEST {
            self.input.handle_event(&Event::Key(*key));
        }
        Step::Stay
    }

    fn paste(&mut self, text: &str) -> bool {
        let line = format!("{}{}", self.input.value(), sanitize(text));
        self.input = line.chars().take(LONGEST).collect::<String>().into();
        true
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        Room::Bottom(3)
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let block = scene.panel(" search ".into()).border_style(scene.theme.key);
        let inside = framed(frame, block, area);
        let mut line = Line::from(Span::styled("/", scene.theme.title));
        let room = inside.width.saturating_sub(1);
        line.spans.extend(visible(scene, &self.input, room));
        frame.render_widget(Paragraph::new(line), inside);
    }
}
