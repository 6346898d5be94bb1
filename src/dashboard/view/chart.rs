//! The loss chart: raw and smoothed training loss, validation loss, the reference's line, growths and checkpoints over
//! the true axis.

use std::collections::HashSet;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::dots::Dots;
use super::{Scene, thousands};
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::update::Axis;
use crate::run::event::Phase;
use crate::run::show::duration;
use crate::run::state::{EvalPoint, MarkKind, RunState, TrainPoint};
use crate::run::table;
use crate::text;

/// Width of the loss labels.
const LABELS: u16 = 6;
/// A phase's first share, whose fall from a fresh start would flatten everything after it.
const DESCENT: usize = 10;

const RAW: usize = 0;
const SMOOTH: usize = 1;

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
    Line::from(vec![
        Span::styled(format!(" {line}{line} train "), theme.train),
        Span::styled(format!(" {} val ", val_mark(glyphs)), theme.val),
        Span::styled(format!(" {0}{0} ref ", dash(glyphs)), theme.reference),
    ])
    .right_aligned()
}

fn val_mark(glyphs: Glyphs) -> char {
    if glyphs == Glyphs::Ascii { 'o' } else { '●' }
}

fn dash(glyphs: Glyphs) -> char {
    if glyphs == Glyphs::Ascii { '-' } else { '╌' }
}

/// The part of the x axis on screen.
struct Window {
    axis: Axis,
    from: f64,
    to: f64,
}

impl Window {
    /// From the start to the planned end of the present phase, so that the picture stands still while it fills; zoomed
    /// in, a window that moves by quarters.
    fn of(scene: &Scene<'_>) -> Self {
        let (run, view) = (scene.run, &scene.ui.chart);
        let core = &run.core;
        let planned = core.phase.as_ref().map_or(0, |p| p.began_at + p.steps);
        let quarter = run.info.as_ref().map_or(1, |i| (i.round_steps / 4).max(1));
        // Past its plan a phase grows in quarters of a round.
        let end = if core.step <= planned {
            planned
        } else {
            core.step.next_multiple_of(quarter)
        };
        let (end, now) = match view.axis {
            Axis::Step => (end as f64, core.step as f64),
            Axis::Tokens => {
                let per_step = run.info.as_ref().map_or(1, |i| i.batch_tokens) as f64;
                (end as f64 * per_step, core.tokens as f64)
            }
            Axis::Time => (stepped(run.elapsed), run.elapsed),
        };
        let end = end.max(1.0);
        if view.zoom == 0 {
            return Self {
                axis: view.axis,
                from: 0.0,
                to: end,
            };
        }
        let width = end / f64::from(1u32 << view.zoom);
        let right =
            (now / (width / 4.0)).ceil() * (width / 4.0) - f64::from(view.pan) * width / 4.0;
        let right = right.clamp(width, end.max(width));
        Self {
            axis: view.axis,
            from: right - width,
            to: right,
        }
    }

    fn of_train(&self, p: &TrainPoint) -> f64 {
        match self.axis {
            Axis::Step => p.step as f64,
            Axis::Tokens => p.tokens as f64,
            Axis::Time => p.elapsed,
        }
    }

    fn of_eval(&self, e: &EvalPoint) -> f64 {
        match self.axis {
            Axis::Step => e.step as f64,
            Axis::Tokens => e.tokens as f64,
            Axis::Time => e.elapsed,
        }
    }

    /// A mark's place: on axes other than steps, that of the first training point not before it.
    fn of_mark(&self, run: &RunState, seq: u64, step: u64) -> f64 {
        match self.axis {
            Axis::Step => step as f64,
            _ => {
                let i = run.train.partition_point(|p| p.seq < seq);
                run.train
                    .get(i)
                    .or(run.train.last())
                    .map_or(0.0, |p| self.of_train(p))
            }
        }
    }

    /// Column of `size` dots, if on screen.
    fn column(&self, x: f64, size: usize) -> Option<usize> {
        let share = (x - self.from) / (self.to - self.from);
        (0.0..=1.0)
            .contains(&share)
            .then(|| ((share * size as f64) as usize).min(size - 1))
    }

    /// Indices of the training points on screen.
    fn points(&self, run: &RunState) -> (usize, usize) {
        let first = run.train.partition_point(|p| self.of_train(p) < self.from);
        let end = run.train.partition_point(|p| self.of_train(p) <= self.to);
        // In a journal whose steps are out of order the search may end anywhere.
        (first, end.max(first))
    }

    fn label(&self, x: f64) -> String {
        match self.axis {
            Axis::Step => thousands(x.round() as u64),
            Axis::Tokens => table::count(x.round() as u64),
            Axis::Time => duration(x),
        }
    }
}

/// The end of a time axis that must not move with every second: the next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten.
fn stepped(seconds: f64) -> f64 {
    let mut unit = 10.0;
    loop {
        for factor in [1.0, 1.5, 2.0, 3.0, 5.0, 7.5] {
            if seconds <= unit * factor {
                return unit * factor;
            }
        }
        unit *= 10.0;
    }
}

