//! Checkpoints as the trainer keeps them: begun at a step boundary, completed when the disk has them, deleted when
//! `checkpoint.keep` has newer ones.

use std::time::Instant;

use super::checkpoint::{CheckpointError, Copied};
use super::growth::pre_grow;
use super::memory::has_room_for_copy;
use super::outcome::Promise;
use super::state::{Kept, Task};
use super::trainer::Trainer;
use crate::run::event::{Body, CheckpointBegun, CheckpointWritten, Log};
use crate::run::journal::Place;
use crate::run::table;
use crate::run::trouble::UNWRITTEN;

/// A checkpoint that is being written.
pub(super) struct Pending {
    name: String,
    reason: String,
    /// Number of its `checkpointing` event.
    begun: u64,
    of_step: u64,
    began: Instant,
    val_loss: Option<f64>,
    best: bool,
    milestone: bool,
    verify: bool,
    /// Whether it is written from the model's own memory, so that training waits for it.
    live: bool,
    /// The best and the reference's checkpoint before it, should it not be written.
    before: (Option<(String, f64)>, Option<String>),
    /// Who asked for it.
    promises: Vec<Promise>,
}

impl Trainer {
    /// Copies the present state and has it written in the background.
    ///
    /// # Errors
    /// When another checkpoint is being written, or this one could not be begun (logged as a warning).
    pub(super) fn begin_checkpoint(
        &mut self,
        reason: &str,
        milestone: bool,
        verify: bool,
    ) -> Result<(), String> {
        self.poll_checkpoint();
        if self.pending.is_some() {
            return Err("another checkpoint is being written".into());
        }
        if self.journal.place() == Place::Replaced {
            // Another run's checkpoints must not be touched.
            return Err(self.report_unwritten(self.describe_replacement()));
        }
        let began = Instant::now();
        let name = self.checkpoints.name_for(&self.state);
        self.state.kept.push(Kept {
            name: name.clone(),
            milestone,
        });
        self.state.seq = self.journal.next_seq();
        let val_loss = self.state.eval_now().map(|e| e.val_loss());
        let before = (
            self.state.best.clone(),
            self.state.reference_checkpoint.clone(),
        );
        // Only a model of the recipe can be its best; the reference and the controls are compared with it.
        let comparable = self.state.round() > 0 && val_loss.is_some_and(f64::is_finite);
        let best = comparable
            && match (&self.state.best, val_loss) {
                (Some((_, best)), Some(now)) => now < *best,
                _ => true,
            };
        if best && let Some(now) = val_loss {
            self.state.best = Some((name.clone(), now));
        }
        if self.state.task == Task::Inherit && self.state.reference_checkpoint.is_none() {
            self.state.reference_checkpoint = Some(name.clone());
        }
        let bytes = self.copy_bytes();
        let live = crate::fault::is_at("checkpoint-copy", 0) || !has_room_for_copy(bytes);
        let copied = Copied::of(
            &name,
            &self.learner,
            &self.state,
            &self.dataset.tokenizer,
            verify,
            !live,
        );
        let begun = self.state.seq;
        let pending = Pending {
            name: name.clone(),
            reason: reason.into(),
            begun,
            of_step: self.state.step,
            began,
            val_loss,
            best,
            milestone,
            verify,
            live,
            before,
            promises: Vec::new(),
        };
        match copied {
            Ok(copied) => {
                let event = self.emit(Body::Checkpointing(CheckpointBegun {
                    name,
                    reason: reason.into(),
                }));
                debug_assert_eq!(event.seq, begun);
                if live {
                    let message = format!(
                        "training waits for this checkpoint: there is no memory for a copy of {}",
                        table::bytes(bytes)
                    );
                    self.emit(Body::Log(Log { message }));
                }
                // In the file before the checkpoint can be: a resume looks for this line.
                self.journal.flush();
                if crate::fault::fails_at(&format!("checkpoint {reason}")) {
                    let full = std::io::ErrorKind::StorageFull.into();
                    let path = self.checkpoints.path();
                    let error = CheckpointError::Io { path, source: full };
                    return Err(self.not_written(pending, &error));
                }
                self.writer.begin(copied);
                self.pending = Some(pending);
                Ok(())
            }
            Err(error) => Err(self.not_written(pending, &error)),
        }
    }

