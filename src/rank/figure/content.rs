//! The contents of a figure.

use crate::rank::maps::Map;
use crate::rank::survey::Surveyed;

/// The data to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Figure<'a> {
    /// The model's name.
    pub name: &'a str,
    pub found: &'a Surveyed,
    /// Another model, measured on the same windows, for comparison.
    pub against: Option<(&'a str, &'a Surveyed)>,
    pub maps: &'a [Map],
}
