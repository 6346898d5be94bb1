//! Draws a chart: a cone, traces, levels, bands, marks and a cursor over one pair of axes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::axes::Scale;
use super::chart::{Chart, Fitted, feet};
use super::dots::{Dots, Texture};
use super::fit;
use super::foot;
use super::trace::{Kind, Point, Trace};
use crate::dashboard::theme::put;
use crate::text;

/// Least cells between two marked points of a line.
const APART: u16 = 4;
/// Number of a dotted trace's dots between two letters.
const LETTER: usize = 8;

impl Chart<'_> {
    /// Draws the chart with its y labels in the first `margin` columns.
    pub fn draw(&self, buffer: &mut Buffer, area: Rect, margin: u16, fitted: &Fitted) {
        if area.width < margin + 4 || area.height < 2 {
            return;
        }
        let feet = feet(area.height);
        let plot = Rect {
            x: area.x + margin,
            width: area.width - margin,
            height: area.height - feet,
            ..area
        };
        let pen = Pen {
            chart: self,
            scale: fitted.scale,
            plot,
        };
        pen.labels(buffer, margin);
        pen.levels(buffer);
        if let Some(cone) = &self.cone {
            let c = self.glyphs.marks().cone;
            cone.draw(buffer, plot, &fitted.scale, &self.window, c);
        }
        pen.traces(buffer);
        pen.cursor(buffer);
        let row = |y| Rect {
            y,
            height: 1,
            ..plot
        };
        if feet == 2 {
            let marks = row(plot.y + plot.height);
            foot::marks(
                buffer,
                marks,
                self.theme,
                self.glyphs,
                &self.marks,
                &self.window,
            );
        }
        let axis = row(plot.y + plot.height + feet - 1);
        foot::axis(buffer, axis, self.theme.dim, &self.window);
    }
}

/// A chart with its place on screen.
struct Pen<'a, 'b> {
    chart: &'b Chart<'a>,
    scale: Scale,
    plot: Rect,
}

impl Pen<'_, '_> {
    fn labels(&self, buffer: &mut Buffer, margin: u16) {
        for (row, label) in self.scale.ticks(usize::from(self.plot.height)) {
            let x = self.plot.x - margin;
            let free = usize::from(margin - 1);
            let label = format!("{label:>free$}");
            let y = self.plot.y + row as u16;
            buffer.set_stringn(x, y, label, usize::from(margin), self.chart.theme.dim);
        }
    }

    fn levels(&self, buffer: &mut Buffer) {
        let dash = self.chart.glyphs.marks().level;
        for level in &self.chart.levels {
            let Some(row) = self.scale.row(level.value, usize::from(self.plot.height)) else {
                continue;
            };
            let y = self.plot.y + row as u16;
            for x in self.plot.x..self.plot.right() {
                put(&mut buffer[(x, y)], dash, level.style);
            }
        }
    }

    fn level_labels(&self, buffer: &mut Buffer) {
        for level in &self.chart.levels {
            let row = self.scale.row(level.value, usize::from(self.plot.height));
            let wide = text::width(&level.label) as u16;
            if let (Some(row), true) = (row, wide > 0 && wide + 8 < self.plot.width) {
                let (x, y) = (self.plot.right() - wide, self.plot.y + row as u16);
                let style = Style::reset().patch(level.style);
                buffer.set_string(x, y, &level.label, style);
            }
        }
    }