    /// Has a checkpoint written and waits for it. Returns its name.
    ///
    /// # Errors
    /// The reason why it was not written, which has been logged as a warning.
    pub(super) fn checkpoint(
        &mut self,
        reason: &str,
        milestone: bool,
        verify: bool,
    ) -> Result<String, String> {
        self.finish_checkpoint();
        self.begin_checkpoint(reason, milestone, verify)?;
        let written = self.finish_checkpoint();
        written.unwrap_or_else(|| Err("nothing was written".into()))
    }

    /// Has a checkpoint written in the background, after the one that may be on its way.
    pub(super) fn background_checkpoint(&mut self, reason: &str, milestone: bool) {
        self.finish_checkpoint();
        // A failure is a warning: the next checkpoint will do.
        let _ = self.begin_checkpoint(reason, milestone, false);
        self.wait_if_live();
    }

    /// Has a checkpoint written in the background, unless another one is on its way.
    pub(super) fn scheduled_checkpoint(&mut self) {
        // A failure is a warning: the next checkpoint will do.
        let _ = self.begin_checkpoint("schedule", false, false);
        self.wait_if_live();
    }

    /// Waits for a checkpoint that is written from the model's own memory.
    fn wait_if_live(&mut self) {
        if self.pending.as_ref().is_some_and(|p| p.live) {
            self.finish_checkpoint();
        }
    }

    /// Bytes of a copy of what a checkpoint holds now.
    fn copy_bytes(&self) -> u64 {
        let arenas = match self.learner.holds() {
            Some(true) => 3,
            _ => 1,
        };
        4 * arenas * self.learner.shape().parameters()
    }

    /// Has a checkpoint written and answers when it is.
    pub(super) fn promise_checkpoint(&mut self, promise: Promise) {
        self.poll_checkpoint();
        let step = self.state.step;
        if let Some(pending) = self.pending.as_mut().filter(|p| p.of_step == step) {
            // It is this very state's.
            pending.promises.push(promise);
            return;
        }
        self.finish_checkpoint();
        match self.begin_checkpoint("asked", false, false) {
            Ok(()) => {
                if let Some(pending) = &mut self.pending {
                    pending.promises.push(promise);
                }
                self.wait_if_live();
            }
            Err(why) => self.answer(promise, Err(format!("{UNWRITTEN}: {why}"))),
        }
    }

    /// Completes the checkpoint that is being written, if the disk has it.
    pub(super) fn poll_checkpoint(&mut self) {
        if let Some(result) = self.writer.poll() {
            // A failure is a warning.
            let _ = self.complete(result);
        }
    }

    /// Waits for the checkpoint that is being written, if there is one. Returns its name, or the reason why it was not
    /// written, which has been logged as a warning.
    pub(super) fn finish_checkpoint(&mut self) -> Option<Result<String, String>> {
        let result = self.writer.wait()?;
        self.complete(result)
    }

