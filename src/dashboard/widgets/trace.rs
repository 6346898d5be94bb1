//! Prepares a part of a series for the screen: one point per column, with an average.

use std::ops::Range;

use ratatui::style::Style;

use super::axes::Window;
use crate::run::series::pyramid::{Place, Series};

/// The way a trace is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The averaged line, with the range of the single values behind it.
    Line,
    /// The averaged line alone, dashed.
    Thin,
    /// A line with its points marked.
    Points,
    /// Single dots in every second cell, with a letter at intervals that identifies the trace.
    Dotted(char),
}

/// A part of one curve of a series, and how it is drawn.
#[derive(Debug, Clone)]
pub struct Trace<'a> {
    pub series: &'a Series,
    pub column: usize,
    /// The buckets that belong to the trace.
    pub range: Range<usize>,
    /// The x of the series that is drawn at 0.
    pub origin: f64,
    /// Sorted event numbers at which the line is interrupted, because another model begins.
    pub breaks: &'a [u64],
    /// One averaged value for each bucket of `range`; empty: the values themselves.
    pub averages: Vec<f32>,
    /// The curve with the standard error. A band of two standard errors is drawn.
    pub stderr: Option<usize>,
    pub kind: Kind,
    pub style: Style,
    /// Its character on terminals without Braille.
    pub plain: char,
    /// Whether the y axis is fitted to the trace.
    pub fits: bool,
    /// The mark at the end of the trace, with its style.
    pub end: Option<(char, Style)>,
}

impl<'a> Trace<'a> {
    /// Returns a trace of a whole curve, drawn as a line that the y axis is fitted to.
    pub fn new(series: &'a Series, column: usize, kind: Kind, style: Style) -> Self {
        Self {
            series,
            column,
            range: 0..series.len(),
            origin: 0.0,
            breaks: &[],
            averages: Vec::new(),
            stderr: None,
            kind,
            style,
            plain: '*',
            fits: true,
            end: None,
        }
    }

    /// Reduces the trace to at most one point for each of `columns` columns. The cost is proportional to the buckets on screen.
    pub fn points(&self, window: &Window, columns: usize) -> Vec<Point> {
        let axis = window.axis;
        let shown = window.buckets(self.series, &self.range, self.origin);
        let (stretches, spans) = (self.series.stretches(), self.series.column(self.column));
        let errors = self.stderr.map(|column| self.series.column(column));
        let mut points = Vec::new();
        let mut i = shown.start;
        while i < shown.end && i < spans.len() {
            let x = |place: &Place| axis.value(place) - self.origin;
            let column = window.nearest(x(&stretches[i].last), columns);
            let next = window.start_of(column + 1, columns);
            let rest = &stretches[i..shown.end];
            let until = i + rest.partition_point(|s| x(&s.last) < next).max(1);
            let last = until - 1;
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for span in &spans[i..until] {
                (low, high) = (low.min(span.low), high.max(span.high));
            }
            let averaged = self.averages.get(last.saturating_sub(self.range.start));
            let value = match (spans[last].is_finite(), averaged) {
                (false, _) => f64::NAN,
                (true, Some(&average)) => f64::from(average),
                (true, None) => spans[last].value(),
            };
            let stderr = errors.and_then(|e| e.get(last)).map(|s| s.value());
            points.push(Point {
                column,
                begin: window.nearest(x(&stretches[i].first), columns).min(column),
                x: x(&stretches[last].last),
                low: f64::from(low),
                high: f64::from(high),
                value,
                stderr: stderr.filter(|e| e.is_finite()).unwrap_or(0.0),
                part: self
                    .breaks
                    .partition_point(|&s| s < stretches[last].first.seq),
                gap: spans[i..until].iter().any(|s| s.gaps > 0),
            });
            i = until;
        }
        points
    }

