//! Draws the course of a value in one row.

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::widgets::spark;

/// Returns values as bars in one row of at most `columns`, the latest on the right.
pub fn trend(values: &[f64], columns: usize, glyphs: Glyphs) -> String {
    let latest = &values[values.len().saturating_sub(columns)..];
    match latest.len() {
        // A single value has no course.
        0 | 1 => String::new(),
        _ => spark::bars(latest, 1, glyphs).concat(),
    }
}
