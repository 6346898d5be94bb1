//! The views: what fills the screen between header and footer. One file, or folder, a view, and a row of it in the table.

mod eval;
mod log;
pub mod overview;
mod view;

pub use view::Row;

/// Every view, in the order of its tab. Digits of views that do not exist yet are left free.
const VIEWS: &[Row] = &[overview::ROW, log::ROW, eval::ROW];

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
