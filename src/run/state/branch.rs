//! A branch of a run's history, and the tree of branches that rollbacks create.
//!
//! The live branch is sorted by step. A rollback cuts it at the checkpoint it goes back to. The part behind the cut is
//! kept as an abandoned branch, until a resume from a checkpoint on it makes it live again.

use serde::{Deserialize, Serialize};

use super::json_list;
use super::points::{EvalPoint, Mark, MarkKind, ProbePoint};
use super::results::{MOST_RESULTS, MOST_SAMPLES, SamplePoint, TaskPoint, push_latest};
use super::thin::{MOST_EVALS, thin_out};
use crate::run::event::Phase;
use crate::run::series::bounded::at_most;
use crate::run::series::pyramid::{Place, Series};

/// Number of complete probes that are kept; of older ones only the curves remain.
const PROBES_KEPT: usize = 64;
/// Buckets of the validation loss: each is a mark in the chart, and a screen has room for a few hundred.
const VAL_BUCKETS: usize = 8192;
/// Marks of one branch; beyond that the oldest checkpoints lose theirs.
const MARKS_KEPT: usize = 16_384;
/// Buckets of the ranks' times: their charts are small.
const TIMES_BUCKETS: usize = 1024;
/// Rollbacks whose abandoned branch stays visible, and the buckets of its curves.
const ABANDONED_KEPT: usize = 16;
const ABANDONED_BUCKETS: usize = 1024;

/// Curves of [`Branch::train`].
pub const LOSS: usize = 0;
pub const LR: usize = 1;
pub const GRAD_NORM: usize = 2;
pub const TOKENS_PER_SECOND: usize = 3;
/// Norms of the weights and of the averages of gradients, and the share of clipped steps; absent in earlier journals.
pub const PARAM_NORM: usize = 4;
pub const MOMENTUM_NORM: usize = 5;
pub const CLIP_RATE: usize = 6;
/// Share of the time in which the GPU had work, in percent, as last read; absent without a GPU.
pub const GPU_PERCENT: usize = 7;
/// Curves of [`Branch::val`].
pub const VAL_LOSS: usize = 0;
pub const VAL_STDERR: usize = 1;
pub const GAP: usize = 2;
pub const GAP_STDERR: usize = 3;

/// The curve of layer `layer`'s MaxRank in [`Branch::ranks`]; that of its AvgMass is the next.
pub fn max_rank(layer: usize) -> usize {
    2 * layer
}

/// The events along one branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Loss, learning rate, gradient norm, tokens per second, norms of weights and momentum, the share of clipped steps, and
    /// with a GPU its utilization.
    pub train: Series,
    /// Validation loss and gap, each with its standard error.
    pub val: Series,
    /// MaxRank and AvgMass of every layer.
    pub ranks: Series,
    /// Times of the ranks, in seconds per step: the exchange, the mean wait, then computation and waiting of each.
    pub times: Series,
    /// The latest evaluations, at least [`LATEST_KEPT`](super::thin::LATEST_KEPT) of them, and of very many some of each phase's earlier
    /// ones.
    #[serde(
        serialize_with = "json_list::write",
        deserialize_with = "json_list::read::<MOST_EVALS, _, _>"
    )]
    pub evals: Vec<EvalPoint>,
    /// The latest probes, at least [`PROBES_KEPT`] of them.
    #[serde(
        serialize_with = "json_list::write",
        deserialize_with = "json_list::read::<{ 2 * PROBES_KEPT }, _, _>"
    )]
    pub probes: Vec<ProbePoint>,
    /// Results on downstream tasks; of very many the latest of each phase and task, and the newest.
    #[serde(
        serialize_with = "json_list::write",
        deserialize_with = "json_list::read::<MOST_RESULTS, _, _>"
    )]
    pub tasks: Vec<TaskPoint>,
    /// Continued texts, likewise.
    #[serde(
        serialize_with = "json_list::write",
        deserialize_with = "json_list::read::<MOST_SAMPLES, _, _>"
    )]
    pub samples: Vec<SamplePoint>,
    #[serde(deserialize_with = "at_most::<MARKS_KEPT, _, _>")]
    pub marks: Vec<Mark>,
    /// The branch's event numbers: above the first, up to the second.
    #[serde(deserialize_with = "at_most::<MARKS_KEPT, _, _>")]
    ranges: Vec<(u64, u64)>,
}

impl Default for Branch {
    fn default() -> Self {
        Self {
            train: Series::default(),
            val: Series::new(VAL_BUCKETS),
            ranks: Series::default(),
            times: Series::new(TIMES_BUCKETS),
            evals: Vec::new(),
            probes: Vec::new(),
            tasks: Vec::new(),
            samples: Vec::new(),
            marks: Vec::new(),
            ranges: Vec::new(),
        }
    }
}

impl Branch {
    pub(super) fn push_eval(&mut self, eval: EvalPoint, barriers: impl FnOnce(&Self) -> Vec<u64>) {
        let nan = f64::NAN;
        let values = [
            eval.val_loss(),
            eval.stderr(),
            eval.gap.unwrap_or(nan),
            eval.gap_stderr.unwrap_or(nan),
        ];
        let place = Place {
            seq: eval.seq,
            step: eval.step,
            tokens: eval.tokens,
            elapsed: eval.elapsed,
        };
        if self.val.push(place, &values) {
            let barriers = barriers(self);
            self.val.gather(&barriers);
        }
        self.keep_eval(eval);
    }

