//! The settings of the charts: axes, zoom, smoothing, cursor. Keys call the methods.

use std::ops::Range;

pub use super::widgets::axes::Axis;
use super::widgets::axes::Window;
use super::widgets::ticks::stepped;
use crate::run::series::pyramid::{Place, Series};
use crate::run::state::{Branch, MarkKind, RunState};

/// Most doublings of the zoom.
const DEEPEST: u32 = 12;
/// The cursor moves by this share of the window.
const CURSOR_STEPS: f64 = 100.0;

/// Smoothing of the training loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Smoothing {
    #[default]
    More,
    Less,
    None,
}

impl Smoothing {
    /// Returns the time constant of the average in columns of the chart, so that the smoothing suits what can be seen.
    fn columns(self) -> Option<f64> {
        match self {
            Self::More => Some(1.5),
            Self::Less => Some(0.5),
            Self::None => None,
        }
    }
}

/// The settings of the charts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ChartView {
    pub axis: Axis,
    pub log: bool,
    pub smoothing: Smoothing,
    /// Show the complete run instead of its present phase.
    pub whole: bool,
    /// The charts show 1/2^zoom of the shown part.
    pub zoom: u32,
    /// The right end of the window, as a value of the x axis; `None`: the window follows the run.
    pub right: Option<f64>,
    /// Fit the y axis to all values, instead of cutting spikes and the first descent.
    pub all: bool,
    /// Leave out the earlier rounds and the reference's curve.
    pub alone: bool,
    /// On a screen with room for one chart, show the gap instead of the loss.
    pub gap: bool,
    /// The x at which every series is read.
    pub cursor: Option<f64>,
    /// The small multiple that is enlarged, by its number on screen.
    pub multiple: Option<usize>,
}

/// The extent of the x axis, from 0 on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extent {
    end: f64,
    /// The run's present place.
    now: f64,
    /// Steps from 0 to the end.
    steps: f64,
}

impl ChartView {
    /// Halves the shown part, with the same right end.
    pub fn zoom_in(&mut self) {
        self.zoom = (self.zoom + 1).min(DEEPEST);
    }

    /// Doubles the shown part, with the same right end.
    pub fn zoom_out(&mut self) {
        self.zoom = self.zoom.saturating_sub(1);
        if self.zoom == 0 {
            self.right = None;
        }
    }

    /// Shows the complete run, or its present phase again, without zoom.
    pub fn toggle_whole(&mut self) {
        self.whole = !self.whole;
        self.unzoom();
    }

    fn unzoom(&mut self) {
        (self.zoom, self.right, self.cursor) = (0, None, None);
    }

    /// Moves a zoomed window a quarter of its width back.
    pub fn pan_left(&mut self, run: &RunState) {
        if self.zoom > 0 {
            let window = self.window(run);
            let width = window.to - window.from;
            self.right = Some((window.to - width / 4.0).max(width));
        }
    }

    /// Moves a zoomed window a quarter of its width forward. When it reaches the run's present place, it follows the run again.
    pub fn pan_right(&mut self, run: &RunState) {
        if self.zoom > 0 && self.right.is_some() {
            let window = self.window(run);
            let right = window.to + (window.to - window.from) / 4.0;
            let following = Self {
                right: None,
                ..*self
            };
            self.right = (right < following.window(run).to).then_some(right);
        }
    }

    /// Selects the next x axis: steps, tokens, time.
    pub fn cycle_axis(&mut self) {
        self.axis = match self.axis {
            Axis::Step => Axis::Tokens,
            Axis::Tokens => Axis::Time,
            Axis::Time => Axis::Step,
        };
        // Both are values of the previous axis.
        (self.right, self.cursor) = (None, None);
    }

    /// Selects the next smoothing: more, less, none.
    pub fn cycle_smoothing(&mut self) {
        self.smoothing = match self.smoothing {
            Smoothing::More => Smoothing::Less,
            Smoothing::Less => Smoothing::None,
            Smoothing::None => Smoothing::More,
        };
    }

    /// Makes the y axis of the loss logarithmic, or linear again.
    pub fn toggle_log(&mut self) {
        self.log = !self.log;
    }

    /// Shows all values, or cuts spikes and the first descent again.
    pub fn toggle_fit(&mut self) {
        self.all = !self.all;
    }

    /// Shows or hides the earlier rounds and the reference's curve.
    pub fn toggle_overlay(&mut self) {
        self.alone = !self.alone;
    }

    /// Shows the gap instead of the loss where there is room for one chart, or the loss again.
    pub fn toggle_gap(&mut self) {
        self.gap = !self.gap;
    }

    /// Shows the cursor at the run's present place, or hides it.
    pub fn toggle_cursor(&mut self, run: &RunState) {
        self.cursor = match self.cursor {
            Some(_) => None,
            None => {
                let window = self.window(run);
                Some(self.extent(run).now.clamp(window.from, window.to))
            }
        };
    }

    /// Moves the cursor a hundredth of the window to the left.
    pub fn cursor_left(&mut self, run: &RunState) {
        self.move_cursor(run, -1.0);
    }

    /// Moves the cursor a hundredth of the window to the right.
    pub fn cursor_right(&mut self, run: &RunState) {
        self.move_cursor(run, 1.0);
    }

