//! Marks of a run's events below its loss.

use std::collections::HashSet;

use super::extent::View;
use crate::dashboard::widgets::axes::{Axis, Window};
use crate::dashboard::widgets::foot::Mark;
use crate::run::event::Phase;
use crate::run::state::{self, Branch, MarkKind};

/// Priorities of marks that share a column.
const PHASE: u8 = 1;
const NOTE: u8 = 2;
const GROWTH: u8 = 3;
const ROLLBACK: u8 = 4;
const RESUMED: u8 = 5;

/// Returns the marks: `^grow 4→6` where layers were added, `^round 1` where a phase begins, a diamond for each checkpoint.
pub fn of(view: &View<'_>) -> Vec<Mark> {
    let (scene, parts) = (view.scene, &view.parts);
    let live = scene.run.live();
    let first = parts.first_seq();
    let origin = parts.zero(view.window.axis);
    let shown = || live.marks.iter().filter(|m| m.seq >= first);
    let grown: HashSet<u64> = shown()
        .filter(|m| matches!(m.kind, MarkKind::Growth(..)))
        .map(|m| m.step)
        .collect();
    shown()
        .filter_map(|mark| {
            let (label, weight) = label(mark, &grown)?;
            Some(Mark {
                x: x(live, &view.window, mark) - origin,
                label: label.map(|text| scene.text(&text)),
                weight,
            })
        })
        .collect()
}

fn label(mark: &state::Mark, grown: &HashSet<u64>) -> Option<(Option<String>, u8)> {
    let (text, weight) = match &mark.kind {
        MarkKind::Checkpoint => return Some((None, 0)),
        MarkKind::Growth(from, to) => (format!("grow {from}→{to}"), GROWTH),
        MarkKind::Phase(Phase::Round(_)) if grown.contains(&mark.step) => return None,
        MarkKind::Phase(Phase::Reference) => return None,
        MarkKind::Phase(Phase::Round(1)) => ("inherit".into(), PHASE),
        MarkKind::Phase(Phase::Control(control)) => (control.short.into(), PHASE),
        MarkKind::Phase(Phase::Baseline(baseline)) => (baseline.short(), PHASE),
        MarkKind::Phase(other) => (other.to_string(), PHASE),
        MarkKind::Resumed => ("resumed".into(), RESUMED),
        MarkKind::Rollback => ("rolled back".into(), ROLLBACK),
        MarkKind::Note(text) => (format!("note {text}"), NOTE),
        MarkKind::Change(text) => (text.clone(), NOTE),
    };
    Some((Some(text), weight))
}

/// Returns a mark's x. On axes other than steps it is that of the first training point at or after the mark.
fn x(live: &Branch, window: &Window, mark: &state::Mark) -> f64 {
    if window.axis == Axis::Step {
        return mark.step as f64;
    }
    let stretches = live.train.stretches();
    let i = stretches.partition_point(|s| s.last.seq < mark.seq);
    match (stretches.get(i), stretches.last()) {
        (Some(s), _) if s.first.seq >= mark.seq => window.axis.value(&s.first),
        (Some(s), _) | (None, Some(s)) => window.axis.value(&s.last),
        (None, None) => 0.0,
    }
}
