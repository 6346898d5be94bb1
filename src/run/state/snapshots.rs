//! What a run's core was at its checkpoints, so that a resume or a rollback can put it back.
//!
//! As many are kept as a run keeps checkpoints on disk and some more: the latest ones, every milestone, and the best
//! of each phase.

use serde::{Deserialize, Serialize};

use super::points::Core;
use super::strand::Strand;

/// The latest ones that are kept, and milestones.
const LATEST_KEPT: usize = 128;
const MILESTONES_KEPT: usize = 256;
/// Checkpoints that are being written: those before have failed.
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
    /// `None` where it was not evaluated at that step, or is no number.
    val_loss: Option<f64>,
    core: Core,
}

impl Snapshot {
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
        self.0.push(Snapshot {
            seq,
            milestone: MILESTONES.contains(&reason),
            written: false,
            val_loss: None,
            core: core.clone(),
        });
    }

    /// The checkpoint that was copied at event `seq` is on disk.
    pub fn written(&mut self, seq: u64, val_loss: Option<f64>) {
        if let Some(s) = self.0.iter_mut().rev().find(|s| s.seq == seq) {
            s.written = true;
            s.val_loss = val_loss.filter(|v| v.is_finite());
        }
        self.forget();
    }

    /// Forgets what is surely no longer on disk: the oldest of too many that are neither milestones nor the best.
    fn forget(&mut self) {
        let count = |list: &[Snapshot], milestone| {
            let written = list.iter().filter(|s| s.written);
            written.filter(|s| s.milestone == milestone).count()
        };
        if count(&self.0, false) > LATEST_KEPT {
            let goes = self
                .0
                .iter()
                .position(|s| s.written && !s.milestone && !self.is_best(s));
            // All of them the best of their phase: then the oldest.
            self.0.remove(goes.unwrap_or(0));
        }
        if count(&self.0, true) > MILESTONES_KEPT
            && let Some(oldest) = self.0.iter().position(|s| s.milestone)
        {
            self.0.remove(oldest);
        }
    }

    fn is_best(&self, one: &Snapshot) -> bool {
        let Some(loss) = one.val_loss else {
            return false;
        };
        let rivals = self.0.iter().filter(|s| s.phase() == one.phase());
        rivals.filter_map(|s| s.val_loss).all(|v| v >= loss)
    }

    /// Forgets what came after event `seq`.
    pub fn cut(&mut self, seq: u64) {
        self.0.retain(|s| s.seq <= seq);
    }

    /// The core at event `seq` of a run whose live strand ends there; where no such checkpoint is known, as it was at
    /// the last one before.
    pub fn core_at(&self, seq: u64, live: &Strand) -> Option<Core> {
        let mut earlier = self.0.iter().rev();
        let found = earlier.find(|s| s.seq == seq || (s.seq < seq && live.contains(s.seq)))?;
        Some(found.core.clone())
    }

    /// Event numbers a bucket must not reach over: here a strand may be cut, and where another model begins.
    pub fn barriers(&self, strand: &Strand) -> Vec<u64> {
        let mut all = strand.phase_starts();
        all.extend(self.0.iter().map(|s| s.seq));
        all.sort_unstable();
        all
    }

    /// The core at every checkpoint that is kept.
    pub(in crate::run) fn cores(&self) -> impl Iterator<Item = &Core> {
        self.0.iter().map(|s| &s.core)
    }

    pub(in crate::run) fn is_sound(&self) -> bool {
        self.0.len() <= LATEST_KEPT + MILESTONES_KEPT + UNWRITTEN_KEPT + 2
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
    fn a_missing_snapshot_gives_the_one_before() {
        let mut snapshots = Snapshots::default();
        let live = super::super::strand::History::default().live;
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
