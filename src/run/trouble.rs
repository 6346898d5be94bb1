//! Problems of a run that its operator has to act on: found in its state, for the dashboard's banner, `show` and `ctl
//! status` alike.

use super::event::Phase;
use super::state::{CheckpointNote, RunState, Status};
use super::{losses, table};
use crate::text::{duration, thousands};

/// Nats by which a diverged validation loss lies above the best of its phase: the perplexity has risen by 65 %, more
/// than noise or the warm-up after a restart causes.
const DIVERGED: f64 = 0.5;
/// As [`DIVERGED`], for the training loss between two evaluations, which is noisier.
const DIVERGED_TRAIN: f64 = 3.0;

/// Begins the warning of a checkpoint that could not be written.
pub const UNWRITTEN: &str = "no checkpoint was written";
/// The first words of the warnings that a journal cannot be written, and that it can be written again.
pub const JOURNAL_FAILS: &str = "the journal cannot be written";
pub const JOURNAL_WORKS: &str = "the journal is written again";
/// Part of the reason of a pause that lasts until a result is on disk.
pub const IN_MEMORY: &str = "is in memory only until it can be written";

/// Kinds of trouble, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The training process has ended without a last message.
    Vanished,
    /// A result, a checkpoint or the journal cannot be written.
    Disk,
    /// A loss or a gradient is NaN or infinite.
    NotFinite,
    /// The loss is far above its best value.
    Diverged,
    /// A run that should train sends nothing.
    Stalled,
}

impl Kind {
    /// Returns its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::Disk => "disk",
            Self::NotFinite => "not_finite",
            Self::Diverged => "diverged",
            Self::Stalled => "stalled",
        }
    }
}

/// Something the operator can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Help {
    /// Continue with the next batch, where the run is paused.
    NextBatch,
    RollBack(Good),
    /// Set this learning rate, half of the present one.
    LowerRate(f64),
    /// Try to write again at once.
    TryNow,
    /// Start the process again.
    Resume,
}

/// A checkpoint from before the trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Good {
    pub checkpoint: String,
    /// The latest validation loss at the checkpoint.
    pub val_loss: Option<f64>,
    /// Steps since then.
    pub age: u64,
}

impl Good {
    /// `b0-s00000120-round-1 (val 2.4884, 29 steps ago)`.
    pub fn words(&self) -> String {
        let val = self.val_loss.map(|v| format!("val {v:.4}, "));
        let (val, steps) = (val.unwrap_or_default(), steps(self.age));
        format!("{} ({val}{steps} ago)", self.checkpoint)
    }
}

fn steps(n: u64) -> String {
    match n {
        1 => "1 step".into(),
        n => format!("{} steps", thousands(n)),
    }
}

/// A problem of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    pub kind: Kind,
    /// Distinguishes this trouble from a later one of its kind.
    pub id: u64,
    /// Describes what happened, and at which step of the phase.
    pub what: String,
    /// Describes what the trainer does about it.
    pub done: &'static str,
    pub helps: Vec<Help>,
}

/// Whether a validation loss is so far above the best of its phase, which has this standard error, that it has
/// diverged.
pub fn is_diverged(val_loss: f64, best: f64, stderr: f64) -> bool {
    let noise = if stderr.is_finite() {
        5.0 * stderr
    } else {
        0.0
    };
    val_loss.is_finite() && val_loss - best > DIVERGED.max(noise)
}

impl Trouble {
    /// Finds a run's trouble. `silence`: seconds without an event where that is unusually long ([`RunState::silence`]).
    /// `is_kept` returns whether a checkpoint of this name still exists.
    pub fn of(
        run: &RunState,
        silence: Option<f64>,
        is_kept: &dyn Fn(&str) -> bool,
    ) -> Option<Self> {
        let core = &run.core;
        if run.is_crashed() {
            return Some(Self {
                kind: Kind::Vanished,
                id: run.seq,
                what: format!(
                    "the training process ended without a last message, at {}",
                    place(run, core.step)
                ),
                done: "",
                helps: vec![Help::Resume],
            });
        }
        if !matches!(core.status, Status::Running | Status::Paused) {
            return None;
        }
        disk(run)
            .or_else(|| not_finite(run, is_kept))
            .or_else(|| diverged(run, is_kept))
            .or_else(|| stalled(run, silence?))
    }

