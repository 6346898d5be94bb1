//! The content of a chart, and the y axis fitted to it.

use ratatui::style::Style;

use super::axes::{Scale, Window};
use super::cone::Cone;
use super::fit;
use super::foot::Mark;
use super::trace::{Point, Trace};
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::Theme;

/// A horizontal line at a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    pub value: f64,
    pub style: Style,
    /// Text at the right end of the line.
    pub label: String,
}

/// A chart, independent of its size on screen.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    pub window: Window,
    /// Traces from back to front.
    pub traces: Vec<Trace<'a>>,
    pub levels: Vec<Level>,
    /// A cone behind the traces.
    pub cone: Option<Cone>,
    pub marks: Vec<Mark>,
    /// Show all values, instead of cutting spikes and the first descent.
    pub whole: bool,
    pub log: bool,
    /// The x of a vertical line.
    pub cursor: Option<f64>,
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
}

/// A chart's y axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub scale: Scale,
    /// Number of places at which a trace leaves the chart.
    pub cuts: usize,
}

/// Returns the rows of the x axis and the marks below a chart of `rows` rows.
pub fn feet(rows: u16) -> u16 {
    if rows >= 6 { 2 } else { 1 }
}

impl Chart<'_> {
    /// Fits the y axis for an area of `width` columns. Returns `None` without values.
    pub fn fit(&self, width: u16) -> Option<Fitted> {
        let across = usize::from(width.max(1)) * self.glyphs.dots().0;
        let fitted = self.traces.iter().filter(|t| t.fits);
        let points: Vec<Vec<Point>> = fitted.map(|t| t.points(&self.window, across)).collect();
        let levels: Vec<f64> = self.levels.iter().map(|l| l.value).collect();
        if points.iter().flatten().all(|p| p.low > p.high) {
            return None;
        }
        let (low, high) = match self.whole {
            true => fit::all(&points, &levels),
            false => fit::robust(&points, &levels),
        }?;
        let (low, high) = match &self.cone {
            Some(cone) => cone.widen((low, high)),
            None => (low, high),
        };
        let scale = Scale::over(low, high, self.log);
        let inside = |v| scale.contains(v);
        let cuts = points
            .iter()
            .map(|p| fit::cuts(p, inside, scale.high).len());
        Some(Fitted {
            scale,
            cuts: cuts.max().unwrap_or(0),
        })
    }

    /// Returns the columns of the y labels in an area of `rows` rows, with a space after them.
    pub fn margin(&self, fitted: &Fitted, rows: u16) -> u16 {
        let rows = usize::from(rows.saturating_sub(feet(rows)));
        let labels = fitted.scale.ticks(rows);
        let widest = labels.iter().map(|t| t.1.len()).max().unwrap_or(0);
        u16::try_from(widest + 1).unwrap_or(u16::MAX)
    }
}
