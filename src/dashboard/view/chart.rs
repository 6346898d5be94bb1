//! The loss chart: raw and smoothed training loss, validation loss, the reference's line, what rollbacks left behind,
//! growths and checkpoints over the true axis.

mod axes;

use std::collections::HashSet;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use axes::{Scale, Window, scale};

use super::Scene;
use super::dots::Dots;
use crate::dashboard::chart_view::Axis;
use crate::dashboard::glyphs::Glyphs;
use crate::run::event::Phase;
use crate::run::series::pyramid::{Series, Span as Values};
use crate::run::state::{LOSS, MarkKind, VAL_LOSS};
use crate::text;

/// Width of the loss labels.
const LABELS: u16 = 6;

const RAW: usize = 0;
const ABANDONED: usize = 1;
const SMOOTH: usize = 2;

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let block = scene
        .panel(scene.text(&title(scene)))
        .title(legend(scene, area.width));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if inside.width < LABELS + 4 || inside.height < 2 {
        return;
    }
    let feet = if inside.height >= 6 { 2 } else { 1 };
    let plot = Rect {
        x: inside.x + LABELS,
        width: inside.width - LABELS,
        height: inside.height - feet,
        ..inside
    };
    let x = Window::of(scene);
    let Some(y) = scale(scene, &x) else {
        frame.render_widget(Line::styled("no loss yet", scene.theme.dim), inside);
        return;
    };
    let buffer = frame.buffer_mut();
    loss_labels(buffer, scene, plot, &y);
    reference(buffer, scene, plot, &y);
    curves(buffer, scene, plot, &x, &y);
    evaluations(buffer, scene, plot, &x, &y);
    let row = plot.y + plot.height;
    if feet == 2 {
        marks(
            buffer,
            scene,
            Rect {
                y: row,
                height: 1,
                ..plot
            },
            &x,
        );
    }
    axis(
        buffer,
        scene,
        Rect {
            y: row + feet - 1,
            height: 1,
            ..plot
        },
        &x,
    );
}

fn title(scene: &Scene<'_>) -> String {
    let chart = &scene.ui.chart;
    let smoothing = match chart.smoothing {
        s if s > 0.0 => format!("ema {}", s.to_string().trim_start_matches('0')),
        _ => "raw".into(),
    };
    let y = if chart.log { " log" } else { "" };
    let zoom = match chart.zoom {
        0 => String::new(),
        z => format!(" x{}", 1u64 << z),
    };
    format!(" loss {smoothing}{y}{zoom} ")
}

fn legend(scene: &Scene<'_>, width: u16) -> Line<'static> {
    let (theme, glyphs) = (scene.theme, scene.glyphs);
    if width < 50 {
        return Line::default();
    }
    let line = if glyphs == Glyphs::Ascii { '*' } else { '⠒' };
    let mut legend = Line::from(vec![
        Span::styled(format!(" {line}{line} train "), theme.train),
        Span::styled(format!(" {} val ", val_mark(glyphs)), theme.val),
        Span::styled(format!(" {0}{0} ref ", dash(glyphs)), theme.reference),
    ]);
    if !scene.run.history.abandoned.is_empty() && width >= 65 {
        let line = if glyphs == Glyphs::Ascii { ':' } else { '⠒' };
        legend.push_span(Span::styled(format!(" {line}{line} abandoned "), theme.dim));
    }
    legend.right_aligned()
}

fn val_mark(glyphs: Glyphs) -> char {
    if glyphs == Glyphs::Ascii { 'o' } else { '●' }
}

fn dash(glyphs: Glyphs) -> char {
    if glyphs == Glyphs::Ascii { '-' } else { '╌' }
}

fn loss_labels(buffer: &mut Buffer, scene: &Scene<'_>, plot: Rect, y: &Scale) {
    let rows = usize::from(plot.height);
    let every = if rows >= 12 { 4 } else { (rows / 2).max(1) };
    for row in (0..rows).step_by(every) {
        let label = format!("{:>5.2}", y.at(row, rows));
        let (x, y) = (plot.x - LABELS, plot.y + row as u16);
        buffer.set_stringn(x, y, label, usize::from(LABELS), scene.theme.dim);
    }
}

fn reference(buffer: &mut Buffer, scene: &Scene<'_>, plot: Rect, y: &Scale) {
    let Some(benchmark) = scene.run.benchmark() else {
        return;
    };
    let row = y.row(benchmark, usize::from(plot.height)) as u16;
    for column in 0..plot.width {
        let cell = &mut buffer[(plot.x + column, plot.y + row)];
        cell.set_char(dash(scene.glyphs))
            .set_style(scene.theme.reference);
    }
}

fn curves(buffer: &mut Buffer, scene: &Scene<'_>, plot: Rect, x: &Window, y: &Scale) {
    let history = &scene.run.history;
    let mut dots = Dots::new(scene.glyphs, plot, 3);
    let mut ends = Vec::new();
    for (i, left) in history.abandoned.iter().enumerate() {
        let smooth = |bucket| scene.curve.abandoned(i, bucket);
        let starts = left.strand.phase_starts();
        let mut trace = Trace::new(scene, &left.strand.train, &starts, x, y, &mut dots);
        trace.raw = None;
        trace.front = ABANDONED;
        ends.extend(trace.draw(smooth));
    }
    let live = &history.live;
    let starts = live.phase_starts();
    let trace = Trace::new(scene, &live.train, &starts, x, y, &mut dots);
    trace.draw(|bucket| scene.curve.smooth(bucket));
    let theme = scene.theme;
    let styles = [theme.dim, theme.dim, theme.train];
    dots.draw(buffer, plot, &styles, &['.', ':', '*']);
    let (across, down) = scene.glyphs.dots();
    for (column, row) in ends {
        let place = (
            plot.x + (column / across) as u16,
            plot.y + (row / down) as u16,
        );
        buffer[place].set_char('<').set_style(theme.warning);
    }
    gaps(buffer, scene, plot, x);
}

/// A cross on the upper edge where a loss was no number.
fn gaps(buffer: &mut Buffer, scene: &Scene<'_>, plot: Rect, x: &Window) {
    let train = &scene.run.live().train;
    let (first, end) = x.buckets(train);
    let spans = train.column(LOSS).get(first..end).unwrap_or_default();
    let cross = if scene.glyphs == Glyphs::Ascii {
        'x'
    } else {
        '×'
    };
    for (s, span) in train.stretches()[first..end].iter().zip(spans) {
        if span.gaps > 0 {
            let column = x.nearest(x.at(&s.last), usize::from(plot.width));
            let cell = &mut buffer[(plot.x + column as u16, plot.y)];
            cell.set_char(cross).set_style(scene.theme.warning);
        }
    }
}

/// One loss curve on its way to the screen.
struct Trace<'a> {
    train: &'a Series,
    /// Event numbers at which phases begin: the line is not drawn on from one model to the next.
    starts: &'a [u64],
    x: &'a Window,
    y: &'a Scale,
    dots: &'a mut Dots,
    smoothed: bool,
    /// Layers of the raw loss behind the line, if it is wanted, and of the line.
    raw: Option<usize>,
    front: usize,
}

