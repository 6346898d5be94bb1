//! A run as JSON (`show --json`) and as text (`show`).

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

mod forecast;
mod ranks;
mod rollbacks;
mod tasks;

use super::dir::{RunDir, is_name};
use super::event::{Change, PhaseResult};
use super::lock::{Holder, RunLock};
use super::losses;
use super::state::{Level, RunState, Status, result_words};
use super::table;
use super::trouble::Trouble;
use crate::text::{self, exact};

pub use crate::text::duration;

/// `running`, `paused`, `interrupted`, `done` or `failed`. A run without any event is running when a process
/// holds it, else interrupted.
pub fn state_word(state: &RunState, dir: &RunDir) -> &'static str {
    match state.core.status {
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Interrupted => "interrupted",
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Empty if RunLock::is_live(dir.path()) => "running",
        Status::Empty => "interrupted",
    }
}

/// As [`state_word`], but with the end of an interrupted run: `stopped` after a checkpoint, or `crashed` without a last message.
pub fn state_text(state: &RunState, dir: &RunDir) -> &'static str {
    match state_word(state, dir) {
        "interrupted" if state.is_crashed() => "crashed",
        "interrupted" if state.seq > 0 => "stopped",
        word => word,
    }
}

/// The checkpoints of a run that are on disk, listed once: for callers that must not access the disk while a state is
/// locked.
#[derive(Debug, Default)]
pub struct Kept(BTreeSet<String>);

impl Kept {
    /// Lists the checkpoints of the run in `dir`; empty where they cannot be read.
    pub fn list(dir: &RunDir) -> Self {
        let entries = std::fs::read_dir(dir.checkpoints()).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Self(names.filter(|name| is_kept(dir, name)).collect())
    }

