//! A framed list with a selected entry, for prompts.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear};

use crate::dashboard::scene::Scene;

/// Clears and frames an area. Returns the area inside the frame.
pub fn framed(frame: &mut Frame<'_>, block: Block<'_>, area: Rect) -> Rect {
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inside
}

/// Draws a list with a selected entry.
pub fn listed(
    scene: &Scene<'_>,
    entries: impl Iterator<Item = String>,
    selected: usize,
) -> Vec<Line<'static>> {
    let line = |(i, text): (usize, String)| {
        if i == selected {
            Line::styled(format!("> {text} "), scene.theme.selected)
        } else {
            Line::styled(format!("  {text} "), scene.theme.plain)
        }
    };
    entries.enumerate().map(line).collect()
}