    fn complete(&mut self, result: Result<u64, CheckpointError>) -> Option<Result<String, String>> {
        let pending = self.pending.take()?;
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(self.not_written(pending, &error))),
        };
        let name = pending.name;
        self.emit(Body::Checkpoint(CheckpointWritten {
            name: name.clone(),
            bytes,
            seconds: pending.began.elapsed().as_secs_f64(),
            val_loss: pending.val_loss,
            reason: pending.reason,
            verified: pending.verify,
            begun: Some(pending.begun),
            of_step: Some(pending.of_step),
            milestone: Some(pending.milestone),
        }));
        self.link("latest", &name);
        if pending.best {
            self.link("best", &name);
        }
        self.retain();
        for promise in pending.promises {
            self.answer(promise, Ok(format!("checkpoint {name}")));
        }
        Some(Ok(name))
    }

    /// Removes a checkpoint that was not written from the state and logs a warning. Returns the reason.
    fn not_written(&mut self, pending: Pending, error: &CheckpointError) -> String {
        self.state.kept.retain(|k| k.name != pending.name);
        if self
            .state
            .best
            .as_ref()
            .is_some_and(|(n, _)| *n == pending.name)
        {
            self.state.best = pending.before.0;
        }
        if self.state.reference_checkpoint.as_ref() == Some(&pending.name) {
            self.state.reference_checkpoint = pending.before.1;
        }
        let why = self.report_unwritten(error.to_string());
        for promise in pending.promises {
            self.answer(promise, Err(format!("{UNWRITTEN}: {why}")));
        }
        why
    }

    /// Warns that no checkpoint was written, unless the run is paused for that very reason. Returns why.
    fn report_unwritten(&mut self, why: String) -> String {
        if !self.insisting {
            self.warn(format!("{UNWRITTEN}: {why}"));
        }
        why
    }

    /// Deletes the oldest checkpoints beyond `checkpoint.keep` that are neither milestones, nor the best, nor the reference.
    fn retain(&mut self) {
        let best = self.state.best.as_ref().map(|(name, _)| name.clone());
        let reference = self.state.reference_checkpoint.clone();
        let needed = [best, reference];
        let spare = |k: &Kept| !k.milestone && !needed.iter().flatten().any(|n| *n == k.name);
        let count = self.state.kept.len();
        let newest = count.saturating_sub(self.config.checkpoint.keep);
        let gone: Vec<Kept> = self.state.kept[..newest]
            .iter()
            .filter(|k| spare(k))
            .cloned()
            .collect();
        for kept in gone {
            // One that is gone already (deleted by hand) needs no removal.
            let there = self.checkpoints.has(&kept.name);
            if there && let Err(error) = self.checkpoints.remove(&kept.name) {
                self.warn(format!(
                    "old checkpoint {} was not removed: {error}",
                    kept.name
                ));
            }
            self.state.kept.retain(|k| *k != kept);
        }
    }

    /// Sets the links that a process killed just after writing checkpoint `name` has not set.
    pub(super) fn mend_links(&mut self, name: &str) {
        let mut links = vec![("latest".to_string(), Some(name.to_string()))];
        let best = self.state.best.as_ref().map(|(best, _)| best.clone());
        links.push(("best".into(), best));
        links.push(("reference".into(), self.state.reference_checkpoint.clone()));
        if let Task::Grow { .. } = self.state.task {
            self.before_growth = Some(name.into());
            links.push((pre_grow(self.state.round()), Some(name.into())));
        }
        for (link, name) in links {
            let there = name.filter(|name| self.checkpoints.has(name));
            if let Some(name) = there
                && self.checkpoints.resolve(&link).ok().as_ref() != Some(&name)
            {
                self.link(&link, &name);
            }
        }
    }

    /// Learns from the disk which checkpoints there are: an interrupted process may have written some that the resumed
    /// state does not know, and deleted some that it knows. What is newer than the resumed state, or cannot be read, is
    /// never deleted.
    pub(super) fn take_stock(&mut self) {
        let seq = self.state.seq;
        let mut kept: Vec<(u64, Kept)> = Vec::new();
        for name in self.checkpoints.names() {
            let state = self.checkpoints.state(&name).ok();
            let own = state.as_ref().and_then(|s| s.kept.last());
            let newer = state.as_ref().is_none_or(|s| s.seq > seq);
            let milestone = newer || own.is_none_or(|k| k.milestone);
            kept.push((state.map_or(0, |s| s.seq), Kept { name, milestone }));
        }
        kept.sort_by_key(|(seq, _)| *seq);
        self.state.kept = kept.into_iter().map(|(_, kept)| kept).collect();
        self.look_for_best();
    }

    /// A best checkpoint that is gone is none.
    pub(super) fn look_for_best(&mut self) {
        let there = |name: &String| self.state.kept.iter().any(|k| k.name == *name);
        if self
            .state
            .best
            .as_ref()
            .is_some_and(|(best, _)| !there(best))
        {
            self.state.best = None;
        }
    }
}
