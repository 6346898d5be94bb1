//! Draws a band of cells that widens from a known value to the bounds of an expected value.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::axes::{Scale, Window};
use crate::dashboard::theme::put;

/// The expected course of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cone {
    /// The x and the value of the tip, which is the last known value.
    pub from: (f64, f64),
    /// The x of the bounds.
    pub to: f64,
    pub low: f64,
    pub high: f64,
    pub style: Style,
}

impl Cone {
    /// Returns the bounds at `x`, and `None` outside the cone.
    pub fn at(&self, x: f64) -> Option<(f64, f64)> {
        let ((from, tip), to) = (self.from, self.to);
        if !(from <= x && x <= to && from < to) {
            return None;
        }
        let share = (x - from) / (to - from);
        let mix = |end: f64| tip + share * (end - tip);
        Some((mix(self.low), mix(self.high)))
    }

    /// Widens a range so that it contains the bounds, by at most its own height on either side.
    pub fn widen(&self, (low, high): (f64, f64)) -> (f64, f64) {
        let most = high - low;
        (
            low.min(self.low.max(low - most)),
            high.max(self.high.min(high + most)),
        )
    }

    /// Draws the cells of `plot` that the band touches; along an existing line, every second cell.
    pub fn draw(&self, buffer: &mut Buffer, plot: Rect, scale: &Scale, window: &Window, c: char) {
        let (across, down) = (usize::from(plot.width), usize::from(plot.height));
        for column in 0..across {
            // Computed at the middle of the column.
            let (left, right) = (
                window.start_of(column, across),
                window.start_of(column + 1, across),
            );
            let Some((low, high)) = self.at(f64::midpoint(left, right)) else {
                continue;
            };
            if high < scale.low || low > scale.high {
                continue;
            }
            let (top, bottom) = (scale.edge(high, down), scale.edge(low, down));
            for row in top.min(bottom)..=top.max(bottom) {
                let place = (plot.x + column as u16, plot.y + row as u16);
                let cell = &mut buffer[place];
                if cell.symbol() == " " || !column.is_multiple_of(2) {
                    put(cell, c, self.style);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::axes::Axis;
    use super::*;

    const CONE: Cone = Cone {
        from: (40.0, 2.0),
        to: 100.0,
        low: 1.2,
        high: 1.8,
        style: Style::new(),
    };

    #[test]
    fn it_widens_from_its_tip_to_its_bounds() {
        assert_eq!(CONE.at(40.0), Some((2.0, 2.0)));
        let (low, high) = CONE.at(70.0).unwrap();
        assert!((low - 1.6).abs() < 1e-12 && (high - 1.9).abs() < 1e-12);
        assert_eq!(CONE.at(100.0), Some((1.2, 1.8)));
        assert_eq!((CONE.at(39.0), CONE.at(101.0)), (None, None));
        assert_eq!(CONE.widen((1.5, 2.5)), (1.2, 2.5));
        let (low, high) = CONE.widen((1.9, 2.0));
        assert!(
            (low - 1.8).abs() < 1e-12 && high == 2.0,
            "as much again at most"
        );
    }

    #[test]
    fn every_cell_lies_within_the_bounds() {
        let window = Window {
            axis: Axis::Step,
            from: 0.0,
            to: 100.0,
        };
        let scale = Scale::over(1.0, 3.0, false);
        let plot = Rect::new(2, 1, 50, 20);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 60, 24));
        CONE.draw(&mut buffer, plot, &scale, &window, '░');
        let height = (scale.high - scale.low) / 19.0;
        let mut columns = 0;
        for column in 0..60u16 {
            let rows: Vec<u16> = (0..24)
                .filter(|&y| buffer[(column, y)].symbol() == "░")
                .collect();
            let x = (f64::from(column) - 2.0 + 0.5) * 2.0;
            let Some((low, high)) = CONE.at(x).filter(|_| (2..52).contains(&column)) else {
                assert!(rows.is_empty(), "column {column}");
                continue;
            };
            columns += 1;
            assert!(!rows.is_empty(), "column {column}");
            for y in rows {
                let value = scale.high - f64::from(y - 1) * height;
                let within = low - 0.51 * height..=high + 0.51 * height;
                assert!(within.contains(&value), "({column}, {y}): {low} {high}");
            }
        }
        assert_eq!(columns, 30);
        // A cone outside the scale is not drawn.
        let mut empty = Buffer::empty(Rect::new(0, 0, 60, 24));
        CONE.draw(
            &mut empty,
            plot,
            &Scale::over(5.0, 6.0, false),
            &window,
            '░',
        );
        assert_eq!(empty, Buffer::empty(Rect::new(0, 0, 60, 24)));
    }
}
