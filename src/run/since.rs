//! Collects the events of a run since its operator last looked at it.

use super::losses;
use super::state::{Level, Note, RunState};
use crate::text::thousands;

pub use super::state::Left;

/// The events since then.
#[derive(Debug, Clone, PartialEq)]
pub struct Since {
    pub left: Left,
    /// A summary of a line or two.
    pub summary: Vec<String>,
    /// Decisions, warnings, growths and results, oldest first.
    pub notes: Vec<Note>,
}

/// Collects what matters of the events since the operator left; `None` if nothing does.
pub fn of(run: &RunState) -> Option<Since> {
    let left = run.left?;
    let matters = |n: &&Note| {
        let is_decision = n.text.starts_with("decision") || n.text.starts_with("decided");
        let is_news = ["grow ", "round ", "control ", "matched", "stopped", "limit"];
        let is_news = n.level == Level::Good && is_news.iter().any(|w| n.text.starts_with(w));
        is_decision || is_news || n.level == Level::Warning
    };
    let before = usize::try_from(left.notes.saturating_sub(run.notes_gone)).unwrap_or(usize::MAX);
    let later = run.notes.iter().skip(before);
    let notes: Vec<Note> = later.filter(matters).cloned().collect();
    let best = best(run, left);
    if notes.is_empty() && best.is_none() {
        return None;
    }
    let count = |what: &dyn Fn(&Note) -> bool, name: &str| {
        let n = notes.iter().filter(|n| what(n)).count();
        let plural = if n == 1 { "" } else { "s" };
        (n > 0).then(|| format!("{n} {name}{plural}"))
    };
    let steps = run.core.step.saturating_sub(left.step);
    let mut parts = vec![format!("{} steps", thousands(steps))];
    parts.extend(count(&|n| n.text.starts_with("decision"), "decision"));
    parts.extend(count(&|n| n.level == Level::Warning, "warning"));
    let mut summary = vec![parts.join(", ")];
    summary.extend(best);
    Some(Since {
        left,
        summary,
        notes,
    })
}

/// The best validation loss since then, if it is better than any before in its phase.
fn best(run: &RunState, left: Left) -> Option<String> {
    let evals = run.evals_of_phase();
    let finite = || evals.iter().filter(|e| e.val_loss.is_some());
    let least = |after: bool| {
        let wanted = finite().filter(|e| (e.seq > left.seq) == after);
        wanted.min_by(|a, b| a.val_loss().total_cmp(&b.val_loss()))
    };
    let (now, before) = (least(true)?, least(false));
    if before.is_some_and(|b| b.val_loss() <= now.val_loss()) {
        return None;
    }
    let began = run.core.phase.as_ref().map_or(0, |p| p.began_at);
    let was = before.map_or(String::new(), |b| {
        format!(", was {}", losses::loss(b.val_loss()))
    });
    let step = thousands(now.step.saturating_sub(began));
    Some(format!(
        "new best val {} at step {step}{was}",
        losses::loss(now.val_loss())
    ))
}
