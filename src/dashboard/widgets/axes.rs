//! Maps the visible part of an axis to columns, rows and labels.

use std::ops::Range;

use super::thousands;
use super::ticks::{decades, evenly, labels, steps_of_decade, unit};
use crate::run::series::pyramid::{Place, Series};
use crate::run::show::duration;
use crate::run::table;

/// The unit of the x axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axis {
    #[default]
    Step,
    Tokens,
    Time,
}

impl Axis {
    /// Returns a place's value on this axis: steps, tokens or seconds.
    pub fn value(self, place: &Place) -> f64 {
        match self {
            Self::Step => place.step as f64,
            Self::Tokens => place.tokens as f64,
            Self::Time => place.elapsed,
        }
    }

    /// Returns the unit, which stands before the first label.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Step => "step ",
            Self::Tokens => "tokens ",
            Self::Time => "",
        }
    }

    /// Returns a value of this axis as text.
    pub fn label(self, x: f64) -> String {
        match self {
            Self::Step => thousands(x.round() as u64),
            Self::Tokens => table::count(x.round() as u64),
            Self::Time => duration(x),
        }
    }
}

/// The part of the x axis on screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub axis: Axis,
    pub from: f64,
    pub to: f64,
}

impl Window {
    /// Returns the column of `size` that `x` falls into, if it is on screen.
    pub fn column(&self, x: f64, size: usize) -> Option<usize> {
        let share = (x - self.from) / (self.to - self.from);
        (0.0..=1.0)
            .contains(&share)
            .then(|| ((share * size as f64) as usize).min(size.saturating_sub(1)))
    }

    /// Returns the column of `size` that is nearest to `x`.
    pub fn nearest(&self, x: f64, size: usize) -> usize {
        let share = ((x - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        ((share * size as f64) as usize).min(size.saturating_sub(1))
    }

    /// Returns the x at which a column of `size` begins.
    pub fn start_of(&self, column: usize, size: usize) -> f64 {
        self.from + column as f64 / size.max(1) as f64 * (self.to - self.from)
    }

    /// Returns the buckets among `range` that are on screen when `origin` is x = 0.
    pub fn buckets(&self, series: &Series, range: &Range<usize>, origin: f64) -> Range<usize> {
        let end = range.end.min(series.len());
        let start = range.start.min(end);
        let shown = &series.stretches()[start..end];
        let x = |place: &Place| self.axis.value(place) - origin;
        let first = shown.partition_point(|s| x(&s.last) < self.from);
        let last = shown.partition_point(|s| x(&s.first) <= self.to);
        start + first..start + last.max(first)
    }

    /// Returns the shares of the axis, from 0 to 1, that have labels which fit into `width` columns.
    pub fn ticks(&self, width: usize) -> Vec<f64> {
        let widest = [self.from, self.to].map(|x| self.axis.label(x).len() + 2);
        let widest = widest.into_iter().max().unwrap_or(1) + self.axis.unit().len();
        let parts = [4, 2, 1].into_iter().find(|n| widest * (n + 1) <= width);
        let parts = parts.unwrap_or(1);
        (0..=parts).map(|i| i as f64 / parts as f64).collect()
    }
}

/// The y axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub log: bool,
}

impl Scale {
    /// Returns the scale that shows `low` to `high`, widened to round numbers so that it seldom moves.
    pub fn over(low: f64, high: f64, log: bool) -> Self {
        let (low, high) = apart(low, high);
        if log && low > 0.0 {
            let (low, high) = match high / low {
                // Less than a decade is rounded as on a linear axis, but never down to 0.
                ratio if ratio < 10.0 => {
                    let unit = unit(low, high);
                    let floor = (low / unit).floor() * unit;
                    let floor = if floor > 0.0 { floor } else { low };
                    (floor, ((high / unit).ceil() * unit).max(floor + unit))
                }
                _ => (steps_of_decade(low).0, steps_of_decade(high).1),
            };
            return Self {
                low,
                high,
                log: true,
            };
        }
        let unit = unit(low, high);
        let floor = (low / unit).floor() * unit;
        Self {
            low: floor,
            high: ((high / unit).ceil() * unit).max(floor + unit),
            log: false,
        }
    }

    /// Returns a value's relative height: 0 at the bottom, 1 at the top.
    fn share(&self, value: f64) -> f64 {
        let f = |v: f64| match self.log {
            true => v.max(f64::MIN_POSITIVE).ln(),
            false => v,
        };
        (f(value) - f(self.low)) / (f(self.high) - f(self.low))
    }

    /// Whether a value is on screen.
    pub fn contains(&self, value: f64) -> bool {
        // The bounds themselves are inside, even after rounding errors.
        let slack = 1e-9 * (self.high - self.low).abs();
        value >= self.low - slack && value <= self.high + slack
    }

    /// Returns the row of `size` from the top; a value outside is put on the edge.
    pub fn edge(&self, value: f64, size: usize) -> usize {
        let last = size.saturating_sub(1) as f64;
        (last - (self.share(value) * last).clamp(0.0, last)).round() as usize
    }

