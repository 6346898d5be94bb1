//! The fold over events: everything any view, table or `show` knows about a run.
//!
//! Live, tailed and replayed runs use the same code: [`RunState::apply`] is the only way state changes. The size of the
//! state is bounded, independently of the length of the run.

mod branch;
mod fold;
mod json_list;
mod known;
mod left;
mod points;
mod prospects;
mod ranks;
mod results;
mod snapshots;
mod tasks;
#[cfg(test)]
mod tests;
mod thin;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::event::{RankTimes, RunInfo};
use super::forecast::Outlook;
use super::windows::EvalWindows;
use crate::config::Config;

pub use branch::{
    Abandoned, Branch, CLIP_RATE, GAP, GAP_STDERR, GPU_PERCENT, GRAD_NORM, History, LOSS, LR,
    MOMENTUM_NORM, PARAM_NORM, TOKENS_PER_SECOND, VAL_LOSS, VAL_STDERR, max_rank,
};
#[doc(hidden)]
pub use fold::applied;
pub use left::Left;
pub use points::{
    BaselineResult, CheckpointNote, ControlResult, Core, EvalPoint, Level, Mark, MarkKind, Moved,
    Note, OpenDecision, PhaseNow, ProbePoint, RoundResult, Status,
};
use prospects::Prospects;
pub use ranks::{EXCHANGE, MEAN_WAIT, compute_of, wait_of};
pub use results::{
    SamplePoint, TaskPoint, TaskRow, TaskTable, documents, metric_words, result_words,
};
pub use snapshots::Snapshots;

/// Number of notes that the event strip and the log keep.
pub(super) const NOTES_KEPT: usize = 1000;
/// Number of the operator's remarks that are kept.
pub(in crate::run) const REMARKS_KEPT: usize = 100;
/// Number of finished phases that are remembered, with their learning rates.
pub(in crate::run) const PHASES_KEPT: usize = 32;
/// Number of checkpoints that are remembered; far more than a run keeps on disk.
pub(super) const CHECKPOINTS_KEPT: usize = 16_384;

/// A run that should train is stalled after this many seconds without an event, and [`STALL`] times the usual interval.
pub const SILENT: f64 = 60.0;
const STALL: f64 = 3.0;
/// Points of the training curve from which the usual interval is computed.
const RECENT: usize = 50;

/// Everything known about a run.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    pub info: Option<RunInfo>,
    pub core: Core,
    /// Curves, evaluations, probes and marks, live and abandoned.
    pub history: History,
    /// Including those of abandoned branches.
    pub checkpoints: Vec<CheckpointNote>,
    pub notes: VecDeque<Note>,
    /// Number of notes that were dropped for newer ones.
    pub notes_gone: u64,
    /// The operator's last remarks, including those of abandoned branches; oldest first.
    pub remarks: Vec<Note>,
    /// The last phases that are over, including those of abandoned branches; oldest first.
    pub phases: Vec<PhaseNow>,
    /// The last event's number, run time and wall clock.
    pub seq: u64,
    pub elapsed: f64,
    pub t: i64,
    /// Times of the ranks per step, according to the latest such event; `None` in a run of one process.
    pub ranks: Option<RankTimes>,
    /// Number of commands that were refused so far.
    pub refusals: u64,
    /// The event with which the run last began to run: started, resumed, rolled back, or unpaused.
    pub running_since: u64,
    /// Metric events that were dropped before they reached this state.
    pub dropped: u64,
    /// The time at which the last dashboard with control was left; `None`: never.
    pub left: Option<Left>,
    /// Rises with every event, so that a view can detect changes.
    pub version: u64,
    /// The run's config, once it was looked for: journals of earlier versions have no schedules.
    pub(super) configured: OnceLock<Option<Arc<Config>>>,
    /// The forecast of the present phase, once it was asked for.
    pub(super) outlook: OnceLock<Option<Arc<Outlook>>>,
    pub(super) prospects: Prospects,
    pub(super) snapshots: Snapshots,
    /// Whether the event folded last has made a note.
    pub(super) noted: bool,
    /// The status according to the journal, while [`Self::settle`] shows another one.
    pub(super) journaled: Option<Status>,
}

impl RunState {
    /// Adds a warning that is not in the journal.
    pub fn warn(&mut self, text: String) {
        self.version += 1;
        self.noted = false;
        self.push_note(Note {
            t: self.t,
            step: self.core.step,
            level: Level::Warning,
            text,
        });
    }

    fn push_note(&mut self, note: Note) {
        if self.notes.len() == NOTES_KEPT {
            self.notes.pop_front();
            self.notes_gone += 1;
        }
        self.notes.push_back(note);
    }

