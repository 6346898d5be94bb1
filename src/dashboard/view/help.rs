//! The help overlay, from the one table of keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::{Scene, scrubber};
use crate::dashboard::keys::{Action, BINDINGS, PROMPT_KEYS};

/// Over the middle of `area`.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let entry = |key: &str, what: &str| {
        Line::from(vec![
            Span::styled(format!(" {key:<12}"), scene.theme.key),
            Span::styled(what.to_string(), scene.theme.plain),
        ])
    };
    let mut lines: Vec<Line<'_>> = BINDINGS
        .iter()
        .filter(|b| !(b.control && scene.ui.read_only))
        .filter(|b| b.place.is_here(scene.ui.replay.is_some()))
        .map(|b| match b.action {
            Action::Leave if scene.ui.read_only => entry(b.label, "close this view"),
            _ => entry(b.label, b.help),
        })
        .collect();
    if scene.ui.replay.is_some() {
        lines.push(scrubber::legend(scene));
    }
    if !scene.ui.read_only {
        lines.push(Line::styled(" in prompts:", scene.theme.dim));
        lines.extend(PROMPT_KEYS.iter().map(|(key, what)| entry(key, what)));
    }
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
    frame.render_widget(Clear, inside);
    let block = scene.panel(" keys · ? or Esc closes ".into());
    let block = block.title_style(scene.theme.title);
    frame.render_widget(Paragraph::new(lines).block(block), inside);
}
