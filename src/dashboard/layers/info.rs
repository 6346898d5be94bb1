//! The info layer: all figures of the run, one per line, including those for which the header has no room.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::layer::{Layer, Opening, Room, Row, Step};
use super::scroll::{self, Scroll};
use crate::dashboard::keys::Differs;
use crate::dashboard::message::Act;
use crate::dashboard::panels::{evidence, figures, trouble};
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;

pub const ROW: Row = Row {
    id: "info",
    keys: &["i"],
    footer: "info",
    help: "every figure of the run, and what each choice costs",
    control: false,
    passes: true,
    differs: Differs::Appears(" figures "),
    open: |_| Opening::of(Info::default()),
};

#[derive(Debug, Default)]
struct Info(Scroll);

impl Layer for Info {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, _: &mut Context<'_>) -> Step {
        if act == Act::Back {
            return Step::Close;
        }
        self.0.act(act);
        Step::Stay
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        Room::Over
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let mut lines = trouble::lines(scene);
        if let Some(said) = &scene.ui.said {
            let text = scene.text(&format!(" last message: {said}"));
            lines.push(Line::styled(text, scene.theme.plain));
            lines.push(Line::default());
        }
        let figures = figures::of_state(scene).into_iter();
        let figures = figures
            .chain(figures::of_losses(scene))
            .filter(|f| !f.name.is_empty())
            .map(|f| {
                Line::from(vec![
                    Span::styled(format!(" {:<21}", f.name), scene.theme.dim),
                    Span::styled(f.text, f.style),
                ])
            });
        lines.extend(figures);
        lines.push(Line::default());
        lines.extend(evidence::lines(scene, area.width.saturating_sub(4)));
        let name = ("figures", "i or Esc");
        scroll::draw(&self.0, frame, scene, area, name, lines);
    }
}