    /// Shows a run as interrupted that the journal leaves running or paused when no process is `alive` that works on
    /// it. The next event undoes this, and so does settling again once there is such a process.
    pub fn settle(&mut self, alive: bool) {
        let told = self.reported_status();
        let shown = match told {
            Status::Running | Status::Paused if !alive => Status::Interrupted,
            told => told,
        };
        self.journaled = (shown != told).then_some(told);
        if shown != self.core.status {
            self.core.status = shown;
            self.version += 1;
        }
    }

    /// Whether the journal leaves the run running or paused while no process works on it.
    pub fn is_crashed(&self) -> bool {
        self.core.status == Status::Interrupted && self.journaled.is_some()
    }

    /// Returns the status according to the journal, whether or not a process works on the run.
    pub fn reported_status(&self) -> Status {
        self.journaled.unwrap_or(self.core.status)
    }

    /// Returns the state without curves, notes and checkpoints.
    pub(super) fn without_past(self) -> Self {
        Self {
            history: History::default(),
            checkpoints: Vec::new(),
            notes: VecDeque::new(),
            snapshots: Snapshots::default(),
            ..self
        }
    }

    /// Returns the note that the last event made; `None` when it made none.
    pub fn note_of_last_event(&self) -> Option<&Note> {
        self.noted.then(|| self.notes.back()).flatten()
    }

    /// Returns the live branch, which the run continues.
    pub fn live(&self) -> &Branch {
        &self.history.live
    }

    /// Returns by what factor the standard errors in a journal of an earlier version, which treated overlapping windows
    /// as independent, are too small, and the number of those windows.
    pub fn understated_errors(&self) -> Option<(usize, f64)> {
        let info = self.info.as_ref().filter(|i| i.eval_windows.is_none())?;
        let windows = self.core.eval.map_or(0, |e| e.windows);
        let time = info.context_length;
        let disjoint = usize::try_from(info.val_tokens.saturating_sub(1)).ok()? / time.max(1);
        let told = EvalWindows {
            windows,
            asked: windows,
            disjoint,
            time,
        };
        Some((windows, told.understated()?))
    }

    /// Returns the reference's validation loss, once it is known.
    pub fn benchmark(&self) -> Option<f64> {
        self.core.reference.as_ref().map(|r| r.val_loss)
    }

    /// Returns the paired gap of the latest validation loss.
    pub fn gap(&self) -> Option<f64> {
        self.core.eval.and_then(|e| e.gap)
    }

    /// Returns the last round if a model for comparison is or was trained after it: the run's result, while the latest
    /// evaluation is one of the other model.
    pub fn result_before_comparison(&self) -> Option<&RoundResult> {
        let compares = self.core.phase.as_ref()?.phase.is_comparison();
        self.core.rounds.last().filter(|_| compares)
    }

    /// Returns the event numbers at which phases began.
    pub fn phase_starts(&self) -> Vec<u64> {
        self.live().phase_starts()
    }

    /// Returns the evaluations of the present phase, oldest first; of very many the latest and some of the earlier
    /// ones.
    pub fn evals_of_phase(&self) -> &[EvalPoint] {
        let evals = &self.live().evals;
        let first = evals.partition_point(|e| e.seq < self.live().phase_start());
        &evals[first..]
    }

    /// Returns the step and the value of the last training loss of the present phase.
    pub fn last_training_loss(&self) -> Option<(u64, f64)> {
        let live = self.live();
        let last = live.train.stretches().last()?.last;
        let loss = live.train.column(LOSS).last()?.value();
        (last.seq > live.phase_start()).then_some((last.step, loss))
    }

    /// Returns for how many seconds a run that should train has sent no event at Unix time `now` in milliseconds, if
    /// that is unusually long: above [`SILENT`] and [`STALL`] times the usual interval.
    pub fn silence(&self, now: i64) -> Option<f64> {
        let silence = now.saturating_sub(self.t) as f64 / 1000.0;
        self.is_quiet_for(silence, SILENT).then_some(silence)
    }

    /// Whether a run that should train has sent no event for an unusually long time: `silence` seconds are above
    /// `least` and [`STALL`] times the usual interval.
    pub(super) fn is_quiet_for(&self, silence: f64, least: f64) -> bool {
        if self.core.status != Status::Running {
            return false;
        }
        let recent = self.live().train.stretches();
        let recent = &recent[recent.len().saturating_sub(RECENT)..];
        // The median, because a run slows down before it stalls.
        let mut gaps: Vec<f64> = recent
            .windows(2)
            .map(|pair| pair[1].last.elapsed - pair[0].last.elapsed)
            .collect();
        gaps.sort_by(f64::total_cmp);
        let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(0.0);
        silence > least.max(STALL * usual)
    }

    /// Returns the latest probe, if it has been kept.
    pub fn probe(&self) -> Option<&ProbePoint> {
        self.live().probes.last()
    }
}