/// The loss axis.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// Row of `size` dots from the top; what lies outside is put on the edge.
    fn row(&self, loss: f64, size: usize) -> usize {
        let f = |v: f64| {
            if self.log {
                v.max(f64::MIN_POSITIVE).ln()
            } else {
                v
            }
        };
        let share = (f(loss) - f(self.low)) / (f(self.high) - f(self.low));
        let last = (size - 1) as f64;
        (last - (share * last).clamp(0.0, last)).round() as usize
    }

    /// The loss at the middle of row `row` of `rows`.
    fn at(&self, row: usize, rows: usize) -> f64 {
        let share = 1.0 - row as f64 / (rows - 1).max(1) as f64;
        if self.log {
            (self.low.ln() + share * (self.high.ln() - self.low.ln())).exp()
        } else {
            self.low + share * (self.high - self.low)
        }
    }
}

/// Everything on screen but the first descent of each phase, widened to a few round numbers so that it seldom moves.
fn scale(scene: &Scene<'_>, x: &Window) -> Option<Scale> {
    let run = scene.run;
    let (first, end) = x.points(run);
    let mut bounds: Vec<usize> = run
        .phase_starts()
        .iter()
        .map(|&seq| run.train.partition_point(|p| p.seq < seq))
        .filter(|&i| i > first && i < end)
        .chain([first, end])
        .collect();
    bounds.sort_unstable();
    let mut seen: Vec<f64> = Vec::new();
    for pair in bounds.windows(2) {
        let settled = pair[0] + (pair[1] - pair[0]) / DESCENT;
        if let Some((l, h)) = scene.curve.range(&run.train, settled, pair[1]) {
            seen.extend([l, h]);
        }
    }
    if seen.is_empty() {
        // Nothing but evaluations yet.
        let shown = run
            .evals
            .iter()
            .filter(|e| (x.from..=x.to).contains(&x.of_eval(e)));
        seen.extend(shown.map(|e| e.val_loss));
    }
    seen.extend(run.evals_of_phase().last().map(|e| e.val_loss));
    seen.extend(run.benchmark());
    seen.retain(|v| v.is_finite());
    let low = seen.iter().copied().reduce(f64::min)?;
    let high = seen.iter().copied().reduce(f64::max)?;
    let unit = nice((high - low).max(1e-3) / 5.0);
    let log = scene.ui.chart.log && low > unit;
    Some(Scale {
        low: ((low / unit).floor() * unit).max(if log { unit } else { f64::NEG_INFINITY }),
        high: ((high / unit).ceil() * unit).max(low + unit),
        log,
    })
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(x: f64) -> f64 {
    let power = 10f64.powf(x.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= x);
    factor.unwrap_or(10.0) * power
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
    let run = scene.run;
    let (first, end) = x.points(run);
    if first == end {
        return;
    }
    let mut dots = Dots::new(scene.glyphs, plot, 2);
    let (across, down) = dots.size();
    let at = |i: usize| x.column(x.of_train(&run.train[i]), across);
    let starts = run.phase_starts();
    let phase = |i: usize| starts.partition_point(|&seq| seq < run.train[i].seq);
    let smoothed = scene.ui.chart.smoothing > 0.0;
    let front = |i: usize| {
        if smoothed {
            scene.curve.smooth(i)
        } else {
            run.train[i].loss
        }
    };
    let mut before: Option<(usize, (usize, usize))> = None;
    let mut i = first;
    while i < end {
        let Some(column) = at(i) else {
            i += 1;
            continue;
        };
        // All the points of a column; the last decides the line's place.
        let next = (column + 1) as f64 / across as f64 * (x.to - x.from) + x.from;
        let rest = &run.train[i..end];
        let until = (i + rest.partition_point(|p| x.of_train(p) < next)).max(i + 1);
        if smoothed && let Some((low, high)) = scene.curve.range(&run.train, i, until) {
            dots.column(RAW, column, y.row(low, down), y.row(high, down));
        }
        let last = until - 1;
        let value = front(last);
        let broken = !value.is_finite() || !run.train[last].loss.is_finite();
        if !broken {
            let here = (column, y.row(value, down));
            match before {
                Some((p, from)) if p == phase(last) => dots.line(SMOOTH, from, here),
                _ => dots.set(SMOOTH, here.0, here.1),
            }
            if !smoothed && let Some((low, high)) = scene.curve.range(&run.train, i, until) {
                dots.column(SMOOTH, column, y.row(low, down), y.row(high, down));
            }
            before = Some((phase(last), here));
        } else {
            // A gap where the loss was no number.
            before = None;
        }
        i = until;
    }
    let theme = scene.theme;
    dots.draw(buffer, plot, &[theme.dim, theme.train], &['.', '*']);
}

fn evaluations(buffer: &mut Buffer, scene: &Scene<'_>, plot: Rect, x: &Window, y: &Scale) {
    for e in &scene.run.evals {
        if let Some(column) = x.column(x.of_eval(e), usize::from(plot.width))
            && e.val_loss.is_finite()
        {
            let row = y.row(e.val_loss, usize::from(plot.height)) as u16;
            let cell = &mut buffer[(plot.x + column as u16, plot.y + row)];
            cell.set_char(val_mark(scene.glyphs))
                .set_style(scene.theme.val);
        }
    }
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
    for mark in run.marks.iter().filter(|m| m.kind == MarkKind::Checkpoint) {
        if let Some(column) = place(mark.seq, mark.step) {
            let cell = &mut buffer[(row.x + column as u16, row.y)];
            cell.set_char(diamond).set_style(scene.theme.dim);
        }
    }
    let grown: HashSet<u64> = run
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
    };
    let mut labels: Vec<(usize, String)> = run
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
