//! The views: what fills the screen between header and footer.

pub mod log;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::commands::Act;
use super::keymap::Differs;
use super::update::Context;
use super::view::{self, Scene};

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
    pub act: fn(&mut Context<'_>, Act),
}

/// The name of the view a dashboard begins with.
pub const OVERVIEW: &str = "overview";
/// The name of the log.
pub const LOG: &str = "log";

/// Every view, in the order of its tab. Digits of views that do not exist yet are left free.
const VIEWS: &[Row] = &[
    Row {
        id: OVERVIEW,
        title: "Overview",
        keys: &["1"],
        command: "view overview",
        help: "losses, evidence, ranks",
        chart: true,
        differs: Differs::Goes(&["4"], "events ·"),
        draw: view::overview::draw,
        act: |_, _| {},
    },
    log::ROW,
];

/// The rows of [`VIEWS`]; under test, those that a test has added, too.
pub fn all() -> impl Iterator<Item = &'static Row> {
    #[cfg(test)]
    return VIEWS.iter().chain(super::tests::rows::views());
    #[cfg(not(test))]
    VIEWS.iter()
}

/// Whether a view has the loss chart.
pub fn has_chart(id: &str) -> bool {
    all().any(|v| v.id == id && v.chart)
}

/// The row of a view.
pub fn row(id: &str) -> Option<&'static Row> {
    all().find(|v| v.id == id)
}
