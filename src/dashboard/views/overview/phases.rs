//! The parts of a run's curves that belong to its phases.

use std::ops::Range;

pub use crate::dashboard::chart_view::range;
use crate::dashboard::chart_view::{ChartView, place_before};
use crate::dashboard::widgets::axes::Axis;
use crate::run::event::Phase;
use crate::run::series::pyramid::{Place, Series};
use crate::run::state::{Branch, MarkKind, RunState};
use crate::run::table;

/// A phase of the live branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The letter that marks its curve.
    pub letter: char,
    pub phase: Phase,
    /// Numbers of the events with which this phase and the next one began.
    pub seq: u64,
    pub next: u64,
    /// The place of its first step.
    pub origin: Place,
    pub layers: Option<usize>,
}

impl Part {
    /// Returns the buckets of a series that belong to the phase.
    pub fn range(&self, series: &Series) -> Range<usize> {
        range(series, self.seq, self.next)
    }
}

/// The part of a run that is shown, and the earlier phases that are drawn with it.
#[derive(Debug, Clone)]
pub struct Parts {
    pub whole: bool,
    /// Event numbers at which phases began.
    pub starts: Vec<u64>,
    pub origin: Place,
    /// The reference and the earlier rounds that can be drawn over the present one, oldest first.
    pub earlier: Vec<Part>,
    now: Option<Phase>,
}

/// Most earlier controls and baselines that are drawn with the present one.
const COMPARED: usize = 6;
/// Most earlier rounds that are drawn with the present phase.
const EARLIER: usize = 3;

impl Parts {
    /// Finds the parts of a run that are shown.
    pub fn of(run: &RunState, view: &ChartView) -> Self {
        let whole = view.whole;
        let live = run.live();
        let starts = starts(live);
        let part = |i: usize| part(run, &starts, i);
        let mut earlier = Vec::new();
        let before = starts.len().saturating_sub(1);
        if !whole {
            let latest = |is: &dyn Fn(&Phase) -> bool, most: usize| {
                let found = (0..before).rev().filter(|&i| is(starts[i].2));
                let mut found: Vec<usize> = found.take(most).collect();
                found.reverse();
                found
            };
            earlier.extend(latest(&|p| *p == Phase::Reference, 1));
            let in_comparison = starts.last().is_some_and(|last| last.2.is_comparison());
            // With controls and baselines, only the last round is drawn: it is the run's result.
            let rounds = if in_comparison { 1 } else { EARLIER };
            earlier.extend(latest(&|p| matches!(p, Phase::Round(_)), rounds));
            earlier.extend(latest(&Phase::is_comparison, COMPARED));
        }
        let now = run.core.phase.as_ref();
        Self {
            whole,
            origin: view.origin(run),
            earlier: earlier.into_iter().map(part).collect(),
            starts: starts.iter().map(|s| s.0).collect(),
            now: now.map(|p| p.phase.clone()),
        }
    }

    /// Returns the number of the event with which the shown part begins.
    pub fn first_seq(&self) -> u64 {
        match self.whole {
            true => 0,
            false => self.starts.last().copied().unwrap_or(0),
        }
    }

    /// Returns the buckets of a live series that are shown.
    pub fn range(&self, series: &Series) -> Range<usize> {
        range(series, self.first_seq(), u64::MAX)
    }

    /// Returns the value of the axis that is drawn at x = 0.
    pub fn zero(&self, axis: Axis) -> f64 {
        axis.value(&self.origin)
    }

    /// Returns the phase that is shown; `None` for the complete run.
    pub fn phase(&self) -> Option<&Phase> {
        self.now.as_ref().filter(|_| !self.whole)
    }

    /// Returns the name of the part that is shown: `round 2`, `whole run`.
    pub fn name(&self) -> String {
        match (&self.now, self.whole) {
            (Some(phase), false) => table::phase_name(phase),
            _ => "whole run".into(),
        }
    }
}

/// Returns the event, the step and the phase of each beginning of a phase on a branch.
fn starts(branch: &Branch) -> Vec<(u64, u64, &Phase)> {
    let marks = branch.marks.iter();
    let starts = marks.filter_map(|m| match &m.kind {
        MarkKind::Phase(phase) => Some((m.seq, m.step, phase)),
        _ => None,
    });
    starts.collect()
}

fn part(run: &RunState, starts: &[(u64, u64, &Phase)], i: usize) -> Part {
    let (seq, step, phase) = starts[i];
    Part {
        letter: letter(starts, i),
        phase: phase.clone(),
        seq,
        next: starts.get(i + 1).map_or(u64::MAX, |s| s.0),
        origin: Place {
            step,
            ..place_before(run.live(), seq)
        },
        layers: layers(run, phase),
    }
}

/// Returns the letter of a phase's curve: a round's number, R for the reference, and a, b, ... for controls and baselines.
fn letter(starts: &[(u64, u64, &Phase)], i: usize) -> char {
    match starts[i].2 {
        Phase::Round(n) => char::from_digit(n % 10, 10).unwrap_or('?'),
        phase if phase.is_comparison() => {
            let before = starts[..i].iter().filter(|s| s.2.is_comparison()).count();
            ('a'..='z').nth(before % 26).unwrap_or('?')
        }
        _ => 'R',
    }
}

/// Returns the part of a run in which it was last in `phase`.
pub fn latest(run: &RunState, phase: &Phase) -> Option<Part> {
    let starts = starts(run.live());
    let i = starts.iter().rposition(|start| start.2 == phase)?;
    Some(part(run, &starts, i))
}

/// Returns the number of layers of a finished phase.
fn layers(run: &RunState, phase: &Phase) -> Option<usize> {
    match phase {
        Phase::Reference => run.core.reference.as_ref().map(|r| r.layers),
        Phase::Round(n) => {
            let mut rounds = run.core.rounds.iter().rev();
            rounds.find(|r| r.round == *n).map(|r| r.result.layers)
        }
        _ => {
            let name = table::phase_name(phase);
            let mut compared = table::compared(&run.core);
            compared.find(|c| c.name == name).map(|c| c.result.layers)
        }
    }
}
