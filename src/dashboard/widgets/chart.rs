//! The content of a chart, and the y axis fitted to it.

use ratatui::style::Style;

use super::axes::{Scale, Window};
use super::cone::Cone;
use super::fit;
use super::foot::Mark;
use super::trace::{Point, Trace};
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::Theme;

/// A horizontal line.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    pub value: f64,
    pub style: Style,
    /// Written on the line, at its right end.
    pub label: String,
}

/// A chart, before it is known how large it is.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    pub window: Window,
    /// From back to front.
    pub traces: Vec<Trace<'a>>,
    pub levels: Vec<Level>,
    /// Behind the traces.
    pub cone: Option<Cone>,
    pub marks: Vec<Mark>,
    /// Show everything rather than what matters.
    pub whole: bool,
    pub log: bool,
    /// The x at which a vertical line stands.
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

/// The rows below a chart of so many rows that the x axis and the marks take.
pub fn feet(rows: u16) -> u16 {
    if rows >= 6 { 2 } else { 1 }
}

impl Chart<'_> {
    /// Fits the y axis, for an area so many columns wide; `None` when there is nothing to show.
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

    /// Returns the columns that the y labels take in an area of so many rows, with a space after them.
    pub fn margin(&self, fitted: &Fitted, rows: u16) -> u16 {
        let rows = usize::from(rows.saturating_sub(feet(rows)));
        let labels = fitted.scale.ticks(rows);
        let widest = labels.iter().map(|t| t.1.len()).max().unwrap_or(0);
        u16::try_from(widest + 1).unwrap_or(u16::MAX)
    }
}
