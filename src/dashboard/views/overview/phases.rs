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
    /// The letter of its dots.
    pub letter: char,
    pub phase: Phase,
    /// The event with which it began, and that with which the next one did.
    pub seq: u64,
    pub next: u64,
    /// The place of its first step.
    pub origin: Place,
    pub layers: Option<usize>,
}

impl Part {
    /// The buckets of a series that belong to it.
    pub fn range(&self, series: &Series) -> Range<usize> {
        range(series, self.seq, self.next)
    }
}

/// What is shown of a run, and what came before it.
#[derive(Debug, Clone)]
pub struct Parts {
    pub whole: bool,
    /// Event numbers at which phases began.
    pub starts: Vec<u64>,
    pub origin: Place,
    /// The reference and the rounds before the present one that can be laid over it, oldest first.
    pub earlier: Vec<Part>,
    now: Option<Phase>,
}

/// Most earlier models for comparison that are drawn with the present one.
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
            let in_comparison = starts.last().is_some_and(|last| is_comparison(last.2));
            // Next to models for comparison, the last round is the result.
            let rounds = if in_comparison { 1 } else { EARLIER };
            earlier.extend(latest(&|p| matches!(p, Phase::Round(_)), rounds));
            earlier.extend(latest(&is_comparison, COMPARED));
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

    /// The event with which what is shown begins.
    pub fn first_seq(&self) -> u64 {
        match self.whole {
            true => 0,
            false => self.starts.last().copied().unwrap_or(0),
        }
    }

    /// The buckets of a live series that are shown.
    pub fn range(&self, series: &Series) -> Range<usize> {
        range(series, self.first_seq(), u64::MAX)
    }

    /// Returns the x of what is drawn at 0.
    pub fn zero(&self, axis: Axis) -> f64 {
        axis.value(&self.origin)
    }

    /// The phase that is shown; none: the whole run.
    pub fn phase(&self) -> Option<&Phase> {
        self.now.as_ref().filter(|_| !self.whole)
    }

    /// What is shown in words: `round 2`, `whole run`.
    pub fn name(&self) -> String {
        match (&self.now, self.whole) {
            (Some(phase), false) => table::phase_name(phase),
            _ => "whole run".into(),
        }
    }
}

fn is_comparison(phase: &Phase) -> bool {
    matches!(phase, Phase::Control(_) | Phase::Baseline(_))
}

/// The event, the step and the phase of each beginning on a branch.
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

/// Returns the letter of a phase's dots: a round's number, R for the reference, and a, b, ... for models for comparison.
fn letter(starts: &[(u64, u64, &Phase)], i: usize) -> char {
    match starts[i].2 {
        Phase::Round(n) => char::from_digit(n % 10, 10).unwrap_or('?'),
        phase if is_comparison(phase) => {
            let before = starts[..i].iter().filter(|s| is_comparison(s.2)).count();
            ('a'..='z').nth(before % 26).unwrap_or('?')
        }
        _ => 'R',
    }
}

/// The last time that a run was in a phase.
pub fn latest(run: &RunState, phase: &Phase) -> Option<Part> {
    let starts = starts(run.live());
    let i = starts.iter().rposition(|start| start.2 == phase)?;
    Some(part(run, &starts, i))
}

/// Layers that a finished phase had.
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