    /// Returns whether a checkpoint was on disk.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// The object that `show --json` prints.
pub fn json(state: &RunState, dir: &RunDir) -> Value {
    json_knowing(state, dir, &|name| is_kept(dir, name))
}

/// As [`json()`], where `is_kept` decides whether a checkpoint is on disk.
pub fn json_knowing(state: &RunState, dir: &RunDir, is_kept: &dyn Fn(&str) -> bool) -> Value {
    let core = &state.core;
    let mut all = json!({
        "name": dir.name(),
        "state": state_word(state, dir),
        "outcome": core.outcome,
        "message": core.message,
        "pause": pause(state),
        "trouble": trouble(state, is_kept).map(|t| json!({
            "kind": t.kind.word(),
            "what": t.sentence(),
            "commands": t.commands(&dir.argument()),
        })),
        "phase": core.phase.as_ref().map(|now| now.phase.to_string()),
        "step": core.step,
        "tokens": core.tokens,
        "forecast": forecast::json(state),
        "plateau": state.outlook().map(|outlook| outlook.plateau),
        "reference": core.reference.as_ref().map(reference),
        "rounds": core.rounds,
        "controls": core.controls,
        "rollbacks": rollbacks::of(state),
        "notes": state.remarks,
        "changes": core.changes,
        "eval_windows": state.info.as_ref().and_then(|i| i.eval_windows),
    });
    if !core.baselines.is_empty() {
        all["baselines"] = json!(core.baselines);
    }
    // Absent in runs of earlier versions.
    if let Some(info) = state.info.as_ref().filter(|info| info.dtype.is_some()) {
        all["dtype"] = json!(info.dtype);
        all["dtype_reason"] = json!(info.dtype_reason);
    }
    // Absent without measurements, and in runs of earlier versions.
    if let Some(measured) = &core.chosen_by {
        all["layers_chosen_by"] = json!(measured);
    }
    ranks::extend(&mut all, state);
    tasks::extend(&mut all, state);
    all
}

/// Returns the run's trouble, if it has any.
fn trouble(state: &RunState, is_kept: &dyn Fn(&str) -> bool) -> Option<Trouble> {
    let silence = state.silence(Timestamp::now().as_millisecond());
    Trouble::of(state, silence, is_kept)
}

/// Whether a checkpoint is on disk. Checks valid names only: a journal from elsewhere may hold any text.
pub fn is_kept(dir: &RunDir, name: &str) -> bool {
    is_name(name) && dir.checkpoints().join(name).is_dir()
}

/// Returns why the run is paused, if it is and a reason is known.
pub fn pause(state: &RunState) -> Option<&str> {
    let paused = state.core.status == Status::Paused;
    state.core.pause.as_deref().filter(|_| paused)
}

/// Lists the values that operators have changed: `clip 0.5 (was 1), beta2 0.99 (was 0.95)`.
pub fn changes(state: &RunState) -> Option<String> {
    let words = |c: &Change| format!("{} {} (was {})", c.what, c.new, c.old);
    let all: Vec<String> = state.core.changes.iter().map(words).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn reference(r: &PhaseResult) -> Value {
    json!({
        "layers": r.layers,
        "parameters": r.parameters,
        "steps": r.steps,
        "tokens": r.tokens,
        "val_loss": r.val_loss,
        "stderr": r.stderr,
        "tokens_per_second": r.tokens_per_second,
        "tokens_per_second_wall": r.tokens_per_second_wall,
        "lazy_layers": r.lazy_layers,
        "max_rank": r.max_rank,
    })
}

/// Describes the state of a run in a few lines.
pub fn status(state: &RunState, dir: &RunDir) -> String {
    status_knowing(state, dir, &|name| is_kept(dir, name))
}

/// As [`status`], where `is_kept` decides whether a checkpoint is on disk.
pub fn status_knowing(state: &RunState, dir: &RunDir, is_kept: &dyn Fn(&str) -> bool) -> String {
    let core = &state.core;
    let mut out = format!("{}, step {} of the run", core.status, core.step);
    if let Some(trouble) = trouble(state, is_kept) {
        let _ = write!(out, "\ntrouble: {}", trouble.sentence());
        for command in trouble.commands(&dir.argument()) {
            let _ = write!(out, "\n  {command}");
        }
    }
    if let Some(why) = pause(state) {
        let _ = write!(out, "\npaused because: {why}");
    }
    if let Some(now) = &core.phase {
        let (phase, layers) = (
            table::phase_name(&now.phase),
            table::plural(now.layers, "layer"),
        );
        let (step, steps) = (core.phase_step, now.due);
        let _ = write!(out, "\n{phase}: {layers}, step {step} of {steps}");
    }
    if let Some(progress) = state.tasking() {
        let _ = write!(out, "\nevaluating on {}; training waits", progress.words());
    }
    for (_, words) in ranks::lines(state) {
        let _ = write!(out, "\n{words}");
    }
    if let Some(changes) = changes(state) {
        let _ = write!(out, "\nset by the operator: {changes}");
    }
    if let Some(eval) = state.live().evals.last() {
        let _ = write!(
            out,
            "\nval loss {}",
            losses::loss_words(eval.val_loss(), f64::NAN)
        );
        if eval.gap.is_some() {
            let _ = write!(
                out,
                ", gap {}",
                losses::gap_words(eval.gap, eval.gap_stderr)
            );
        }
        let _ = write!(out, " (step {})", eval.step);
    }
    for result in tasks::of_phase(state) {
        let _ = write!(out, "\n{} (step {})", result_words(result), result.step);
    }
    let expected = forecast::sentences(state);
    if !expected.is_empty() {
        let _ = write!(out, "\nforecast: {}", expected.join("\n  "));
    }
    if let Some(decision) = &core.decision {
        let (reason, why) = (decision.reason, &decision.evidence.why);
        let evidence = decision.evidence_words(core.step);
        let _ = write!(out, "\ndecision open ({reason}, {evidence}): {why}");
    }
    if let Some(checkpoint) = state.checkpoints.last() {
        let _ = write!(out, "\nlast checkpoint {}", checkpoint.name);
    }
    let warnings = state.notes.iter().rev();
    for warning in warnings.filter(|n| n.level == Level::Warning).take(3) {
        let _ = write!(out, "\nwarning at step {}: {}", warning.step, warning.text);
    }
    out
}

/// The text that `show` prints.
pub fn text(state: &RunState, dir: &RunDir) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut out, state, dir);
    out.push('\n');
    out.push_str(&table::text(state));
    out.push_str(&tasks::text(state));
    out.push_str(&rollbacks::text(state));
    let _ = remarks(&mut out, state);
    let _ = checkpoints(&mut out, state, dir);
    let _ = next(&mut out, state, dir);
    out
}

