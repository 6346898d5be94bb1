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

/// Below this, one panel.
pub const SMALL: (u16, u16) = (60, 15);
/// From this width on, panels stand side by side that are stacked below it.
pub const WIDE: u16 = 120;

/// The input of a frame.
pub struct Scene<'a> {
    pub run: &'a RunState,
    pub facts: &'a Facts,
    /// The display stands still.
    pub frozen: bool,
    /// The present state of the run, also where the display is frozen.
    pub status: Status,
    pub ui: &'a Ui,
    pub tables: &'a Tables,
    /// Where keys work that no layer takes, innermost first.
    pub scopes: &'a [Scope],
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
    /// The run's name.
    pub title: &'a str,
    /// For clock times.
    pub zone: &'a TimeZone,
    /// The time now, Unix time in milliseconds; none where the run is not followed as it happens.
    pub clock: Option<i64>,
}

impl Scene<'_> {
    /// Foreign text made fit for this screen.
    pub fn text(&self, text: &str) -> String {
        self.glyphs.text(&sanitize(text))
    }

    /// The time now: by the clock where the run is live, else that of its last event. Unix time in milliseconds.
    pub fn now(&self) -> i64 {
        self.clock.unwrap_or(self.run.t)
    }

    /// Whether lines and bars are drawn with ASCII characters.
    pub fn is_ascii(&self) -> bool {
        self.glyphs == Glyphs::Ascii
    }

    /// A frame with a title.
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

/// As many of `segments`, in order, as fit into `width`, two spaces apart; a later one may fit where an earlier did
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
