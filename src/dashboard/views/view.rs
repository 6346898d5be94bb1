//! The row that describes a view in the table of views.

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::dashboard::keys::Differs;
use crate::dashboard::message::Act;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;

/// A view, as the tables show it.
pub struct Row {
    pub id: &'static str,
    /// The title of its tab.
    pub title: &'static str,
    pub keys: &'static [&'static str],
    pub command: &'static str,
    pub help: &'static str,
    /// Whether it contains the loss chart, with the chart's keys.
    pub chart: bool,
    pub differs: Differs,
    pub draw: fn(&mut Frame<'_>, &Scene<'_>, Rect),
    /// Draws the view on a screen with room for one panel.
    pub draw_small: fn(&mut Frame<'_>, &Scene<'_>, Rect),
    pub act: fn(&mut Context<'_>, Act),
}