fn head(out: &mut String, state: &RunState, dir: &RunDir) -> std::fmt::Result {
    let core = &state.core;
    writeln!(out, "run        {}", table::ascii(&dir.name()))?;
    writeln!(out, "directory  {}", text::path(dir.path()))?;
    let holder = match RunLock::holder(dir.path()) {
        Some(holder) if is_live(core.status) => format!(", {}", holder_line(&holder)),
        _ => String::new(),
    };
    writeln!(out, "status     {}{holder}", state_text(state, dir))?;
    if let Some(why) = pause(state) {
        writeln!(out, "paused     {}", table::ascii(why))?;
    }
    if let Some(trouble) = trouble(state, &|name| is_kept(dir, name)) {
        writeln!(out, "trouble    {}", table::ascii(&trouble.sentence()))?;
        for command in trouble.commands(&dir.argument()) {
            writeln!(out, "           {}", table::ascii(&command))?;
        }
    }
    if let Some(info) = &state.info {
        writeln!(
            out,
            "reference  {}, {} heads, width {}, context {}, vocabulary {}",
            table::plural(info.n_layer, "layer"),
            info.n_head,
            info.n_embd,
            info.context_length,
            info.vocab
        )?;
        writeln!(
            out,
            "data       {} training tokens, {} for validation, tokenizer {}",
            table::count(info.train_tokens),
            table::count(info.val_tokens),
            table::ascii(&info.tokenizer)
        )?;
        if let Some(words) = info.eval_windows.and_then(|w| w.words()) {
            writeln!(out, "windows    evaluated on {words}")?;
        }
        writeln!(
            out,
            "recipe     {} steps a round of {} tokens, grow by {} up to {} layers, policy {}",
            info.round_steps,
            info.batch_tokens,
            info.grow_step,
            info.max_layers,
            table::ascii(&info.policy)
        )?;
        if let Some(measured) = &core.chosen_by {
            let on = table::plural(measured.windows as usize, "window");
            let words = table::ascii(&measured.words());
            writeln!(out, "layers     chosen {words} (on {on})")?;
        }
        writeln!(
            out,
            "device     {}, {}, {}",
            table::ascii(&info.device),
            table::plural(info.threads, "thread"),
            table::ascii(&info.program)
        )?;
        if let Some(words) = info.dtype_words() {
            writeln!(out, "dtype      {}", table::ascii(&words))?;
        }
        for (label, words) in ranks::lines(state) {
            writeln!(out, "{label:<10} {}", table::ascii(&words))?;
        }
    }
    if let Some(now) = &core.phase {
        let name = table::phase_name(&now.phase);
        writeln!(
            out,
            "last step  {} ({name}, step {} of {}), {} tokens, {}",
            core.step,
            core.phase_step,
            now.due,
            table::count(core.tokens),
            duration(state.elapsed)
        )?;
    }
    for (i, sentence) in forecast::sentences(state).iter().enumerate() {
        let label = if i == 0 { "forecast" } else { "" };
        writeln!(out, "{label:<10} {}", table::ascii(sentence))?;
    }
    if let Some(changes) = changes(state) {
        writeln!(out, "set        {}", table::ascii(&changes))?;
    }
    if let Some(decision) = &core.decision {
        let why = table::ascii(&decision.evidence.why);
        let evidence = decision.evidence_words(core.step);
        writeln!(out, "decision   open, {evidence}: {why}")?;
    }
    Ok(())
}

fn is_live(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused | Status::Empty)
}

fn holder_line(holder: &Holder) -> String {
    table::ascii(&holder.to_string())
}

/// The operator's remarks.
fn remarks(out: &mut String, state: &RunState) -> std::fmt::Result {
    if state.remarks.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nnotes")?;
    for note in &state.remarks {
        writeln!(out, "  step {}  {}", note.step, table::ascii(&note.text))?;
    }
    Ok(())
}

fn checkpoints(out: &mut String, state: &RunState, dir: &RunDir) -> std::fmt::Result {
    let all = state.checkpoints.iter();
    let kept: Vec<_> = all.filter(|c| is_kept(dir, &c.name)).collect();
    if kept.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ncheckpoints")?;
    for checkpoint in kept {
        let val = checkpoint
            .val_loss
            .map_or(String::new(), |v| format!("  val loss {v:.4}"));
        let name = table::ascii(&checkpoint.name);
        writeln!(out, "  {name}  step {}{val}", checkpoint.step)?;
    }
    Ok(())
}

/// Returns the commands that may follow.
fn next(out: &mut String, state: &RunState, dir: &RunDir) -> std::fmt::Result {
    let run = dir.argument();
    match state_word(state, dir) {
        "running" | "paused" => writeln!(out, "\nfollow it: heirloom watch {run}"),
        "interrupted" => writeln!(out, "\nresume: heirloom train --resume {run}"),
        "failed" if !state.checkpoints.is_empty() => writeln!(
            out,
            "\ncontinue from its last checkpoint: heirloom train --resume {run}"
        ),
        _ => Ok(()),
    }
}

/// One line of `heirloom ls --json`.
pub fn summary_json(state: &RunState, dir: &RunDir) -> Value {
    let core = &state.core;
    let round = core.rounds.last();
    json!({
        "name": dir.name(),
        "path": exact::to_text(dir.path()),
        "state": state_word(state, dir),
        "outcome": core.outcome,
        "phase": core.phase.as_ref().map(|now| now.phase.to_string()),
        "layers": core.phase.as_ref().map(|now| now.layers),
        "step": core.step,
        "elapsed": state.elapsed,
        "t": state.t,
        "val_loss": core.eval.map(|e| e.val_loss()),
        "round": round.map(|r| r.round),
        "gap": round.and_then(|r| r.result.gap),
        "gap_stderr": round.and_then(|r| r.result.gap_stderr),
    })
}

#[cfg(test)]
mod tests;