    /// Describes the trouble and the trainer's reaction, in a sentence.
    pub fn sentence(&self) -> String {
        match self.done {
            "" => self.what.clone(),
            done => format!("{}: {done}", self.what),
        }
    }

    /// The shell commands that help, each with what it does; `run` is the run as a command takes it.
    pub fn commands(&self, run: &str) -> Vec<String> {
        let command = |help: &Help| match help {
            Help::NextBatch => format!("next batch: heirloom ctl {run} resume"),
            Help::RollBack(good) => format!(
                "roll back to {}: heirloom ctl {run} rollback {}",
                good.words(),
                good.checkpoint
            ),
            Help::LowerRate(lr) => {
                format!("half the learning rate: heirloom ctl {run} set lr {lr:.2e}")
            }
            Help::TryNow => format!("retry now: heirloom ctl {run} checkpoint"),
            Help::Resume => format!("resume: heirloom train --resume {run}"),
        };
        self.helps.iter().map(command).collect()
    }
}

/// Names a step of the run by its phase: `step 149 of round 1`, `step 1,200 of round 2`.
pub fn place(run: &RunState, step: u64) -> String {
    match &run.core.phase {
        Some(now) => {
            let phase = match &now.phase {
                Phase::Reference => "the reference".to_string(),
                phase => table::phase_name(phase),
            };
            let step = thousands(step.saturating_sub(now.began_at));
            format!("step {step} of {phase}")
        }
        None => format!("step {}", thousands(step)),
    }
}

fn disk(run: &RunState) -> Option<Trouble> {
    let core = &run.core;
    let trouble = |id, what: &str, done, helps| Trouble {
        kind: Kind::Disk,
        id,
        what: what.into(),
        done,
        helps,
    };
    let paused = (core.status == Status::Paused).then_some(core.pause.as_deref());
    if let Some(why) = paused.flatten().filter(|why| why.contains(IN_MEMORY)) {
        // The commands that follow in the reason are those of `helps`.
        let what = why.split(IN_MEMORY).next().unwrap_or(why);
        let what = format!("{what}is in memory only");
        let done = "training waits and retries every 10 s";
        return Some(trouble(core.step, &what, done, vec![Help::TryNow]));
    }
    let (step, why) = core.unwritten.as_ref()?;
    Some(trouble(
        *step,
        &format!("{why}, at {}", place(run, *step)),
        "training continues",
        vec![Help::TryNow],
    ))
}

fn not_finite(run: &RunState, is_kept: &dyn Fn(&str) -> bool) -> Option<Trouble> {
    let core = &run.core;
    let paused = core.status == Status::Paused;
    let of_val = run.evals_of_phase().last().filter(|e| e.val_loss.is_none());
    let (step, what, done) = match (core.not_finite, of_val) {
        (Some(step), _) => (
            step,
            "loss or gradient not finite",
            if paused {
                "update skipped, paused"
            } else {
                "update skipped"
            },
        ),
        (None, Some(eval)) => (eval.step, "validation loss not finite", ""),
        (None, None) => return None,
    };
    let mut helps = Vec::new();
    helps.extend(paused.then_some(Help::NextBatch));
    helps.extend(good(run, is_kept).map(Help::RollBack));
    helps.extend(lower_rate(run));
    Some(Trouble {
        kind: Kind::NotFinite,
        id: step,
        what: format!("{what} at {}", place(run, step)),
        done,
        helps,
    })
}

fn lower_rate(run: &RunState) -> Option<Help> {
    let trains = matches!(
        run.core.phase.as_ref()?.phase,
        Phase::Reference | Phase::Round(_)
    );
    (trains && run.core.lr > 0.0).then_some(Help::LowerRate(run.core.lr / 2.0))
}