    fn traces(&self, buffer: &mut Buffer) {
        let theme = self.chart.theme;
        let traces = &self.chart.traces;
        // Each trace has two layers: the range behind its line, and the line.
        let band = match theme.sparse {
            true => Texture::Sparse,
            false => Texture::Solid,
        };
        let line = |trace: &Trace<'_>| match trace.kind {
            Kind::Thin => Texture::Dashed,
            _ => Texture::Solid,
        };
        let textures = traces.iter().flat_map(|t| [band, line(t)]).collect();
        let mut dots = Dots::new(self.chart.glyphs, self.plot, textures);
        let (across, _) = dots.size();
        let points: Vec<Vec<Point>> = traces
            .iter()
            .map(|trace| match trace.kind {
                Kind::Dotted(_) => trace.points(&self.chart.window, usize::from(self.plot.width)),
                _ => trace.points(&self.chart.window, across),
            })
            .collect();
        for (trace, points) in traces.iter().zip(&points) {
            if let Kind::Dotted(letter) = trace.kind {
                self.dotted(buffer, trace, letter, points);
            }
        }
        self.level_labels(buffer);
        for (i, (trace, points)) in traces.iter().zip(&points).enumerate() {
            if !matches!(trace.kind, Kind::Dotted(_)) {
                self.line(&mut dots, 2 * i, trace, points);
            }
        }
        let styles: Vec<Style> = traces.iter().flat_map(|t| [theme.dim, t.style]).collect();
        let range = self.chart.glyphs.marks().range;
        let plain: Vec<char> = traces.iter().flat_map(|t| [range, t.plain]).collect();
        dots.draw(buffer, self.plot, &styles, &plain);
        for (trace, points) in traces.iter().zip(&points) {
            if trace.kind == Kind::Points {
                self.points(buffer, trace, points, across);
            }
            self.end(buffer, trace, points, across);
            if trace.fits && !matches!(trace.kind, Kind::Dotted(_)) {
                self.cuts(buffer, points, across);
            }
            if trace.kind == Kind::Line {
                self.gaps(buffer, points, across);
            }
        }
    }

    /// Returns the column of cells that contains a column of dots, of `across` per cell.
    fn cell(&self, column: usize, across: usize) -> u16 {
        let cells = usize::from(self.plot.width);
        self.plot.x + (column * cells / across.max(1)).min(cells - 1) as u16
    }

    fn line(&self, dots: &mut Dots, layer: usize, trace: &Trace<'_>, points: &[Point]) {
        let down = dots.size().1;
        let averaged = !trace.averages.is_empty();
        let mut before: Option<(&Point, usize)> = None;
        for p in points {
            // Without an average, the range is the line, in the front layer, so that it has the line's style.
            let range = match (trace.kind, averaged) {
                (Kind::Line, true) => Some(layer),
                (Kind::Line | Kind::Thin, false) => Some(layer + 1),
                _ => None,
            };
            if let Some(layer) = range {
                for column in p.begin..=p.column {
                    self.column(dots, layer, column, (p.low, p.high));
                }
            }
            if trace.stderr.is_some() && p.value.is_finite() {
                self.band(dots, layer, before.map(|b| b.0), p);
            }
            let row = self.scale.row(p.value, down);
            if let Some(row) = row {
                match before {
                    Some((b, from)) if b.part == p.part => {
                        dots.line(layer + 1, (b.column, from), (p.column, row));
                    }
                    _ => dots.set(layer + 1, p.column, row),
                }
            }
            before = row.map(|row| (p, row));
        }
    }

    /// Returns the visible part of a range, as a column of dots.
    fn column(&self, dots: &mut Dots, layer: usize, column: usize, (low, high): (f64, f64)) {
        let scale = &self.scale;
        let down = dots.size().1;
        if low <= high && high >= scale.low && low <= scale.high {
            let rows = (scale.edge(low, down), scale.edge(high, down));
            dots.column(layer, column, rows.0, rows.1);
        }
    }

    /// Draws two standard errors around the value, from the previous point to this one.
    fn band(&self, dots: &mut Dots, layer: usize, before: Option<&Point>, p: &Point) {
        let from = before.filter(|b| b.part == p.part).unwrap_or(p);
        let steps = p.column.saturating_sub(from.column).max(1);
        for i in 0..=steps {
            let share = i as f64 / steps as f64;
            let mix = |a: f64, b: f64| a + share * (b - a);
            let (value, error) = (mix(from.value, p.value), 2.0 * mix(from.stderr, p.stderr));
            self.column(dots, layer, from.column + i, (value - error, value + error));
        }
    }

    fn points(&self, buffer: &mut Buffer, trace: &Trace<'_>, points: &[Point], across: usize) {
        let mark = self.chart.glyphs.marks().point;
        let mut right = None;
        // Starts at the newest point, which is always marked.
        for p in points.iter().rev() {
            let x = self.cell(p.column, across);
            let near = right.is_some_and(|right| x + APART > right);
            let row = self.scale.row(p.value, usize::from(self.plot.height));
            if let (Some(row), false) = (row, near) {
                let cell = &mut buffer[(x, self.plot.y + row as u16)];
                put(cell, mark, trace.style);
                right = Some(x);
            }
        }
    }

    fn dotted(&self, buffer: &mut Buffer, trace: &Trace<'_>, letter: char, points: &[Point]) {
        let dot = match self.chart.glyphs.dots() {
            (1, 1) => letter,
            _ => '∙',
        };
        let height = usize::from(self.plot.height);
        let finite: Vec<&Point> = points.iter().filter(|p| p.value.is_finite()).collect();
        let mut count = 0;
        for pair in finite.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            for column in a.column..b.column {
                let share = (column - a.column) as f64 / (b.column - a.column) as f64;
                let value = a.value + share * (b.value - a.value);
                if !column.is_multiple_of(2) {
                    continue;
                }
                let Some(row) = self.scale.row(value, height) else {
                    continue;
                };
                count += 1;
                let c = if count % LETTER == LETTER / 2 {
                    letter
                } else {
                    dot
                };
                let place = (self.plot.x + column as u16, self.plot.y + row as u16);
                put(&mut buffer[place], c, trace.style);
            }
        }
    }

    fn end(&self, buffer: &mut Buffer, trace: &Trace<'_>, points: &[Point], across: usize) {
        let last = points.iter().rev().find(|p| p.value.is_finite());
        let (Some((c, style)), Some(p)) = (trace.end, last) else {
            return;
        };
        let y = self.plot.y + self.scale.edge(p.value, usize::from(self.plot.height)) as u16;
        let cell = &mut buffer[(self.cell(p.column, across), y)];
        put(cell, c, style);
    }

    /// Draws a mark on the edge where a trace leaves the chart.
    fn cuts(&self, buffer: &mut Buffer, points: &[Point], across: usize) {
        let scale = &self.scale;
        let marks = self.chart.glyphs.marks();
        for (column, above) in fit::cuts(points, |v| scale.contains(v), scale.high) {
            let (c, y) = match above {
                true => (marks.above, self.plot.y),
                false => (marks.below, self.plot.bottom() - 1),
            };
            let cell = &mut buffer[(self.cell(column, across), y)];
            put(cell, c, self.chart.theme.warning);
        }
    }

    /// Draws a cross on the upper edge where a value is not finite.
    fn gaps(&self, buffer: &mut Buffer, points: &[Point], across: usize) {
        let cross = self.chart.glyphs.marks().gap;
        for p in points.iter().filter(|p| p.gap) {
            let cell = &mut buffer[(self.cell(p.column, across), self.plot.y)];
            put(cell, cross, self.chart.theme.warning);
        }
    }

    fn cursor(&self, buffer: &mut Buffer) {
        let width = usize::from(self.plot.width);
        let column = self
            .chart
            .cursor
            .map(|x| self.chart.window.column(x, width));
        let Some(column) = column.flatten() else {
            return;
        };
        let line = self.chart.glyphs.marks().cursor;
        let x = self.plot.x + column as u16;
        for y in self.plot.y..self.plot.bottom() {
            let cell = &mut buffer[(x, y)];
            if cell.symbol() == " " {
                cell.set_char(line);
            }
            cell.set_style(self.chart.theme.selected);
        }
    }
}
