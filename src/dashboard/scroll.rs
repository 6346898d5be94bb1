//! Scrolls lines that do not fit into their panel.

use std::cell::Cell;

use ratatui::text::Line;

use super::message::Act;

/// The scroll position of a panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scroll {
    /// Number of lines above the panel.
    from: usize,
    /// Largest offset, and number of visible rows, as of the last frame.
    shape: Cell<(usize, usize)>,
}

impl Scroll {
    /// Moves by a line or a page, within the limits of the last frame.
    pub fn act(&mut self, act: Act) {
        let (most, rows) = self.shape.get();
        let page = rows.max(1);
        self.from = match act {
            Act::Next => self.from + 1,
            Act::Previous => self.from.saturating_sub(1),
            Act::PageDown => self.from + page,
            Act::PageUp => self.from.saturating_sub(page),
            Act::Top => 0,
            Act::Bottom => most,
            _ => self.from,
        }
        .min(most);
    }

    /// Returns the lines that are visible in `rows` rows, and whether more lines follow.
    pub fn visible<'a>(&self, lines: Vec<Line<'a>>, rows: usize) -> (Vec<Line<'a>>, bool) {
        let most = lines.len().saturating_sub(rows);
        self.shape.set((most, rows));
        let from = self.from.min(most);
        (lines.into_iter().skip(from).collect(), from < most)
    }
}