    fn keep_eval(&mut self, eval: EvalPoint) {
        if self.evals.len() >= MOST_EVALS {
            let starts = self.phase_starts();
            thin_out(&mut self.evals, &starts);
        }
        self.evals.push(eval);
    }

    /// Returns the phases that begin on this branch, finished ones and the present, with their evaluations, oldest
    /// first: all of them, unless there are very many.
    pub fn evals_by_phase(&self) -> Vec<(&Phase, &[EvalPoint])> {
        let mut later = &self.evals[..];
        let mut phases = Vec::new();
        for mark in self.marks.iter().rev() {
            if let MarkKind::Phase(phase) = &mark.kind {
                let first = later.partition_point(|e| e.seq < mark.seq);
                phases.push((phase, &later[first..]));
                later = &later[..first];
            }
        }
        phases.reverse();
        phases
    }

    pub(super) fn push_probe(
        &mut self,
        place: Place,
        probe: ProbePoint,
        barriers: impl FnOnce(&Self) -> Vec<u64>,
    ) {
        let mass = probe.avg_mass.iter().copied();
        let mass = mass.chain(std::iter::repeat(f64::NAN));
        let pairs = probe.max_rank.iter().zip(mass);
        let values: Vec<f64> = pairs.flat_map(|(&rank, mass)| [rank, mass]).collect();
        if self.ranks.push(place, &values) {
            let barriers = barriers(self);
            self.ranks.gather(&barriers);
        }
        push_bounded(&mut self.probes, probe, PROBES_KEPT);
    }

    pub(super) fn push_task(&mut self, point: TaskPoint) {
        push_latest(&mut self.tasks, point, MOST_RESULTS, |p| {
            (p.phase.clone(), p.task.clone())
        });
    }

    pub(super) fn push_sample(&mut self, point: SamplePoint) {
        push_latest(&mut self.samples, point, MOST_SAMPLES, |p| {
            (p.phase.clone(), p.prompt.clone())
        });
    }

    pub(super) fn push_mark(&mut self, mark: Mark) {
        if self.marks.len() >= MARKS_KEPT {
            let mut surplus = MARKS_KEPT / 4;
            let checkpoints = |m: &Mark| m.kind == MarkKind::Checkpoint;
            self.marks.retain(|m| {
                let goes = surplus > 0 && checkpoints(m);
                surplus -= usize::from(goes);
                !goes
            });
            self.marks.drain(..surplus);
        }
        self.marks.push(mark);
    }

    /// Event numbers at which phases began.
    pub fn phase_starts(&self) -> Vec<u64> {
        let starts = self.marks.iter();
        starts
            .filter(|m| matches!(m.kind, MarkKind::Phase(_)))
            .map(|m| m.seq)
            .collect()
    }

    /// The number of the event with which the present phase begins; 0 before any phase.
    pub fn phase_start(&self) -> u64 {
        let mut latest = self.marks.iter().rev();
        let start = latest.find(|m| matches!(m.kind, MarkKind::Phase(_)));
        start.map_or(0, |m| m.seq)
    }