    /// Returns the value nearest to `x` among the buckets that do not begin after it.
    pub fn at(&self, window: &Window, x: f64) -> Option<f64> {
        let end = self.range.end.min(self.series.len());
        let start = self.range.start.min(end);
        let shown = &self.series.stretches()[start..end];
        let passed =
            shown.partition_point(|s| window.axis.value(&s.first) - self.origin <= x + 1e-9);
        let last = start + passed.checked_sub(1)?;
        let span = self.series.column(self.column).get(last)?;
        let average = self.averages.get(last - start).map(|&v| f64::from(v));
        let value = if span.is_finite() {
            average.unwrap_or(span.value())
        } else {
            f64::NAN
        };
        Some(value)
    }
}

/// A trace's values in a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub column: usize,
    /// The column in which its first bucket begins: a bucket may be wider than a column.
    pub begin: usize,
    /// The x at which its last bucket ends.
    pub x: f64,
    /// Range of the single values; `low > high` where none is finite.
    pub low: f64,
    pub high: f64,
    /// The last average, or the last value; NaN where it is not finite.
    pub value: f64,
    /// Standard error of the value, 0 where it is missing.
    pub stderr: f64,
    /// Number of breaks before it.
    pub part: usize,
    /// Whether a value is missing or not finite.
    pub gap: bool,
}

/// Averages a curve exponentially over `range`, with a decay of one step; the first value is the first average, and so
/// it is again after each of `breaks`. `seed` is an average to continue, with its step.
pub fn averages(
    series: &Series,
    column: usize,
    range: &Range<usize>,
    breaks: &[u64],
    decay: f64,
    seed: Option<(f64, u64)>,
) -> Vec<f32> {
    let end = range.end.min(series.len());
    let start = range.start.min(end);
    let (mut average, mut weight, mut last_step) = match seed {
        Some((value, step)) if value.is_finite() => (value, 1.0, Some(step)),
        _ => (0.0, 0.0, None),
    };
    let mut known = (1, decay);
    let mut part = None;
    let spans = series.column(column).get(start..end).unwrap_or_default();
    let mut out = Vec::with_capacity(spans.len());
    let stretches = &series.stretches()[start..end];
    for (i, (s, span)) in stretches.iter().zip(spans).enumerate() {
        let now = breaks.partition_point(|&seq| seq < s.first.seq);
        if part.replace(now).is_some_and(|before| before != now) {
            (average, weight, last_step) = (0.0, 0.0, None);
        }
        if span.is_finite() {
            // `decay` is that of one step, and a bucket stands for all steps since the previous bucket.
            let steps = match (last_step, stretches.get(i + 1)) {
                (Some(before), _) => s.last.step.saturating_sub(before),
                // The first bucket weighs as much as the next.
                (None, Some(next)) => next.last.step.saturating_sub(s.last.step),
                (None, None) => 1,
            };
            let steps = steps.max(1);
            if known.0 != steps {
                known = (steps, decay.powf(steps as f64));
            }
            average = known.1 * average + (1.0 - known.1) * span.value();
            weight = known.1 * weight + (1.0 - known.1);
        }
        // Before the first finite value this is 0/0, and the bucket is not drawn.
        out.push((average / weight) as f32);
        last_step = Some(s.last.step);
    }
    out
}

/// Number of last steps that [`latest_average`] reads: older steps have a negligible weight.
const RECENT: u64 = 1000;