    fn move_cursor(&mut self, run: &RunState, by: f64) {
        let Some(x) = self.cursor else { return };
        let (window, extent) = (self.window(run), self.extent(run));
        let width = window.to - window.from;
        let x = (x + by * width / CURSOR_STEPS).clamp(0.0, extent.end.min(extent.now.max(0.0)));
        self.cursor = Some(x);
        // The window moves with the cursor.
        if self.zoom > 0 && x < window.from {
            self.right = Some(x + width);
        } else if self.zoom > 0 && x > window.to {
            self.right = Some(x);
        }
    }

    /// Enlarges the next small multiple; after the last of `count`, none.
    pub fn next_multiple(&mut self, count: usize) {
        self.multiple = match self.multiple {
            None => (count > 0).then_some(0),
            Some(i) => (i + 1 < count).then_some(i + 1),
        };
    }

    /// Enlarges the previous small multiple; before the first of `count`, none.
    pub fn previous_multiple(&mut self, count: usize) {
        self.multiple = match self.multiple {
            None => count.checked_sub(1),
            Some(i) => i.checked_sub(1).filter(|&i| i < count),
        };
    }

    /// Returns the place at x = 0: the start of the phase, or of the run.
    pub fn origin(&self, run: &RunState) -> Place {
        match (&run.core.phase, self.whole) {
            (Some(phase), false) => {
                let live = run.live();
                let place = place_before(live, live.phase_start());
                Place {
                    step: phase.began_at,
                    ..place
                }
            }
            _ => Place::default(),
        }
    }

    fn extent(&self, run: &RunState) -> Extent {
        let core = &run.core;
        let origin = self.origin(run);
        let planned = core.phase.as_ref().map_or(0, |p| match self.whole {
            true => p.began_at.saturating_add(p.due),
            false => p.due,
        });
        let step = core.step.saturating_sub(origin.step);
        let quarter = run.info.as_ref().map_or(1, |i| (i.round_steps / 4).max(1));
        // Beyond its planned steps, the axis of a phase grows in quarters of a round.
        let steps = match step <= planned {
            true => planned,
            false => step.checked_next_multiple_of(quarter).unwrap_or(step),
        };
        // Branches that rollbacks have abandoned stay visible up to their last step.
        let left = left_behind(run, self.whole);
        let reached = left.map_or(0, |p| p.step.saturating_sub(origin.step));
        let steps = (steps.max(reached) as f64).max(1.0);
        let (end, now) = match self.axis {
            Axis::Step => (steps, step as f64),
            Axis::Tokens => {
                let per_step = run.info.as_ref().map_or(1, |i| i.batch_tokens) as f64;
                let now = core.tokens.saturating_sub(origin.tokens) as f64;
                ((steps * per_step).max(now), now)
            }
            Axis::Time => {
                let now = run.elapsed - origin.elapsed;
                (stepped(now), now)
            }
        };
        Extent {
            end: end.max(1.0),
            now,
            steps,
        }
    }

    /// Returns the part of the x axis on screen: from the start to the (extended) end of the phase, so that the picture does not move
    /// while it fills. Zoomed in, it is a window that moves by quarters of its width, or a fixed one.
    pub fn window(&self, run: &RunState) -> Window {
        let extent = self.extent(run);
        let width = extent.end / f64::from(1u32 << self.zoom.min(DEEPEST));
        let to = match self.right {
            _ if self.zoom == 0 => extent.end,
            Some(right) => right,
            None => (extent.now / (width / 4.0)).ceil() * (width / 4.0),
        };
        let to = to.clamp(width, extent.end);
        Window {
            axis: self.axis,
            from: to - width,
            to,
        }
    }

    /// Returns the decay per step of the training loss's average, for a chart of `columns` columns; `None` without smoothing.
    pub fn decay(&self, run: &RunState, columns: u16) -> Option<f64> {
        let extent = self.extent(run);
        let shown = extent.steps / f64::from(1u32 << self.zoom.min(DEEPEST));
        let constant = self.smoothing.columns()? * shown / f64::from(columns.max(1));
        Some((-1.0 / constant).exp())
    }
}

/// Returns the last place of the branches that rollbacks of the present phase, or of the complete run, have abandoned.
fn left_behind(run: &RunState, whole: bool) -> Option<Place> {
    let first = if whole { 0 } else { run.live().phase_start() };
    let left = run.history.abandoned.iter().filter(|l| l.fork >= first);
    let ends = left.filter_map(|l| {
        let series = &l.branch.train;
        let range = range(series, 0, end_of_phase(&l.branch, whole));
        Some(series.stretches().get(range)?.last()?.last)
    });
    ends.max_by_key(|p| p.step)
}

/// Returns the event that ends the phase in which an abandoned branch began: its later phases are not drawn.
pub fn end_of_phase(branch: &Branch, whole: bool) -> u64 {
    let mut starts = branch.marks.iter();
    let next = starts.find(|m| matches!(m.kind, MarkKind::Phase(_)));
    next.filter(|_| !whole).map_or(u64::MAX, |mark| mark.seq)
}

/// Returns the buckets of a series that begin between two events.
pub fn range(series: &Series, from: u64, to: u64) -> Range<usize> {
    let at = |seq| series.stretches().partition_point(|s| s.first.seq < seq);
    at(from)..at(to).max(at(from))
}

/// Returns the place of the training event before event `seq`.
pub(super) fn place_before(branch: &Branch, seq: u64) -> Place {
    let stretches = branch.train.stretches();
    let first = stretches.partition_point(|s| s.first.seq < seq);
    let before = first.checked_sub(1).map(|i| stretches[i].last);
    before.unwrap_or_default()
}

#[cfg(test)]
mod tests;
