//! Checkpoints as a run keeps them: begun at a step boundary, completed when the disk has them, deleted when
//! `checkpoint.keep` has newer ones; and small files that could not be written yet.

mod retention;

use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{CheckpointError, Checkpoints, Copied, Writer};
use super::learner::Learner;
use super::memory::has_room_for_copy;
use super::outcome::Promise;
use super::owed::{Owed, Report};
use super::record;
use super::state::{Kept, Task, TrainState};
use crate::corpus::Tokenizer;
use crate::rank::{LayerStats, ProbeResult};
use crate::run::dir::RunDir;
use crate::run::event::{Body, CheckpointBegun, CheckpointWritten, Event, Log};
use crate::run::handle::RunHandle;
use crate::run::journal::{Journal, Place};
use crate::run::table;
use crate::run::trouble::UNWRITTEN;
use crate::text;

/// The link to the checkpoint that was written before the growth out of a round.
pub(super) fn pre_grow(round: u32) -> String {
    format!("pre-grow-{round}")
}

/// A checkpoint that is being written.
struct Pending {
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
    /// The best and the reference's checkpoint before this one, which are restored if it is not written.
    before: (Option<(String, f64)>, Option<String>),
    /// The answers that are owed to those who asked for it.
    promises: Vec<Promise>,
}

/// Has checkpoints written, one at a time, and keeps the links and the number of them.
pub(super) struct Keeper {
    checkpoints: Checkpoints,
    writer: Writer,
    /// The checkpoint that the writer is at.
    pending: Option<Pending>,
    owed: Owed,
    /// The checkpoint before the growth that comes next or came last.
    before_growth: Option<String>,
    /// Whether the run is paused until a result is on disk, so that no warning is needed.
    insisting: bool,
    handle: Arc<RunHandle>,
}

impl Keeper {
    /// Makes a keeper of a run's checkpoints.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn new(checkpoints: Checkpoints, handle: Arc<RunHandle>) -> std::io::Result<Self> {
        Ok(Self {
            writer: Writer::start(checkpoints.clone())?,
            checkpoints,
            pending: None,
            owed: Owed::default(),
            before_growth: None,
            insisting: false,
            handle,
        })
    }

    pub(super) fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// The checkpoint before the growth that comes next or came last.
    pub(super) fn before_growth(&self) -> Option<String> {
        self.before_growth.clone()
    }

    pub(super) fn set_before_growth(&mut self, name: &str) {
        self.before_growth = Some(name.into());
    }

    /// Whether the run is paused until a result is on disk: failures are then no warnings.
    pub(super) fn set_insisting(&mut self, insisting: bool) {
        self.insisting = insisting;
    }
}

/// A keeper with the contents of a checkpoint, and the journal that reports it.
pub(super) struct Keeping<'a> {
    pub(super) keeper: &'a mut Keeper,
    pub(super) state: &'a mut TrainState,
    pub(super) journal: &'a mut Journal,
    pub(super) learner: &'a Learner,
    pub(super) tokenizer: &'a Tokenizer,
    /// Checkpoints that are kept besides milestones, the best one and the reference (`checkpoint.keep`).
    pub(super) keep: usize,
}

