//! The checkpoints that a run can go back to, and the training that a rollback would abandon.

use super::scene::Scene;
use super::ui::Context;
use super::widgets::thousands;
use crate::run::show::duration;
use crate::run::state::{Branch, CheckpointNote, EvalPoint, RunState};
use crate::run::{losses, table, trouble};

/// A checkpoint on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub note: CheckpointNote,
    pub val_loss: Option<f64>,
    pub gap: Option<(f64, Option<f64>)>,
    /// Whether it is on the live branch, and not on one that a rollback has abandoned.
    pub live: bool,
}

/// Returns the checkpoints for which `is_kept` holds, newest first.
pub fn of(run: &RunState, is_kept: &dyn Fn(&str) -> bool) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for note in run.checkpoints.iter().rev() {
        // A name that was written twice has the newer content.
        if is_kept(&note.name) && !points.iter().any(|p| p.note.name == note.name) {
            points.push(point(run, note));
        }
    }
    points.sort_by_key(|p| std::cmp::Reverse(p.note.seq));
    points
}

/// Returns the checkpoints of the run on screen.
pub fn on_screen(context: &Context<'_>) -> Vec<Point> {
    of(context.run, &|name| context.facts.nearby.is_kept(name))
}

fn point(run: &RunState, note: &CheckpointNote) -> Point {
    let live = run.live().contains(note.seq);
    let mut branches: Vec<&Branch> = vec![run.live()];
    branches.extend(run.history.abandoned.iter().map(|a| &a.branch));
    let on = branches.into_iter().find(|s| s.contains(note.seq));
    let eval = on.and_then(|s| last_eval(s, note));
    Point {
        note: note.clone(),
        val_loss: note.val_loss.or_else(|| match live {
            true => trouble::val_at(run, note),
            false => eval.map(|e| e.val_loss()),
        }),
        gap: eval.and_then(|e| Some((e.gap?, e.gap_stderr))),
        live,
    }
}

/// Returns the last evaluation at or before a checkpoint.
fn last_eval<'a>(branch: &'a Branch, note: &CheckpointNote) -> Option<&'a EvalPoint> {
    let mut evals = branch.evals.iter().rev();
    evals.find(|e| e.seq <= note.seq && e.step <= note.step)
}

/// Describes what a rollback to a checkpoint abandons: steps, evaluations with the best loss, and time.
pub fn abandons(run: &RunState, point: &Point) -> String {
    if !point.live {
        return format!(
            "it returns to an abandoned branch; the present branch, at step {}, is abandoned",
            thousands(run.core.step)
        );
    }
    let steps = run.core.step.saturating_sub(point.note.step);
    let later: Vec<&EvalPoint> = run
        .live()
        .evals
        .iter()
        .filter(|e| e.seq > point.note.seq)
        .collect();
    let mut text = format!("abandons {} steps", thousands(steps));
    let seconds = (run.t - point.note.t) as f64 / 1000.0;
    if steps > 0 && seconds > 0.0 {
        text.push_str(&format!(", {} of work", duration(seconds)));
    }
    let finite = later.iter().filter_map(|e| e.val_loss);
    if let Some(best) = finite.min_by(f64::total_cmp) {
        let best = losses::loss(best);
        text.push_str(&format!(", {} evaluations (best val {best})", later.len()));
    }
    text
}

/// Returns a checkpoint's step and phase, `step 120 of round 1`, from its name.
pub fn place(run: &RunState, point: &Point) -> String {
    let step = point.note.step;
    let began = run.core.phase.as_ref().map(|p| (p.began_at, &p.phase));
    match began {
        Some((began, phase)) if point.live && step >= began => {
            let phase = table::phase_name(phase);
            format!("step {} of {phase}", thousands(step - began))
        }
        _ => format!("step {} of the run", thousands(step)),
    }
}

/// Returns the question that confirms a rollback, and the consequences.
pub fn words(scene: &Scene<'_>, checkpoint: &str) -> (String, Vec<String>) {
    let question = format!("Roll back to {checkpoint}?");
    let run = scene.run;
    let all = of(run, &|name| scene.facts.nearby.is_kept(name));
    let Some(point) = all.iter().find(|p| p.note.name == checkpoint) else {
        // The name is a link or a step, whose checkpoint is not known here.
        let abandoned = "what was trained since is abandoned; it stays on the chart and in show";
        return (question, vec![abandoned.into()]);
    };
    let mut state = place(run, point);
    if let Some(val) = point.val_loss {
        state.push_str(&format!(", val {}", losses::loss(val)));
    }
    if let Some((gap, stderr)) = point.gap {
        state.push_str(&format!(", gap {}", losses::gap_words(Some(gap), stderr)));
    }
    let checked = match scene.facts.nearby.verified.get(checkpoint) {
        Some(Ok(())) => format!(
            "{}, every file verified; {}",
            table::bytes(point.note.bytes),
            memory(run, point)
        ),
        _ => format!("{}; {}", table::bytes(point.note.bytes), memory(run, point)),
    };
    (
        question,
        vec![
            state,
            checked,
            format!(
                "{}; they stay on the chart and in show",
                abandons(run, point)
            ),
        ],
    )
}

/// Describes whether the checkpoint's model fits into memory, as far as is known here.
fn memory(run: &RunState, point: &Point) -> String {
    let began = run.core.phase.as_ref().map_or(0, |p| p.began_at);
    match point.live && point.note.step >= began {
        true => "as much memory as now".into(),
        false => "memory is checked before the present model is given up".into(),
    }
}