impl<'a> Trace<'a> {
    fn new(
        scene: &Scene<'_>,
        train: &'a Series,
        starts: &'a [u64],
        x: &'a Window,
        y: &'a Scale,
        dots: &'a mut Dots,
    ) -> Self {
        Self {
            train,
            starts,
            x,
            y,
            dots,
            smoothed: scene.ui.chart.smoothing > 0.0,
            raw: Some(RAW),
            front: SMOOTH,
        }
    }

    /// Draws it, with `smooth` as the averaged loss at a bucket. Returns where it ends, in dots.
    fn draw(self, smooth: impl Fn(usize) -> f64) -> Option<(usize, usize)> {
        let (across, down) = self.dots.size();
        let (stretches, spans) = (self.train.stretches(), self.train.column(LOSS));
        let (mut i, end) = self.x.buckets(self.train);
        let mut before: Option<(usize, (usize, usize))> = None;
        let mut latest = None;
        while i < end {
            let column = self.x.nearest(self.x.at(&stretches[i].last), across);
            // All the buckets of a column; the last decides the line's place.
            let until = i + self.of_column(column, across, i, end);
            let range = self.train.range(LOSS, i, until);
            let layer = if self.smoothed {
                self.raw
            } else {
                Some(self.front)
            };
            if let (Some((low, high)), Some(layer)) = (range, layer) {
                // A bucket may be wider than a column, where an old part is looked at closely.
                let begin = self.x.nearest(self.x.at(&stretches[i].first), across);
                for column in begin.min(column)..=column {
                    let rows = (self.y.row(low, down), self.y.row(high, down));
                    self.dots.column(layer, column, rows.0, rows.1);
                }
            }
            let last = until - 1;
            let value = if self.smoothed {
                smooth(last)
            } else {
                spans[last].value()
            };
            before = (value.is_finite() && spans[last].is_finite()).then(|| {
                let phase = self
                    .starts
                    .partition_point(|&s| s < stretches[last].first.seq);
                let here = (column, self.y.row(value, down));
                match before {
                    Some((p, from)) if p == phase => self.dots.line(self.front, from, here),
                    _ => self.dots.set(self.front, here.0, here.1),
                }
                (phase, here)
            });
            latest = before.map(|(_, here)| here).or(latest);
            i = until;
        }
        latest
    }

    /// How many buckets from `i` on end in a column; at least one.
    fn of_column(&self, column: usize, across: usize, i: usize, end: usize) -> usize {
        let x = self.x;
        let next = (column + 1) as f64 / across as f64 * (x.to - x.from) + x.from;
        let rest = &self.train.stretches()[i..end];
        rest.partition_point(|s| x.at(&s.last) < next).max(1)
    }
}

