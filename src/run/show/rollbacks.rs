//! Lists abandoned branches, for `show`: from where to where the run went back, and how good the abandoned branch was.

use serde::Serialize;

use crate::run::event::Phase;
use crate::run::state::{Abandoned, Branch, EvalPoint, MarkKind, RunState};
use crate::run::{losses, table};

/// An evaluation of a round.
#[derive(Debug, PartialEq, Serialize)]
pub struct Best {
    /// Over all phases.
    pub step: u64,
    pub phase: String,
    pub val_loss: f64,
    pub gap: Option<f64>,
    pub gap_stderr: Option<f64>,
}

/// A branch that was left.
#[derive(Debug, PartialEq, Serialize)]
pub struct Rollback {
    /// The checkpoint that the run went back to; `None` if it has been forgotten.
    pub checkpoint: Option<String>,
    /// The steps (over all phases) that the run went back to, and that the branch had reached.
    pub to_step: Option<u64>,
    pub from_step: u64,
    /// The least validation loss of the branch's rounds.
    pub best: Option<Best>,
    /// The least validation loss of what the run has done since that step instead.
    pub best_since: Option<Best>,
}

/// Returns the branches that rollbacks left, the latest at the end; of very many only the latest.
pub fn of(state: &RunState) -> Vec<Rollback> {
    let abandoned = state.history.abandoned.iter();
    abandoned.map(|left| rollback(state, left)).collect()
}

fn rollback(state: &RunState, left: &Abandoned) -> Rollback {
    let checkpoint = state.checkpoints.iter().find(|c| c.seq == left.fork);
    let to_step = checkpoint.map(|c| c.step);
    let branches = || {
        let others = state.history.abandoned.iter().map(|a| &a.branch);
        std::iter::once(state.live()).chain(others)
    };
    let on = branches().find(|s| s.contains(left.fork));
    let before = on.and_then(|s| phase_at(s, left.fork));
    Rollback {
        checkpoint: checkpoint.map(|c| c.name.clone()),
        to_step,
        from_step: last_step(&left.branch).or(to_step).unwrap_or(0),
        best: best(&left.branch, before.clone(), 0),
        best_since: best(state.live(), before, left.fork),
    }
}

fn last_step(branch: &Branch) -> Option<u64> {
    let train = branch.train.stretches().last().map(|s| s.last.step);
    let eval = branch.evals.last().map(|e| e.step);
    train.max(eval)
}

/// Returns the phase that event `seq` of a branch belongs to, as far as the branch's own marks show it.
fn phase_at(branch: &Branch, seq: u64) -> Option<Phase> {
    let mut latest = branch.marks.iter().rev().filter(|m| m.seq <= seq);
    latest.find_map(|m| match &m.kind {
        MarkKind::Phase(phase) => Some(phase.clone()),
        _ => None,
    })
}

/// Returns the best evaluation of a branch's rounds after event `seq`; `before` is the phase that the branch begins in.
fn best(branch: &Branch, before: Option<Phase>, seq: u64) -> Option<Best> {
    let phase = |e: &EvalPoint| phase_at(branch, e.seq).or(before.clone());
    let evals = branch.evals.iter().filter(|e| e.seq > seq);
    let rounds = evals.filter_map(|e| match phase(e) {
        Some(phase @ Phase::Round(_)) if e.val_loss.is_some() => Some((e, phase)),
        _ => None,
    });
    let (e, phase) = rounds.min_by(|(a, _), (b, _)| a.val_loss().total_cmp(&b.val_loss()))?;
    Some(Best {
        step: e.step,
        phase: table::phase_name(&phase),
        val_loss: e.val_loss(),
        gap: e.gap,
        gap_stderr: e.gap_stderr,
    })
}

/// Returns the lines that `show` prints about rollbacks; empty without rollbacks.
pub fn text(state: &RunState) -> String {
    let all = of(state);
    if all.is_empty() {
        return String::new();
    }
    let mut out = String::from("\nrollbacks\n");
    for r in all {
        let to = match (&r.checkpoint, r.to_step) {
            (Some(name), Some(step)) => format!("to {} (step {step})", table::ascii(name)),
            _ => "to an earlier checkpoint".into(),
        };
        out.push_str(&format!("  from step {} {to}\n", r.from_step));
        let mut line = |what: &str, best: &Option<Best>| {
            if let Some(b) = best {
                let gap = match b.gap {
                    Some(_) => format!(
                        ", gap {}",
                        table::ascii(&losses::gap_words(b.gap, b.gap_stderr))
                    ),
                    None => String::new(),
                };
                out.push_str(&format!(
                    "    best {what}: val loss {:.4} at step {} ({}){gap}\n",
                    b.val_loss, b.step, b.phase
                ));
            }
        };
        line("of the abandoned branch", &r.best);
        line("since then", &r.best_since);
    }
    out
}

#[cfg(test)]
mod tests;
