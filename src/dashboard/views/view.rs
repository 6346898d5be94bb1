//! What a view is.

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::dashboard::keys::Differs;
use crate::dashboard::message::Act;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;

/// A view, as the tables show it.
pub struct Row {
    pub id: &'static str,
    /// As its tab says.
    pub title: &'static str,
    pub keys: &'static [&'static str],
    pub command: &'static str,
    pub help: &'static str,
    /// Whether the loss chart is in it, with its keys.
    pub chart: bool,
    pub differs: Differs,
    pub draw: fn(&mut Frame<'_>, &Scene<'_>, Rect),
    /// Draws it where there is room for one panel.
    pub draw_small: fn(&mut Frame<'_>, &Scene<'_>, Rect),
    pub act: fn(&mut Context<'_>, Act),
}