fn evaluations(buffer: &mut Buffer, scene: &Scene<'_>, plot: Rect, x: &Window, y: &Scale) {
    let val = &scene.run.live().val;
    let (first, end) = x.buckets(val);
    let spans = val.column(VAL_LOSS).get(first..end).unwrap_or_default();
    let mut before = None;
    for (s, span) in val.stretches()[first..end].iter().zip(spans) {
        let Some(column) = x.column(x.at(&s.last), usize::from(plot.width)) else {
            continue;
        };
        for loss in marked(span) {
            let row = y.row(loss, usize::from(plot.height)) as u16;
            // Of very many evaluations most fall on one already drawn.
            if before.replace((column, row)) == Some((column, row)) {
                continue;
            }
            let cell = &mut buffer[(plot.x + column as u16, plot.y + row)];
            cell.set_char(val_mark(scene.glyphs))
                .set_style(scene.theme.val);
        }
    }
}

/// The values of a bucket of evaluations that are marked: its least and its greatest.
fn marked(span: &Values) -> impl Iterator<Item = f64> {
    let low = span.is_finite().then_some(span.low);
    let high = (span.low < span.high).then_some(span.high);
    low.into_iter().chain(high).map(f64::from)
}

/// `^grow 4→6` where layers were added, `^round 1` where a phase begins, a diamond for each checkpoint.
fn marks(buffer: &mut Buffer, scene: &Scene<'_>, row: Rect, x: &Window) {
    let run = scene.run;
    let place = |seq, step| x.column(x.of_mark(run, seq, step), usize::from(row.width));
    let diamond = if scene.glyphs == Glyphs::Ascii {
        '*'
    } else {
        '◆'
    };
    for mark in run
        .live()
        .marks
        .iter()
        .filter(|m| m.kind == MarkKind::Checkpoint)
    {
        if let Some(column) = place(mark.seq, mark.step) {
            let cell = &mut buffer[(row.x + column as u16, row.y)];
            cell.set_char(diamond).set_style(scene.theme.dim);
        }
    }
    let grown: HashSet<u64> = run
        .live()
        .marks
        .iter()
        .filter(|m| matches!(m.kind, MarkKind::Growth(..)))
        .map(|m| m.step)
        .collect();
    let label = |kind: &MarkKind, step: u64| match kind {
        MarkKind::Growth(from, to) => Some(format!("^grow {from}→{to}")),
        MarkKind::Phase(Phase::Round(_)) if grown.contains(&step) => None,
        MarkKind::Phase(Phase::Reference) | MarkKind::Checkpoint => None,
        MarkKind::Phase(Phase::Round(1)) => Some("^inherit".into()),
        MarkKind::Phase(Phase::ControlRandom) => Some("^random".into()),
        MarkKind::Phase(Phase::ControlReference) => Some("^continued".into()),
        MarkKind::Phase(other) => Some(format!("^{other}")),
        MarkKind::Resumed => Some("^resumed".into()),
        MarkKind::Rollback => Some("^rolled back".into()),
    };
    let mut labels: Vec<(usize, String)> = run
        .live()
        .marks
        .iter()
        .filter_map(|m| Some((place(m.seq, m.step)?, scene.text(&label(&m.kind, m.step)?))))
        .collect();
    labels.sort_by_key(|(column, _)| *column);
    for (i, (column, text)) in labels.iter().enumerate() {
        let next = labels
            .get(i + 1)
            .map_or(usize::from(row.width) + 1, |(next, _)| *next);
        let room = next.saturating_sub(column + 1);
        // A label that would run into the next is cut to its caret.
        let text = if text::width(text) > room { "^" } else { text };
        buffer.set_string(row.x + *column as u16, row.y, text, scene.theme.title);
    }
}

fn axis(buffer: &mut Buffer, scene: &Scene<'_>, row: Rect, x: &Window) {
    let unit = match x.axis {
        Axis::Step => "step ",
        Axis::Tokens => "tokens ",
        Axis::Time => "",
    };
    let width = usize::from(row.width);
    let left = format!("{unit}{}", x.label(x.from));
    let right = x.label(x.to);
    let middle = x.label((x.from + x.to) / 2.0);
    let style = scene.theme.dim;
    buffer.set_stringn(row.x, row.y, &left, width, style);
    let end = width.saturating_sub(right.len());
    if end > left.len() + 1 {
        buffer.set_stringn(row.x + end as u16, row.y, &right, width, style);
    }
    let centre = (width / 2).saturating_sub(middle.len() / 2);
    if centre > left.len() + 1 && centre + middle.len() + 1 < end {
        buffer.set_stringn(row.x + centre as u16, row.y, &middle, width, style);
    }
}
