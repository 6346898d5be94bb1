//! Draws rows of shades over the x axis of a chart: the values of many series over time.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::axes::Window;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::put;
use crate::run::series::pyramid::{Bucket, Place, Series};

/// A part of a series, and its place on the x axis.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    pub series: &'a Series,
    pub range: Range<usize>,
    /// The x of the series that is drawn at 0.
    pub origin: f64,
    /// End of the part: the last value holds until there.
    pub until: f64,
}

/// Returns a curve's mean at each of `columns` columns. A value holds until the next one; NaN before the first value.
pub fn columns(part: &Part<'_>, column: usize, window: &Window, columns: usize) -> Vec<f64> {
    let mut out = vec![f64::NAN; columns];
    let Part {
        series,
        range,
        origin,
        ..
    } = part;
    let x = |place: &Place| window.axis.value(place) - origin;
    let shown = window.buckets(series, range, *origin);
    // The last value before the window still holds at its left edge.
    let first = shown.start.saturating_sub(1).max(range.start);
    let end = shown.end.min(series.column(column).len());
    if first >= end || columns == 0 {
        return out;
    }
    let spans = &series.column(column)[first..end];
    let places = &series.stretches()[first..end];
    let column_of = |s: &Bucket| window.nearest(x(&s.last), columns);
    let mut i = 0;
    while i < places.len() {
        // Binary search finds the buckets of a column, because it may have hundreds of them.
        let from = column_of(&places[i]);
        let next = i + places[i..].partition_point(|s| column_of(s) <= from).max(1);
        let early = places[i..next].partition_point(|s| x(&s.last) < window.from);
        let (mut sum, mut count) = (0.0, 0.0);
        for span in spans[i + early..next].iter().filter(|s| s.is_finite()) {
            sum += span.value();
            count += 1.0;
        }
        let value = match count > 0.0 {
            true => sum / count,
            false => spans[next - 1].value(),
        };
        let until = match places.get(next) {
            Some(next) => column_of(next),
            None => window.nearest(part.until, columns) + 1,
        };
        out[from..until.max(from + 1).min(columns)].fill(value);
        i = next;
    }
    out
}

/// Returns the shade of a value, on a logarithmic scale from 1 to `top`, which emphasises values near one.
pub fn shade(value: f64, top: f64, glyphs: Glyphs) -> char {
    let levels = glyphs.levels();
    let share = (value.ln() / top.max(2.0).ln()).clamp(0.0, 1.0);
    if share.is_nan() {
        return ' ';
    }
    levels[(share * (levels.len() - 1) as f64).round() as usize]
}

/// A row of a heat map.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub label: String,
    /// One value per column.
    pub values: Vec<f64>,
    pub style: Style,
    /// Figures to the right.
    pub tail: Vec<Span<'static>>,
}

/// Draws rows below one another: labels in the first `margin` columns, `width` columns of shades, then the figures. Columns in
/// `borders` have a vertical line.
pub fn draw(
    buffer: &mut Buffer,
    area: Rect,
    (margin, width): (u16, u16),
    rows: &[Row],
    top: f64,
    borders: &[usize],
    (glyphs, dim): (Glyphs, Style),
) {
    for (row, y) in rows.iter().zip(area.y..area.bottom()) {
        let free = usize::from(margin).saturating_sub(1);
        let label = Line::styled(format!("{:<free$} ", row.label), dim);
        let (x, _) = buffer.set_line(area.x, y, &label, area.width);
        // Sets cells one by one: splitting each row's text into characters would be most of the work.
        let shades = row.values.iter().map(|&v| shade(v, top, glyphs));
        let mut after = x;
        for (x, shade) in (x..area.right()).zip(shades) {
            put(&mut buffer[(x, y)], shade, row.style);
            after = x + 1;
        }
        let tail = Line::from(row.tail.clone());
        buffer.set_line(after, y, &tail, area.right().saturating_sub(after));
        for &column in borders.iter().filter(|&&c| c < usize::from(width)) {
            let x = area.x + margin + column as u16;
            if x < area.right() {
                put(&mut buffer[(x, y)], '|', dim);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::widgets::axes::Axis;

    #[test]
    fn a_value_holds_until_the_next_and_then_to_the_end() {
        let mut series = Series::default();
        for (step, value) in [(20, 24.0), (40, 8.0), (60, 2.0)] {
            let place = Place {
                seq: step,
                step,
                ..Place::default()
            };
            series.push(place, &[value]);
        }
        let part = Part {
            series: &series,
            range: 0..3,
            origin: 0.0,
            until: 70.0,
        };
        let window = |from, to| Window {
            axis: Axis::Step,
            from,
            to,
        };
        let values = columns(&part, 0, &window(0.0, 100.0), 10);
        assert!(values[..2].iter().all(|v| v.is_nan()));
        assert_eq!(values[2..8], [24.0, 24.0, 8.0, 8.0, 2.0, 2.0]);
        assert!(values[8..].iter().all(|v| v.is_nan()));
        // Zoomed in between two measurements, the earlier one holds.
        let values = columns(&part, 0, &window(45.0, 55.0), 5);
        assert_eq!(values[..4], [8.0; 4]);
    }

    #[test]
    fn shades_are_logarithmic() {
        for glyphs in [Glyphs::Braille, Glyphs::Ascii] {
            let shades: Vec<char> = [1.0, 24f64.sqrt(), 24.0]
                .map(|v| shade(v, 24.0, glyphs))
                .to_vec();
            let levels = glyphs.levels();
            assert_eq!(shades[0], levels[0]);
            assert!(shades[1] == levels[3] || shades[1] == levels[4]);
            assert_eq!(shades[2], levels[7]);
            assert_eq!(shade(f64::NAN, 24.0, glyphs), ' ');
        }
    }
}
