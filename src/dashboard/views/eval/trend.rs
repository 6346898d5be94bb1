//! A course in one row.

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::widgets::spark;

/// Values as bars on one row of at most `columns`, the latest on the right.
pub fn trend(values: &[f64], columns: usize, glyphs: Glyphs) -> String {
    let latest = &values[values.len().saturating_sub(columns)..];
    match latest.len() {
        // One value has no course.
        0 | 1 => String::new(),
        _ => spark::bars(latest, 1, glyphs).concat(),
    }
}