fn diverged(run: &RunState, is_kept: &dyn Fn(&str) -> bool) -> Option<Trouble> {
    let best = best(run)?;
    let last = run.evals_of_phase().last()?;
    let now = run.core.phase.as_ref()?;
    let (what, step) = if is_diverged(last.val_loss(), best.val_loss(), best.stderr()) {
        (format!("val {}", losses::loss(last.val_loss())), last.step)
    } else {
        let (step, loss) = training_diverged(run)?;
        (format!("training loss {}", losses::loss(loss)), step)
    };
    let step = thousands(step.saturating_sub(now.began_at));
    let best_at = place(run, best.step);
    let mut helps: Vec<Help> = good(run, is_kept).map(Help::RollBack).into_iter().collect();
    helps.extend(lower_rate(run));
    Some(Trouble {
        kind: Kind::Diverged,
        id: best.seq,
        what: format!(
            "diverged: {what} at step {step}, best val {:.4} at {best_at}",
            best.val_loss()
        ),
        done: match run.core.status {
            Status::Paused => "paused",
            _ => "",
        },
        helps,
    })
}

/// Returns step and training loss after the last evaluation, if that loss is far above the best validation loss.
fn training_diverged(run: &RunState) -> Option<(u64, f64)> {
    let (best, last) = (best(run)?, run.evals_of_phase().last()?);
    let train = run.last_training_loss();
    train.filter(|(step, loss)| *step > last.step && loss - best.val_loss() > DIVERGED_TRAIN)
}

fn stalled(run: &RunState, silence: f64) -> Option<Trouble> {
    Some(Trouble {
        kind: Kind::Stalled,
        id: run.seq,
        what: format!(
            "no event for {}, since {}",
            duration(silence),
            place(run, run.core.step)
        ),
        done: "",
        helps: Vec::new(),
    })
}

/// The best evaluation of the present phase.
fn best(run: &RunState) -> Option<&super::state::EvalPoint> {
    let finite = run.evals_of_phase().iter().filter(|e| e.val_loss.is_some());
    finite.min_by(|a, b| a.val_loss().total_cmp(&b.val_loss()))
}

/// The latest validation loss on the live branch up to a checkpoint.
pub fn val_at(run: &RunState, checkpoint: &CheckpointNote) -> Option<f64> {
    let evals = &run.live().evals;
    let before = evals.partition_point(|e| e.seq <= checkpoint.seq && e.step <= checkpoint.step);
    checkpoint
        .val_loss
        .or_else(|| evals[..before].last().map(|e| e.val_loss()))
}

/// Returns the newest checkpoint of the live branch whose loss is near the best of the phase.
pub fn good(run: &RunState, is_kept: &dyn Fn(&str) -> bool) -> Option<Good> {
    let best = best(run);
    let limit = best.map_or(f64::INFINITY, |b| {
        b.val_loss() + DIVERGED.max(5.0 * b.stderr())
    });
    let is_fine = |val: f64| val.is_finite() && val <= limit;
    let evals = &run.live().evals;
    let live = run.checkpoints.iter().rev().filter(|c| {
        let next = evals.partition_point(|e| e.seq <= c.seq);
        let own = evals[..next].last().is_some_and(|e| e.step == c.step) || c.val_loss.is_some();
        // A model that was not evaluated itself is judged by the evaluations around it.
        let later = match evals.get(next) {
            _ if own => true,
            Some(next) => is_fine(next.val_loss()),
            None => training_diverged(run).is_none(),
        };
        let is_good = later && val_at(run, c).is_none_or(is_fine);
        run.live().contains(c.seq) && is_good && is_kept(&c.name)
    });
    let newest = live.max_by_key(|c| c.seq)?;
    Some(Good {
        checkpoint: newest.name.clone(),
        val_loss: val_at(run, newest),
        age: run.core.step.saturating_sub(newest.step),
    })
}

#[cfg(test)]
mod tests;
