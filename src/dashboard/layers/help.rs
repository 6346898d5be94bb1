//! The help, made from the tables of keys and commands.

use std::cell::Cell;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::layer::{Layer, Opening, Room, Row, Step};
use crate::dashboard::keys::{Binding, Differs, Scope};
use crate::dashboard::message::Act;
use crate::dashboard::panels::scrubber;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;

pub const ROW: Row = Row {
    id: "help",
    keys: &["?"],
    footer: "help",
    help: "show or hide this help",
    control: false,
    passes: true,
    differs: Differs::Appears("Esc closes"),
    open: |_| Opening::of(Help::default()),
};

#[derive(Debug, Default)]
struct Help {
    /// Lines scrolled past.
    from: usize,
    /// Most lines that can be, and the rows shown, as of the last frame.
    shape: Cell<(usize, usize)>,
}

impl Layer for Help {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, _: &mut Context<'_>) -> Step {
        let (most, rows) = self.shape.get();
        let page = rows.max(1);
        self.from = match act {
            Act::Back => return Step::Close,
            Act::Next => self.from + 1,
            Act::Previous => self.from.saturating_sub(1),
            Act::PageDown => self.from + page,
            Act::PageUp => self.from.saturating_sub(page),
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
        let lines = lines(scene);
        let widest = lines.iter().map(Line::width).max().unwrap_or(0) + 3;
        let width = u16::try_from(widest).unwrap_or(u16::MAX).min(area.width);
        let height = u16::try_from(lines.len() + 2)
            .unwrap_or(u16::MAX)
            .min(area.height);
        let inside = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - height) / 2,
            width,
            height,
        };
        let rows = usize::from(height.saturating_sub(2));
        let most = lines.len().saturating_sub(rows);
        self.shape.set((most, rows));
        frame.render_widget(Clear, inside);
        let more = match most.saturating_sub(self.from) {
            0 => "",
            _ => "j scrolls · ",
        };
        let title = format!(" keys · {more}? or Esc closes ");
        let block = scene.panel(scene.text(&title));
        let block = block.title_style(scene.theme.title);
        let shown: Vec<Line<'_>> = lines.into_iter().skip(self.from.min(most)).collect();
        frame.render_widget(Paragraph::new(shown).block(block), inside);
    }
}

/// The keys that work here, then those inside prompts.
fn lines<'a>(scene: &Scene<'_>) -> Vec<Line<'a>> {
    let entry = |key: &str, what: &str| {
        Line::from(vec![
            Span::styled(format!(" {key:<15}"), scene.theme.key),
            Span::styled(what.to_string(), scene.theme.plain),
        ])
    };
    let facts = scene.facts;
    let bindings = |scope: Scope| {
        let all = scene.tables.bindings.iter();
        all.filter(move |b: &&Binding| b.scope == scope)
    };
    let mut lines = Vec::new();
    let order = [
        Scope::Global,
        Scope::Replay,
        Scope::View(scene.ui.view),
        Scope::Chart,
    ];
    for scope in order.into_iter().filter(|s| scene.scopes.contains(s)) {
        let mut bindings = bindings(scope).peekable();
        if scope != Scope::Global && bindings.peek().is_some() {
            let title = format!(" {}:", scope.title());
            lines.push(Line::styled(title, scene.theme.dim));
        }
        for binding in bindings {
            if binding.control && facts.read_only {
                continue;
            }
            let help = match binding.command {
                "leave" if facts.read_only => "close this view",
                _ => binding.help,
            };
            lines.push(entry(&binding.label(), help));
        }
        if scope == Scope::Replay {
            lines.push(scrubber::legend(scene));
        }
    }
    if !facts.read_only {
        lines.push(Line::styled(" in decision:", scene.theme.dim));
        let decision = bindings(Scope::Layer("decision"));
        lines.extend(decision.map(|b| entry(&b.label(), b.help)));
    }
    lines
}
