//! Draws a panel of the view, and measures the space inside it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::dashboard::scene::Scene;

/// Rows of a panel's frame.
pub const FRAME: u16 = 2;

/// Returns the columns inside a panel.
pub fn inside(width: u16) -> usize {
    usize::from(width.saturating_sub(2))
}

/// Returns the rows inside a panel.
pub fn room(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(FRAME))
}

/// Draws a panel of lines. If they do not fit, the heading and the last line are kept.
pub fn panel(
    frame: &mut Frame<'_>,
    scene: &Scene<'_>,
    title: &str,
    mut lines: Vec<Line<'static>>,
    area: Rect,
) {
    let rows = room(area);
    while lines.len() > rows && lines.len() > 1 {
        lines.remove(1);
    }
    let block = scene.panel(scene.text(title));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
