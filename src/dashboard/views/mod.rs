//! The views, which fill the screen between header and footer. Each has a file or folder, and a row in the table below.

mod eval;
mod log;
pub mod overview;
mod view;

pub use view::Row;

/// Every view, in the order of the tabs. Digits of future views are left free.
const VIEWS: &[Row] = &[overview::ROW, log::ROW, eval::ROW];

/// Returns the rows of [`VIEWS`] and, in tests, the rows that a test has added.
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

/// Returns the row of a view.
pub fn row(id: &str) -> Option<&'static Row> {
    all().find(|v| v.id == id)
}
