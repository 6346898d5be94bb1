//! Every figure of the run, one a line: what the header has no room for.

use std::cell::Cell;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Wrap};

use super::layer::{Layer, Opening, Room, Row, Step};
use crate::dashboard::keys::Differs;
use crate::dashboard::message::Act;
use crate::dashboard::panels::{evidence, figures};
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
struct Info {
    /// Rows scrolled past.
    from: u16,
    /// Most rows that can be, and the rows shown, as of the last frame.
    shape: Cell<(u16, u16)>,
}

impl Layer for Info {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, _: &mut Context<'_>) -> Step {
        let (most, rows) = self.shape.get();
        self.from = match act {
            Act::Back => return Step::Close,
            Act::Next => self.from + 1,
            Act::Previous => self.from.saturating_sub(1),
            Act::PageDown => self.from.saturating_add(rows.max(1)),
            Act::PageUp => self.from.saturating_sub(rows.max(1)),
            _ => self.from,
        }
        .min(most);
        Step::Stay
    }

    fn lock(&self) -> Duration {
        Duration::ZERO
    }

    fn room(&self) -> Room {
        Room::Over
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let mut lines: Vec<Line<'_>> = figures::of_state(scene)
            .into_iter()
            .chain(figures::of_losses(scene))
            .filter(|f| !f.name.is_empty())
            .map(|f| {
                Line::from(vec![
                    Span::styled(format!(" {:<21}", f.name), scene.theme.dim),
                    Span::styled(f.text, f.style),
                ])
            })
            .collect();
        lines.push(Line::default());
        lines.extend(evidence::lines(scene, area.width.saturating_sub(4)));
        let height = u16::try_from(lines.len() + 2)
            .unwrap_or(u16::MAX)
            .min(area.height);
        let width = area.width.min(84);
        let inside = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - height) / 2,
            width,
            height,
        };
        let rows = height.saturating_sub(2);
        let most = u16::try_from(lines.len())
            .unwrap_or(u16::MAX)
            .saturating_sub(rows);
        self.shape.set((most, rows));
        frame.render_widget(Clear, inside);
        let more = if self.from < most {
            "j scrolls · "
        } else {
            ""
        };
        let title = format!(" figures · {more}i or Esc closes ");
        let text = Paragraph::new(lines)
            .wrap(Wrap { trim: false })
            .scroll((self.from.min(most), 0))
            .block(scene.panel(scene.text(&title)));
        frame.render_widget(text, inside);
    }
}