/// Averages the end of a curve exponentially, after event `from`, with a decay per step of at most 0.98. Returns NaN if no value
/// there is finite.
pub fn latest_average(series: &Series, column: usize, from: u64, decay: f64) -> f64 {
    let stretches = series.stretches();
    let Some(last) = stretches.last() else {
        return f64::NAN;
    };
    let oldest = last.last.step.saturating_sub(RECENT);
    let start = stretches.partition_point(|s| s.first.seq <= from || s.last.step < oldest);
    // If the last bucket began before `from`, all of it is used.
    let range = start.min(stretches.len() - 1)..stretches.len();
    let averages = averages(series, column, &range, &[], decay, None);
    averages.last().map_or(f64::NAN, |&v| f64::from(v))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: u64, loss: impl Fn(u64) -> f64) -> Series {
        let mut series = Series::default();
        for i in 0..points {
            let place = Place {
                seq: i + 1,
                step: i,
                tokens: i,
                elapsed: i as f64,
            };
            if series.push(place, &[loss(i)]) {
                series.gather(&[]);
            }
        }
        series
    }

    #[test]
    fn an_average_starts_at_the_first_value_and_again_at_each_break() {
        let series = series(20, |i| if i < 10 { 9.0 } else { 1.0 + 0.1 * i as f64 });
        for decay in [0.5, 0.98, 0.9999] {
            let averages = averages(&series, 0, &(0..20), &[10], decay, None);
            assert!((averages[0] - 9.0).abs() < 1e-6);
            assert!((averages[9] - 9.0).abs() < 1e-5);
            assert!((averages[10] - 2.0).abs() < 1e-6, "{averages:?}");
        }
        // The average of a part of a series starts at the part's first value.
        let part = averages(&series, 0, &(15..20), &[], 0.98, None);
        assert_eq!(part.len(), 5);
        assert!((part[0] - 2.5).abs() < 1e-6);
    }

    #[test]
    fn the_average_over_buckets_is_that_over_points() {
        let loss = |i: u64| 2.0 + 3.0 * (-(i as f64) / 40_000.0).exp() + 0.1 * (i % 7) as f64;
        let series = series(300_000, loss);
        let averages = averages(&series, 0, &(0..series.len()), &[], 0.999, None);
        let (mut exact, mut weight, mut at) = (0.0, 0.0, 0);
        let mut worst: f64 = 0.0;
        for i in 0..300_000 {
            exact = 0.999 * exact + 0.001 * loss(i);
            weight = 0.999 * weight + 0.001;
            if series.stretches()[at].last.step == i {
                worst = worst.max((f64::from(averages[at]) - exact / weight).abs());
                at += 1;
            }
        }
        assert_eq!(at, series.len());
        assert!(worst < 0.05, "{worst}");
    }

    #[test]
    fn the_first_value_weighs_no_more_than_the_others_wherever_a_part_begins() {
        let series = series(40, |i| if i == 20 { 9.0 } else { 1.0 });
        let averages = averages(&series, 0, &(20..40), &[], 0.5, None);
        assert!((averages[1] - (0.25 * 9.0 + 0.5) / 0.75).abs() < 1e-6);
        assert!(averages[10] < 1.01, "{averages:?}");
    }

    #[test]
    fn the_latest_average_is_that_over_everything_after_the_event() {
        // With 300,000 points, a bucket gathers many steps.
        for points in [1, 15, 3000, 300_000] {
            let series = series(points, |i| 2.0 + 0.1 * (i % 7) as f64 + 1e-6 * i as f64);
            let from = points / 3;
            let latest = latest_average(&series, 0, from, 0.98);
            let all = 0..series.len();
            let exact = averages(&series, 0, &all, &[from], 0.98, None);
            let exact = f64::from(exact[exact.len() - 1]);
            assert!((latest - exact).abs() < 1e-5, "{points}: {latest} {exact}");
        }
        assert!(latest_average(&Series::default(), 0, 0, 0.98).is_nan());
        assert!(latest_average(&series(9, |_| f64::NAN), 0, 0, 0.98).is_nan());
    }

    #[test]
    fn an_average_can_go_on_from_another() {
        let series = series(4, |_| 1.0);
        let averages = averages(&series, 0, &(2..4), &[], 0.9, Some((2.0, 1)));
        assert!((averages[0] - 1.9).abs() < 1e-6, "{averages:?}");
    }

    #[test]
    fn there_is_at_most_one_point_a_column_and_no_spike_is_lost() {
        let series = series(1_000_000, |i| if i == 777_777 { 9.5 } else { 2.0 });
        let trace = Trace::new(&series, 0, Kind::Line, Style::new());
        let window = Window {
            axis: super::super::axes::Axis::Step,
            from: 0.0,
            to: 1e6,
        };
        let points = trace.points(&window, 200);
        assert_eq!(points.len(), 200);
        let spikes: Vec<_> = points.iter().filter(|p| p.high == 9.5).collect();
        assert_eq!(spikes.len(), 1);
        assert_eq!(spikes[0].column, 155);
    }
}
