//! A run's core at its checkpoints, so that a resume or a rollback can restore it.
//!
//! Somewhat more are kept than a run keeps checkpoints on disk: the latest ones, every milestone, and the best of each
//! phase. A milestone is never forgotten, since its checkpoint stays on disk and the run may go back to it. Milestones
//! are bounded by the number of results they hold, beyond which no further one counts as a milestone.

use serde::{Deserialize, Serialize};

use super::branch::Branch;
use super::points::Core;

/// Number of latest snapshots that are kept.
const LATEST_KEPT: usize = 128;
/// Bound on the results of phases in all milestones together, counting one more for each milestone. A round ends with
/// two milestones, each with the results of the rounds before: room for 250 rounds.
const MILESTONE_RESULTS: usize = 1 << 16;
/// Checkpoints that are being written at the same time; older ones have failed.
const UNWRITTEN_KEPT: usize = 4;
/// Reasons of checkpoints that a run keeps until it ends.
const MILESTONES: [&str; 5] = [
    "reference",
    "end of steps",
    "round end",
    "before growth",
    "limit",
];

/// The core at a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    /// The event at which the checkpoint's state was copied.
    seq: u64,
    milestone: bool,
    /// Whether the checkpoint is on disk.
    written: bool,
    /// `None` where the checkpoint was not evaluated at that step, or its loss is not finite.
    val_loss: Option<f64>,
    core: Core,
}

impl Snapshot {
    /// Number of results of phases and of changed values in it, plus one.
    fn weight(&self) -> usize {
        let core = &self.core;
        1 + core.rounds.len() + core.controls.len() + core.baselines.len() + core.changes.len()
    }

    fn phase(&self) -> Option<&crate::run::event::Phase> {
        self.core.phase.as_ref().map(|now| &now.phase)
    }
}

/// Snapshots in the order of their events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshots(Vec<Snapshot>);

impl Snapshots {
    /// A checkpoint's state has been copied at event `seq`.
    pub fn begin(&mut self, seq: u64, reason: &str, core: &Core) {
        let mut unwritten = self.0.iter().filter(|s| !s.written).count();
        self.0.retain(|s| {
            let failed = !s.written && unwritten >= UNWRITTEN_KEPT;
            unwritten -= usize::from(failed);
            !failed
        });
        let mut snapshot = Snapshot {
            seq,
            milestone: false,
            written: false,
            val_loss: None,
            core: core.clone(),
        };
        snapshot.milestone = MILESTONES.contains(&reason)
            && self.milestone_results() + snapshot.weight() <= MILESTONE_RESULTS;
        self.0.push(snapshot);
    }

    /// The checkpoint that was copied at event `seq` is on disk.
    pub fn written(&mut self, seq: u64, val_loss: Option<f64>) {
        if let Some(s) = self.0.iter_mut().rev().find(|s| s.seq == seq) {
            s.written = true;
            s.val_loss = val_loss.filter(|v| v.is_finite());
        }
        self.forget();
    }

    /// Forgets snapshots whose checkpoints have certainly been deleted: the oldest of too many that are neither milestones nor the best.
    fn forget(&mut self) {
        let spare = |s: &Snapshot| s.written && !s.milestone;
        if self.0.iter().filter(|s| spare(s)).count() > LATEST_KEPT {
            let oldest = self.0.iter().position(spare);
            let goes = self.0.iter().position(|s| spare(s) && !self.is_best(s));
            // If all are the best of their phase, the oldest goes.
            if let Some(goes) = goes.or(oldest) {
                self.0.remove(goes);
            }
        }
    }

    fn milestone_results(&self) -> usize {
        let milestones = self.0.iter().filter(|s| s.milestone);
        milestones.map(Snapshot::weight).sum()
    }

    fn is_best(&self, one: &Snapshot) -> bool {
        let Some(loss) = one.val_loss else {
            return false;
        };
        let rivals = self.0.iter().filter(|s| s.phase() == one.phase());
        rivals.filter_map(|s| s.val_loss).all(|v| v >= loss)
    }

    /// Forgets snapshots after event `seq`.
    pub fn cut(&mut self, seq: u64) {
        self.0.retain(|s| s.seq <= seq);
    }

    /// Returns the core at event `seq` of a run whose live branch ends there; if no such checkpoint is known, the core
    /// at the last one before.
    pub fn core_at(&self, seq: u64, live: &Branch) -> Option<Core> {
        let mut earlier = self.0.iter().rev();
        let found = earlier.find(|s| s.seq == seq || (s.seq < seq && live.contains(s.seq)))?;
        Some(found.core.clone())
    }

