//! Shows the events since the operator's last visit, when a dashboard is attached again.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::layer::{Layer, Opening, Room, Row, Step};
use super::scroll::{self, Scroll};
use crate::dashboard::keys::Differs;
use crate::dashboard::message::Act;
use crate::dashboard::panels::notes;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;
use crate::dashboard::when;
use crate::run::since::{self, Since};
use crate::run::state::RunState;

pub const ROW: Row = Row {
    id: "since",
    keys: &["S"],
    footer: "",
    help: "events since you last looked",
    control: false,
    passes: true,
    differs: Differs::Appears("since you last looked"),
    open: |context: &mut Context<'_>| match Looked::new(context.run) {
        Some(looked) => Opening::of(looked),
        None => Opening::refused(
            context,
            "since you last looked: no decision, no warning, no better loss",
        ),
    },
};

/// The events, as of the opening of the layer.
#[derive(Debug)]
pub struct Looked {
    since: Since,
    scroll: Scroll,
}

impl Looked {
    /// Makes the layer; `None` if nothing important has happened.
    pub fn new(run: &RunState) -> Option<Self> {
        Some(Self {
            since: since::of(run)?,
            scroll: Scroll::default(),
        })
    }
}

impl Layer for Looked {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, _: &mut Context<'_>) -> Step {
        if act == Act::Back {
            return Step::Close;
        }
        self.scroll.act(act);
        Step::Stay
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        Room::Over
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let left = self.since.left;
        let ago = when::ago((scene.now() - left.t) as f64 / 1000.0);
        let mut lines = Vec::new();
        for line in &self.since.summary {
            lines.push(Line::styled(
                scene.text(&format!(" {line}")),
                scene.theme.title,
            ));
        }
        lines.push(Line::default());
        lines.extend(self.since.notes.iter().map(|note| {
            Line::from(vec![
                Span::styled(notes::note_place(scene, note), scene.theme.dim),
                Span::styled(
                    notes::note_text(scene, note),
                    notes::note_style(scene, note.level),
                ),
            ])
        }));
        let name = format!("since you last looked, {ago}");
        let closing = (&*name, "S or Esc");
        scroll::draw(&self.scroll, frame, scene, area, closing, lines);
    }
}
