//! Checkpoints, rollbacks and resumes, and what cannot be written to disk.

use crate::run::event::Event;
use crate::run::state::points::{CheckpointNote, Level, Mark, MarkKind, Status};
use crate::run::state::{CHECKPOINTS_KEPT, RunState};
use crate::run::trouble::{JOURNAL_FAILS, JOURNAL_WORKS, UNWRITTEN};

impl RunState {
    /// Remembers a result, a checkpoint or a journal that cannot be written, until it can.
    pub(super) fn on_warning(&mut self, event: &Event, message: &str) {
        if message.starts_with(JOURNAL_WORKS) {
            self.core.unwritten = None;
        } else if message.starts_with(UNWRITTEN) || message.starts_with(JOURNAL_FAILS) {
            let since = self.core.unwritten.as_ref().map_or(event.step, |u| u.0);
            let why = message.split("; ").next().unwrap_or(message);
            self.core.unwritten = Some((since, why.into()));
        }
    }

    /// A checkpoint is on disk. If a rollback or a resume from an earlier checkpoint happened meanwhile, it belongs to
    /// an abandoned branch.
    pub(super) fn on_checkpoint(&mut self, event: &Event, note: CheckpointNote, reason: &str) {
        self.snapshots.written(note.seq, note.val_loss);
        let text = format!("checkpoint {} ({reason})", note.name);
        if self.live().contains(note.seq) {
            self.history.live.push_mark(Mark {
                seq: note.seq,
                step: note.step,
                kind: MarkKind::Checkpoint,
            });
        }
        if self.checkpoints.len() >= CHECKPOINTS_KEPT {
            self.checkpoints.drain(..CHECKPOINTS_KEPT / 4);
        }
        self.checkpoints.push(note);
        self.note(event, Level::Info, text);
    }

    /// Goes back to a checkpoint and keeps the events since then as an abandoned branch.
    pub(super) fn on_rollback(
        &mut self,
        event: &Event,
        from_seq: u64,
        checkpoint: &str,
        why: &str,
    ) {
        let barriers = self.snapshots.barriers(self.live());
        self.history.roll_back(from_seq, event.seq, &barriers);
        let core = &mut self.core;
        let (status, pause) = (core.status, core.pause.take());
        // The disk's state does not depend on the model's.
        let unwritten = core.unwritten.take();
        self.restore(event, from_seq);
        self.core.status = status;
        (self.core.pause, self.core.unwritten) = (pause, unwritten);
        self.mark(event, MarkKind::Rollback);
        let text = format!("rollback to {checkpoint} at step {}: {why}", event.step);
        self.note(event, Level::Warning, text);
    }

    /// Drops the events after `from_seq`, including rollbacks, since the resumed process repeats them.
    pub(super) fn on_resumed(&mut self, event: &Event, from_seq: u64, checkpoint: &str) {
        let barriers = self.snapshots.barriers(self.live());
        self.history.resume(from_seq, event.seq, &barriers);
        self.checkpoints.retain(|c| c.seq <= from_seq);
        self.snapshots.cut(from_seq);
        self.restore(event, from_seq);
        self.core.status = Status::Running;
        self.core.pause = None;
        // They belonged to the process that has ended.
        (self.core.unwritten, self.core.new_rate) = (None, None);
        self.mark(event, MarkKind::Resumed);
        self.note(event, Level::Good, format!("resumed from {checkpoint}"));
    }

    /// Restores the core as of event `seq`, as far as it is known.
    fn restore(&mut self, event: &Event, seq: u64) {
        let known = self.snapshots.core_at(seq, self.live());
        self.core = known.unwrap_or_default();
        self.core.step = event.step;
        self.core.phase_step = event.phase_step;
        self.running_since = event.seq;
    }
}