    /// Returns event numbers that a bucket must not span: a branch may be cut there, or another model begins.
    pub fn barriers(&self, branch: &Branch) -> Vec<u64> {
        let mut all = branch.phase_starts();
        all.extend(self.0.iter().map(|s| s.seq));
        all.sort_unstable();
        all
    }

    /// Returns the core of every kept snapshot.
    pub(in crate::run) fn cores(&self) -> impl Iterator<Item = &Core> {
        self.0.iter().map(|s| &s.core)
    }

    pub(in crate::run) fn is_sound(&self) -> bool {
        let others = self.0.iter().filter(|s| !s.milestone).count();
        others <= LATEST_KEPT + UNWRITTEN_KEPT + 2 && self.milestone_results() <= MILESTONE_RESULTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(step: u64) -> Core {
        Core {
            step,
            ..Core::default()
        }
    }

    fn known(snapshots: &Snapshots, seq: u64) -> bool {
        snapshots.0.iter().any(|s| s.seq == seq)
    }

    #[test]
    fn snapshots_that_are_never_written_do_not_pile_up() {
        let mut snapshots = Snapshots::default();
        for seq in 1..=1000 {
            snapshots.begin(seq, "schedule", &core(seq));
        }
        assert_eq!(snapshots.0.len(), UNWRITTEN_KEPT);
        assert!(known(&snapshots, 1000));
    }

    #[test]
    fn the_latest_the_milestones_and_the_best_are_kept() {
        let mut snapshots = Snapshots::default();
        for seq in 1..=1000 {
            let reason = if seq == 7 { "round end" } else { "schedule" };
            snapshots.begin(seq, reason, &core(seq));
            let loss = if seq == 33 { 1.0 } else { 2.0 };
            snapshots.written(seq, Some(loss));
        }
        assert!(snapshots.is_sound());
        for seq in [7, 33, 1000, 1000 - LATEST_KEPT as u64 + 2] {
            assert!(known(&snapshots, seq), "{seq}");
        }
        assert!(!known(&snapshots, 500));
        assert!(snapshots.0.len() <= LATEST_KEPT + 1);
    }

    #[test]
    fn a_milestone_is_never_forgotten_for_others() {
        // Every later checkpoint is the best of its own phase, so none of them can be dropped.
        let mut snapshots = Snapshots::default();
        let mut checkpoint = |seq: u64, reason: &str| {
            let phase = crate::run::event::Phase::Other(seq.to_string());
            let mut core = core(seq);
            core.phase = Some(crate::run::state::PhaseNow {
                phase,
                began_at: 0,
                layers: 1,
                parameters: 1,
                steps: 1,
                due: 1,
                start: crate::run::event::Start::Random,
                source_layers: Vec::new(),
                added: 0,
                began_seq: 0,
                course: Default::default(),
            });
            snapshots.begin(seq, reason, &core);
            snapshots.written(seq, Some(1.0));
        };
        for seq in 1..=400 {
            checkpoint(seq, "round end");
        }
        for seq in 401..=1000 {
            checkpoint(seq, "schedule");
        }
        assert!((1..=400).all(|seq| known(&snapshots, seq)));
        assert!(known(&snapshots, 1000) && !known(&snapshots, 401));
        assert!(snapshots.is_sound());
    }

    #[test]
    fn milestones_without_end_stay_bounded() {
        let mut snapshots = Snapshots::default();
        let mut core = core(1);
        let result = crate::run::table::tests::result(2, Some(0.1), crate::run::event::Start::Keep);
        core.rounds = (1..=1000)
            .map(|round| crate::run::state::RoundResult {
                round,
                result: result.clone(),
            })
            .collect();
        for seq in 1..=400 {
            snapshots.begin(seq, "round end", &core);
            snapshots.written(seq, None);
        }
        assert!(snapshots.is_sound());
        assert_eq!(snapshots.milestone_results(), 65 * 1001);
        assert_eq!(snapshots.0.len(), 65 + LATEST_KEPT);
        assert!(known(&snapshots, 1) && known(&snapshots, 400));
    }

    #[test]
    fn a_missing_snapshot_gives_the_one_before() {
        let mut snapshots = Snapshots::default();
        let live = super::super::branch::History::default().live;
        for seq in [10, 20] {
            snapshots.begin(seq, "schedule", &core(seq));
            snapshots.written(seq, None);
        }
        let at = |seq| snapshots.core_at(seq, &live).map(|core| core.step);
        assert_eq!(at(20), Some(20));
        assert_eq!(at(19), Some(10));
        assert_eq!(at(5), None);
    }
}