impl Keeping<'_> {
    /// Copies the present state and has it written in the background.
    ///
    /// # Errors
    /// When another checkpoint is being written, or this one could not be begun (logged as a warning).
    pub(super) fn begin(
        &mut self,
        reason: &str,
        milestone: bool,
        verify: bool,
    ) -> Result<(), String> {
        self.poll();
        if self.keeper.pending.is_some() {
            return Err("another checkpoint is being written".into());
        }
        if self.journal.place() == Place::Replaced {
            // Another run's checkpoints must not be touched.
            return Err(
                self.report_unwritten(describe_replacement(self.journal, self.keeper.handle.dir()))
            );
        }
        let began = Instant::now();
        let name = self.keeper.checkpoints.name_for(self.state);
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
        // The reference is followed by round 1 or, without rounds, by a baseline.
        let follows = match self.state.task {
            Task::Inherit => true,
            Task::Baseline(_) => self.state.rounds.is_empty(),
            _ => false,
        };
        if follows && self.state.reference_checkpoint.is_none() {
            self.state.reference_checkpoint = Some(name.clone());
        }
        let bytes = self.copy_bytes();
        let live = crate::fault::is_at("checkpoint-copy", 0) || !has_room_for_copy(bytes);
        let copied = Copied::of(
            &name,
            self.learner,
            self.state,
            self.tokenizer,
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
                // The line must be in the file before the checkpoint is on disk, because a resume looks for it.
                self.journal.flush();
                if crate::fault::fails_at(&format!("checkpoint {reason}")) {
                    let full = std::io::ErrorKind::StorageFull.into();
                    let path = self.keeper.checkpoints.path();
                    let error = CheckpointError::Io { path, source: full };
                    return Err(self.not_written(pending, &error));
                }
                self.keeper.writer.begin(copied);
                self.keeper.pending = Some(pending);
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
        self.finish();
        self.begin(reason, milestone, verify)?;
        let written = self.finish();
        written.unwrap_or_else(|| Err("nothing was written".into()))
    }

    /// Has a checkpoint written in the background, after the one that may be on its way.
    pub(super) fn background(&mut self, reason: &str, milestone: bool) {
        self.finish();
        // A failure is a warning: the next checkpoint will do.
        let _ = self.begin(reason, milestone, false);
        self.wait_if_live();
    }

    /// Has a checkpoint written in the background, unless another one is on its way.
    pub(super) fn scheduled(&mut self) {
        // A failure is a warning: the next checkpoint will do.
        let _ = self.begin("schedule", false, false);
        self.wait_if_live();
    }

    /// Waits for a checkpoint that is written from the model's own memory.
    fn wait_if_live(&mut self) {
        if self.keeper.pending.as_ref().is_some_and(|p| p.live) {
            self.finish();
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
    pub(super) fn promise(&mut self, promise: Promise) {
        self.poll();
        let step = self.state.step;
        if let Some(pending) = self.keeper.pending.as_mut().filter(|p| p.of_step == step) {
            // It is this very state's.
            pending.promises.push(promise);
            return;
        }
        self.finish();
        match self.begin("asked", false, false) {
            Ok(()) => {
                if let Some(pending) = &mut self.keeper.pending {
                    pending.promises.push(promise);
                }
                self.wait_if_live();
            }
            Err(why) => record::answer(
                self.journal,
                self.state,
                promise,
                Err(format!("{UNWRITTEN}: {why}")),
                None,
            ),
        }
    }

    /// Completes the checkpoint that is being written, if the disk has it.
    pub(super) fn poll(&mut self) {
        let mut serve = |moment, range| self.learner.gather_moments(moment, range);
        if let Some(result) = self.keeper.writer.poll(&mut serve) {
            // A failure is a warning.
            let _ = self.complete(result);
        }
    }

    /// Waits for the checkpoint that is being written, if there is one. Returns its name, or the reason why it was not
    /// written, which has been logged as a warning unless a rank is lost.
    pub(super) fn finish(&mut self) -> Option<Result<String, String>> {
        let mut serve = |moment, range| self.learner.gather_moments(moment, range);
        let peers = self.learner.peers();
        let written = self
            .keeper
            .writer
            .wait(&mut serve, &|| peers.check().is_err());
        match written {
            Some(result) => self.complete(result),
            None => peers.check().err().map(|lost| Err(lost.to_string())),
        }
    }

    fn complete(&mut self, result: Result<u64, CheckpointError>) -> Option<Result<String, String>> {
        let pending = self.keeper.pending.take()?;
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
            record::answer(
                self.journal,
                self.state,
                promise,
                Ok(format!("checkpoint {name}")),
                None,
            );
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
            record::answer(
                self.journal,
                self.state,
                promise,
                Err(format!("{UNWRITTEN}: {why}")),
                None,
            );
        }
        why
    }

    /// Warns that no checkpoint was written, unless the run is paused for that very reason. Returns why.
    fn report_unwritten(&mut self, why: String) -> String {
        if !self.keeper.insisting {
            self.warn(format!("{UNWRITTEN}: {why}"));
        }
        why
    }

    fn emit(&mut self, body: Body) -> Event {
        record::emit(self.journal, self.state, body)
    }

    fn warn(&mut self, message: String) {
        record::warn(self.journal, self.state, message);
    }

    /// Points a link at a checkpoint, retrying later if that fails: a resume continues from `latest`.
    pub(super) fn link(&mut self, link: &str, name: &str) {
        self.keeper.owed.add_link(link, name);
        self.write_owed();
    }

    /// Writes the file of a probe, now or as soon as that can be done.
    pub(super) fn keep_probe(&mut self, name: String, result: ProbeResult, stats: LayerStats) {
        self.keeper.owed.add_probe(name, result, stats);
        self.write_owed();
    }

    /// Writes the owed files. Failures are reported once, and so is their end.
    pub(super) fn write_owed(&mut self) {
        // Another run's directory may have taken the place of this one's.
        if self.keeper.owed.is_empty() || self.journal.place() == Place::Replaced {
            return;
        }
        let Keeper {
            owed,
            checkpoints,
            handle,
            ..
        } = &mut *self.keeper;
        match owed.write(checkpoints, handle) {
            Some(Report::Log(message)) => {
                self.emit(Body::Log(Log { message }));
            }
            Some(Report::Warning(message)) => self.warn(message),
            None => {}
        }
    }
}

/// Describes the state of a directory that holds another journal, and what to do.
pub(super) fn describe_replacement(own: &Journal, run: &RunDir) -> String {
    let (dir, journal) = (text::argument(run.path()), run.events());
    let way = match own.is_linked() {
        true => format!(
            "This run's journal was moved: put it back (mv MOVED {})",
            text::argument(&journal)
        ),
        false => format!(
            "Move what is there away (mv {dir} {dir}.other) and this run makes its directory again, with a checkpoint"
        ),
    };
    format!(
        "{} is now a different file, a copy or another run's: this process keeps writing events into the original \
         file, but no checkpoints, which would overwrite the new files. {way}; or end this process (kill {}), and \
         what it has \
         trained since its last checkpoint is lost",
        text::path(&journal),
        std::process::id()
    )
}
