//! What part of the run the chart shows, and how losses become rows: pure arithmetic, but for what it looks at.

use crate::dashboard::chart_view::Axis;
use crate::dashboard::view::{Scene, thousands};
use crate::run::series::pyramid::{Place, Series};
use crate::run::show::duration;
use crate::run::state::{LOSS, RunState, VAL_LOSS};
use crate::run::table;

/// A phase's first share, whose fall from a fresh start would flatten everything after it.
const DESCENT: u64 = 10;

/// The part of the x axis on screen.
pub(super) struct Window {
    pub(super) axis: Axis,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Window {
    /// From the start to the planned end of the present phase, so that the picture stands still while it fills; zoomed
    /// in, a window that moves by quarters.
    pub(super) fn of(scene: &Scene<'_>) -> Self {
        let (run, view) = (scene.run, &scene.ui.chart);
        let core = &run.core;
        let planned = core.phase.as_ref().map_or(0, |p| p.began_at + p.due);
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

    pub(super) fn at(&self, place: &Place) -> f64 {
        match self.axis {
            Axis::Step => place.step as f64,
            Axis::Tokens => place.tokens as f64,
            Axis::Time => place.elapsed,
        }
    }

    /// A mark's place: on axes other than steps, that of the first training point not before it.
    pub(super) fn of_mark(&self, run: &RunState, seq: u64, step: u64) -> f64 {
        if self.axis == Axis::Step {
            return step as f64;
        }
        let stretches = run.live().train.stretches();
        let i = stretches.partition_point(|s| s.last.seq < seq);
        match (stretches.get(i), stretches.last()) {
            (Some(s), _) if s.first.seq >= seq => self.at(&s.first),
            (Some(s), _) | (None, Some(s)) => self.at(&s.last),
            (None, None) => 0.0,
        }
    }

    /// Column of `size` dots, if on screen.
    pub(super) fn column(&self, x: f64, size: usize) -> Option<usize> {
        let share = (x - self.from) / (self.to - self.from);
        (0.0..=1.0)
            .contains(&share)
            .then(|| ((share * size as f64) as usize).min(size - 1))
    }

    /// The same for what may lie half on screen: the nearest column that is.
    pub(super) fn nearest(&self, x: f64, size: usize) -> usize {
        let share = ((x - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        ((share * size as f64) as usize).min(size - 1)
    }

    /// Indices of the buckets on screen.
    pub(super) fn buckets(&self, series: &Series) -> (usize, usize) {
        let stretches = series.stretches();
        let first = stretches.partition_point(|s| self.at(&s.last) < self.from);
        let end = stretches.partition_point(|s| self.at(&s.first) <= self.to);
        (first, end.max(first))
    }

    pub(super) fn label(&self, x: f64) -> String {
        match self.axis {
            Axis::Step => thousands(x.round() as u64),
            Axis::Tokens => table::count(x.round() as u64),
            Axis::Time => duration(x),
        }
    }
}

/// The end of a time axis that must not move with every second: the next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten.
pub(super) fn stepped(seconds: f64) -> f64 {
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
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
}

impl Scale {
    /// Row of `size` dots from the top; what lies outside is put on the edge.
    pub(super) fn row(&self, loss: f64, size: usize) -> usize {
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
    pub(super) fn at(&self, row: usize, rows: usize) -> f64 {
        let share = 1.0 - row as f64 / (rows - 1).max(1) as f64;
        if self.log {
            (self.low.ln() + share * (self.high.ln() - self.low.ln())).exp()
        } else {
            self.low + share * (self.high - self.low)
        }
    }
}

/// Everything on screen but the first descent of each phase, widened to a few round numbers so that it seldom moves.
pub(super) fn scale(scene: &Scene<'_>, x: &Window) -> Option<Scale> {
    let run = scene.run;
    let train = &run.live().train;
    let stretches = train.stretches();
    let (first, end) = x.buckets(train);
    let mut bounds: Vec<usize> = run
        .phase_starts()
        .iter()
        .map(|&seq| stretches.partition_point(|s| s.first.seq < seq))
        .filter(|&i| i > first && i < end)
        .chain([first, end])
        .collect();
    bounds.sort_unstable();
    let mut seen: Vec<f64> = Vec::new();
    for pair in bounds.windows(2) {
        let shown = &stretches[pair[0]..pair[1]];
        let (Some(a), Some(b)) = (shown.first(), shown.last()) else {
            continue;
        };
        let steps = b.last.step.saturating_sub(a.first.step);
        let settled = a.first.step + steps / DESCENT;
        // A bucket that reaches over the descent's end is still part of it, unless there is no other.
        let descent = shown.partition_point(|s| s.first.step < settled);
        let descent = descent.min(shown.len() - 1);
        seen.extend(pair_of(train.range(LOSS, pair[0] + descent, pair[1])));
    }
    if seen.is_empty() {
        // Nothing but evaluations yet.
        let val = &run.live().val;
        let (first, end) = x.buckets(val);
        seen.extend(pair_of(val.range(VAL_LOSS, first, end)));
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

pub(super) fn pair_of(range: Option<(f64, f64)>) -> impl Iterator<Item = f64> {
    range.into_iter().flat_map(|(low, high)| [low, high])
}

/// The next of 1, 2, 5 times a power of ten.
pub(super) fn nice(x: f64) -> f64 {
    let power = 10f64.powf(x.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= x);
    factor.unwrap_or(10.0) * power
}
