//! The input of a frame.

use jiff::tz::TimeZone;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use super::glyphs::Glyphs;
use super::keys::{Scope, Tables};
use super::session::{Facts, is_over};
use super::theme::Theme;
use super::ui::Ui;
use crate::run::state::{RunState, Status};
use crate::text::sanitize;

/// Least size of a screen for several panels; a smaller one shows one panel.
pub const SMALL: (u16, u16) = (60, 15);
/// Least width for panels side by side; on narrower screens they are stacked.
pub const WIDE: u16 = 120;

/// The input of a frame.
pub struct Scene<'a> {
    pub run: &'a RunState,
    pub facts: &'a Facts,
    /// Whether the display is frozen.
    pub frozen: bool,
    /// The present state of the run, even if the display is frozen.
    pub status: Status,
    pub ui: &'a Ui,
    pub tables: &'a Tables,
    /// The scopes of keys that layers do not take, innermost first.
    pub scopes: &'a [Scope],
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
    /// The run's name.
    pub title: &'a str,
    /// Time zone of displayed times.
    pub zone: &'a TimeZone,
    /// The present Unix time in milliseconds; `None` for a run that is not in progress.
    pub clock: Option<i64>,
}

impl Scene<'_> {
    /// Sanitises foreign text and converts it to this screen's characters.
    pub fn text(&self, text: &str) -> String {
        self.glyphs.text(&sanitize(text))
    }

    /// Returns the present time for a run in progress, else the time of its last event. Unix time in milliseconds.
    pub fn now(&self) -> i64 {
        self.clock.unwrap_or(self.run.t)
    }

    /// Whether lines and bars are drawn with ASCII characters.
    pub fn is_ascii(&self) -> bool {
        self.glyphs == Glyphs::Ascii
    }

    /// Returns a frame with a title.
    pub fn panel(&self, title: String) -> Block<'_> {
        Block::new()
            .borders(Borders::ALL)
            .border_set(self.glyphs.border())
            .border_style(self.theme.dim)
            .title(Span::styled(title, self.theme.title))
    }

    /// Whether the run's status is final.
    pub fn over(&self) -> bool {
        is_over(self.run.core.status)
    }
}

/// Returns the `segments`, in order, that fit into `width`, two spaces apart. A later segment may fit although an earlier one did
/// not.
pub fn fitted(segments: Vec<(String, Style)>, width: u16) -> Line<'static> {
    let mut line = Line::default();
    let mut left = usize::from(width);
    for (text, style) in segments {
        let gap = if line.spans.is_empty() { 1 } else { 2 };
        let needs = gap + Span::raw(text.as_str()).width();
        if !text.is_empty() && needs <= left {
            line.push_span(Span::raw(" ".repeat(gap)));
            line.push_span(Span::styled(text, style));
            left -= needs;
        }
    }
    line
}
