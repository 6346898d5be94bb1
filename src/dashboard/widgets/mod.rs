//! Draws plain values as charts, heat maps and sparklines.
//!
//! Widgets take series, windows, styles and characters as arguments. They do not depend on a run's state, on screens or on keys (a
//! test searches the sources for those names), so two runs can be drawn in one chart.
//!
//! | module | draws |
//! |---|---|
//! | [`axes`] | nothing: maps the visible part of an axis to columns, rows and labels |
//! | [`ticks`] | nothing: chooses the round numbers of an axis and formats them |
//! | [`trace`] | nothing: reduces a part of a series to one point per column, with its average |
//! | [`fit`] | nothing: computes the range of values to show |
//! | [`chart`] | nothing: holds the content of a chart, and fits the y axis |
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