    /// Returns the row of `size` from the top, if the value is on screen.
    pub fn row(&self, value: f64, size: usize) -> Option<usize> {
        self.contains(value).then(|| self.edge(value, size))
    }

    /// Returns rows with their labels for an axis of `rows` rows, from the top.
    pub fn ticks(&self, rows: usize) -> Vec<(usize, String)> {
        let most = match rows {
            0..=1 => 1,
            2..=5 => 2,
            // About one label per three rows.
            _ => (rows / 3).max(2),
        };
        let mut values = match self.log && self.high / self.low >= 10.0 {
            true => decades(self.low, self.high, most),
            false => evenly(self.low, self.high, most),
        };
        if values.len() < 2 && rows >= 2 {
            values = vec![self.low, self.high];
        }
        let texts = labels(&values);
        let mut ticks: Vec<(usize, String)> = values
            .iter()
            .map(|&v| self.edge(v, rows))
            .zip(texts)
            .collect();
        ticks.sort_by_key(|t| t.0);
        ticks.dedup_by_key(|t| t.0);
        ticks
    }
}

/// Returns the bounds. Equal bounds are set apart by a hundredth of their size: finer labels could not be read at a glance.
fn apart(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    match high - low > size * 1e-12 {
        true => (low, high),
        false if size == 0.0 => (low, high + 1e-2),
        false => (low - size * 5e-3, high + size * 5e-3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_labels_that_differ() {
        assert_eq!(texts(5.747_023, 5.747_023, true, 4), ["5.78", "5.71"]);
        assert_eq!(texts(5.747_023, 5.747_023, false, 2), ["5.78", "5.71"]);
        for value in [0.0, -3.0, 1e-9, 1e11] {
            let scale = Scale::over(value, value, value > 0.0);
            assert!(scale.low <= value && value < scale.high, "{value}");
            let labels = scale.ticks(4);
            assert!(labels[0].1 != labels.last().unwrap().1, "{labels:?}");
            assert!(labels.iter().all(|label| label.1.len() < 9), "{labels:?}");
        }
    }

    /// Returns the labels of an axis of `rows` rows.
    fn texts(low: f64, high: f64, log: bool, rows: usize) -> Vec<String> {
        let scale = Scale::over(low, high, log);
        scale.ticks(rows).into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn labels_have_digits_enough_and_never_lose_an_exponent() {
        // Labels are exact to a thousandth of their distance.
        for (low, high) in [
            (2.947, 2.950),
            (12_345.67, 12_345.70),
            (1e11, 1.000_003e11),
            (1e11, 9e11),
            (1e-9, 4e-9),
            (-0.003, 0.003),
            (0.0, 0.003),
            (1e-9, 1e11),
        ] {
            for log in [false, true] {
                for rows in [2, 8, 40] {
                    let scale = Scale::over(low, high, log);
                    let ticks = scale.ticks(rows);
                    assert!(ticks.len() >= 2, "{low} {high} {rows}: {ticks:?}");
                    let values: Vec<f64> = ticks.iter().map(|t| t.1.parse().unwrap()).collect();
                    for (value, (row, text)) in values.iter().zip(&ticks) {
                        let off = scale.edge(*value, rows).abs_diff(*row);
                        assert!(off <= 1, "{text} of {low} to {high}");
                    }
                    let apart = values.is_sorted_by(|a, b| a > b);
                    assert!(apart, "{low} {high} log {log}: {values:?}");
                }
            }
        }
        assert_eq!(
            texts(2.947, 2.950, false, 12),
            ["2.950", "2.949", "2.948", "2.947"]
        );
        assert_eq!(texts(12_345.67, 12_345.69, false, 6)[0], "12345.69");
        assert!(
            texts(1e11, 9e11, false, 9)
                .iter()
                .all(|t| t.contains("e11"))
        );
        assert!(texts(1e-9, 4e-9, false, 9).iter().all(|t| t.contains("e-")));
        assert_eq!(labels(&[0.003]), ["0.003000"]);
    }

    #[test]
    fn a_log_axis_is_one_at_every_range() {
        for (low, high) in [(2.9, 3.2), (0.01, 11.0), (1e-9, 1e11), (0.5, 4.9)] {
            let scale = Scale::over(low, high, true);
            assert!(scale.log && scale.low > 0.0, "{scale:?}");
            // Equal ratios take equal rows.
            let middle = (scale.low * scale.high).sqrt();
            assert_eq!(scale.edge(middle, 1001), 500, "{scale:?}");
        }
        let decades = texts(1e-3, 10.0, true, 30);
        assert_eq!(decades.first().map(String::as_str), Some("10.000"));
    }

    #[test]
    fn values_outside_have_no_row() {
        let scale = Scale::over(2.0, 3.0, false);
        assert_eq!(scale.row(3.5, 10), None);
        assert_eq!(scale.row(3.0, 10), Some(0));
        assert_eq!(scale.row(2.0, 10), Some(9));
        assert_eq!(scale.edge(3.5, 10), 0);
        assert_eq!(scale.row(f64::NAN, 10), None);
    }
}
