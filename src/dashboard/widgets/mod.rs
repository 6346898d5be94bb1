//! Drawing of plain values: charts, heat maps and sparklines.
//!
//! Everything here takes series, windows, styles and characters as arguments and knows nothing of a run's state, of the
//! screens or of their keys (a test searches the sources for those names). Two runs can thus be drawn in one chart.
//!
//! | module | draws |
//! |---|---|
//! | [`axes`] | nothing: what part of an axis is shown, and how values become rows and labels |
//! | [`ticks`] | nothing: the round numbers of an axis, and how they are written |
//! | [`trace`] | nothing: reduces a part of a series to one point per column, with its average |
//! | [`fit`] | nothing: the range of values worth showing |
//! | [`chart`] | nothing: what a chart shows, and the y axis fitted to it |
//! | [`paint`] | a chart: traces, levels, bands, marks and a cursor over one pair of axes |
//! | [`cone`] | a band that widens to the bounds of an expected value |
//! | [`foot`] | the x axis and the marks below a chart |
//! | [`dots`] | dots finer than cells |
//! | [`heatmap`] | rows of shades over the x axis of a chart |
//! | [`spark`] | small series, a few rows each |

pub mod axes;
pub mod chart;
pub mod cone;
pub mod dots;
pub mod fit;
pub mod foot;
pub mod heatmap;
mod paint;
pub mod spark;
pub mod ticks;
pub mod trace;

#[cfg(test)]
mod tests;

pub use crate::text::thousands;
