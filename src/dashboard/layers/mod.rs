//! Layers lie over a view and get keys first: prompts, the command line, the help. Each has a file or folder, and a row in the
//! table below.

pub mod decision;
mod help;
mod info;
pub mod input;
mod layer;
pub mod leave;
pub mod line;
mod rollback;
pub mod scroll;
mod search;
pub mod since;

pub use layer::{LOCK, Layer, Opening, Room, Row, Stamp, Step};

/// Every kind of layer.
const LAYERS: &[Row] = &[
    help::ROW,
    decision::ROW,
    rollback::ROW,
    leave::ROW,
    line::ROW,
    search::ROW,
    since::ROW,
    info::ROW,
];

/// Returns the rows of [`LAYERS`] and, in tests, the rows that a test has added.
pub fn all() -> impl Iterator<Item = &'static Row> {
    #[cfg(test)]
    return LAYERS.iter().chain(super::tests::rows::layers());
    #[cfg(not(test))]
    LAYERS.iter()
}