    /// Whether event `seq` is on this branch.
    pub fn contains(&self, seq: u64) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|&(after, to)| after < seq && seq <= to)
    }

    fn is_empty(&self) -> bool {
        let series = [&self.train, &self.val, &self.ranks, &self.times];
        series.into_iter().all(Series::is_empty) && self.marks.is_empty() && self.tasks.is_empty()
    }

    /// Events after `seq` belong to this branch from now on.
    fn go_on_after(&mut self, seq: u64) {
        if self.ranges.len() >= MARKS_KEPT {
            self.ranges.remove(0);
        }
        self.ranges.push((seq, u64::MAX));
    }

    /// Removes the events after `seq` from this branch's ranges.
    fn end_at(&mut self, seq: u64) {
        if let Some(last) = self.ranges.last_mut() {
            last.1 = last.1.min(seq);
        }
    }

    /// Cuts off the events after `seq` and returns them as a branch.
    fn split_off(&mut self, seq: u64) -> Self {
        let evals = self.evals.partition_point(|e| e.seq <= seq);
        let probes = self.probes.partition_point(|p| p.seq <= seq);
        let tasks = self.tasks.partition_point(|p| p.seq <= seq);
        let samples = self.samples.partition_point(|p| p.seq <= seq);
        // A checkpoint's mark has the number of its beginning, which is lower than those of events journaled while it
        // was written.
        let (marks, later): (Vec<Mark>, Vec<Mark>) = std::mem::take(&mut self.marks)
            .into_iter()
            .partition(|m| m.seq <= seq);
        self.marks = marks;
        let whole = self.ranges.partition_point(|&(after, _)| after < seq);
        let mut ranges = self.ranges.split_off(whole);
        if let Some(last) = self.ranges.last_mut()
            && last.1 > seq
        {
            ranges.insert(0, (seq, last.1));
            last.1 = seq;
        }
        Self {
            train: self.train.split_off(seq),
            val: self.val.split_off(seq),
            ranks: self.ranks.split_off(seq),
            times: self.times.split_off(seq),
            evals: self.evals.split_off(evals),
            probes: self.probes.split_off(probes),
            tasks: self.tasks.split_off(tasks),
            samples: self.samples.split_off(samples),
            marks: later,
            ranges,
        }
    }

    /// Appends a later branch.
    fn append(&mut self, later: Self, barriers: &[u64]) {
        let pairs = [
            (&mut self.train, later.train),
            (&mut self.val, later.val),
            (&mut self.ranks, later.ranks),
            (&mut self.times, later.times),
        ];
        for (series, later) in pairs {
            if series.append(later) {
                series.gather(barriers);
            }
        }
        // Marks first, since they determine to which phase an evaluation belongs.
        for mark in later.marks {
            self.push_mark(mark);
        }
        for eval in later.evals {
            self.keep_eval(eval);
        }
        for probe in later.probes {
            push_bounded(&mut self.probes, probe, PROBES_KEPT);
        }
        for point in later.tasks {
            self.push_task(point);
        }
        for point in later.samples {
            self.push_sample(point);
        }
        self.ranges.extend(later.ranges);
    }

    fn shrink(&mut self, barriers: &[u64]) {
        for series in [
            &mut self.train,
            &mut self.val,
            &mut self.ranks,
            &mut self.times,
        ] {
            series.shrink(ABANDONED_BUCKETS, barriers);
        }
        self.marks.shrink_to_fit();
    }

    pub(in crate::run) fn is_sound(&self) -> bool {
        let series = [&self.train, &self.val, &self.ranks, &self.times];
        series.into_iter().all(Series::is_sound)
    }
}

/// Keeps the last `keep` items at least, and at most twice as many.
fn push_bounded<T>(list: &mut Vec<T>, item: T, keep: usize) {
    if list.len() >= 2 * keep {
        list.drain(..keep);
    }
    list.push(item);
}

/// A past that a rollback abandoned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Abandoned {
    /// The last event that it shares with the branch that replaced it.
    pub fork: u64,
    #[serde(rename = "strand")]
    pub branch: Branch,
}

/// A run's history: the live branch and the abandoned ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub live: Branch,
    /// The most recently abandoned branch is the last.
    #[serde(deserialize_with = "at_most::<ABANDONED_KEPT, _, _>")]
    pub abandoned: Vec<Abandoned>,
    /// Rises whenever the abandoned branches change.
    pub changes: u64,
}

impl Default for History {
    fn default() -> Self {
        let mut live = Branch::default();
        live.go_on_after(0);
        Self {
            live,
            abandoned: Vec::new(),
            changes: 0,
        }
    }
}

impl History {
    /// Event `seq` takes the run back to where it was at event `target`; the events in between become an abandoned
    /// branch.
    pub(super) fn roll_back(&mut self, target: u64, seq: u64, barriers: &[u64]) {
        let before = seq.saturating_sub(1);
        self.live.end_at(before);
        self.make_live(target.min(before), barriers);
        self.live.go_on_after(before);
    }

    /// Event `seq` takes the run back to where it was at event `target`; the events in between are dropped.
    pub(super) fn resume(&mut self, target: u64, seq: u64, barriers: &[u64]) {
        let before = seq.saturating_sub(1);
        let target = target.min(before);
        self.live.end_at(before);
        self.live.split_off(target);
        for left in &mut self.abandoned {
            left.branch.split_off(target);
        }
        self.make_live(target, barriers);
        self.abandoned.retain(|left| !left.branch.is_empty());
        self.live.go_on_after(before);
    }

    /// Makes event `target` the last one of the live branch.
    fn make_live(&mut self, target: u64, barriers: &[u64]) {
        let on = |left: &Abandoned| left.branch.contains(target);
        match self.abandoned.iter().position(on) {
            Some(i) => {
                let mut left = self.abandoned.remove(i);
                // A branch's fork is before all of its events, so the loop ends.
                self.make_live(left.fork, barriers);
                let rest = left.branch.split_off(target);
                self.live.append(left.branch, barriers);
                self.leave(target, rest, barriers);
            }
            None => {
                let rest = self.live.split_off(target);
                self.leave(target, rest, barriers);
            }
        }
    }

    fn leave(&mut self, fork: u64, mut branch: Branch, barriers: &[u64]) {
        self.changes += 1;
        if branch.is_empty() {
            return;
        }
        branch.shrink(barriers);
        if self.abandoned.len() >= ABANDONED_KEPT {
            self.abandoned.remove(0);
        }
        self.abandoned.push(Abandoned { fork, branch });
    }

    pub(in crate::run) fn is_sound(&self) -> bool {
        let forks = |left: &Abandoned| left.branch.ranges.iter().all(|r| left.fork <= r.0);
        let left = self.abandoned.iter();
        self.live.is_sound() && left.clone().all(|l| l.branch.is_sound() && forks(l))
    }
}
