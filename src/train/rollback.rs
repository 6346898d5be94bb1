//! Going back to a checkpoint while the process lives.

use std::time::Duration;

use anyhow::Result;

use super::adjust::names;
use super::checkpoint::Saved;
use super::control::Pause;
use super::memory::{Memory, out_of_memory};
use super::plan;
use super::state::Task;
use super::trainer::Trainer;
use crate::config::{ObjectiveChoice, PolicyMode};
use crate::fault;
use crate::run::command::By;
use crate::run::event::{Body, Phase, Rollback, RunStatus};
use crate::run::hints::{DECIDE_AGAIN, TRAIN_ON};

/// Seconds between attempts to read a checkpoint.
const READ_WAITS: [u64; 3] = [1, 2, 5];

impl Trainer {
    /// Restores a checkpoint exactly, on a new branch. The abandoned steps stay in the journal.
    ///
    /// # Errors
    /// If the checkpoint is missing or damaged, the present state is kept. If reading it fails after it was verified, the
    /// trainer is left without a model.
    pub(super) fn roll_back(&mut self, name: &str, why: &str) -> Result<()> {
        self.keeping().finish();
        let name = self.keeper.checkpoints().resolve(name)?;
        // Everything about the checkpoint is checked before the present model is freed.
        let saved = self.keeper.checkpoints().open_saved(&name)?;
        let values = match saved.state.values.is_empty() {
            true => self.state.values.clone(),
            false => saved.state.values.clone(),
        };
        // The memory that is held now, which depends on the values in force now.
        let (held, present) = (self.memory_held(), self.state.values.clone());
        let fits = self.return_to_values(&values).and_then(|()| {
            let (passes, shape) = (self.learner.passes(), &saved.files.config);
            let text = self.data.bytes_in_memory();
            let objective = plan::objective(&self.config, &saved.state.phase);
            let teacher = match objective {
                ObjectiveChoice::CrossEntropy => None,
                _ => self.teacher_shape(&objective, &self.reference()?.config)?,
            };
            let memory = Memory::of_phase(passes, shape, saved.state.trains(), text);
            let memory = memory.with_teacher(passes, teacher.as_ref());
            memory.check(&format!("checkpoint {name}"), &held)
        });
        if let Err(refusal) = fits {
            self.return_to_values(&present)?;
            return Err(refusal);
        }
        self.read_again(&saved, &name)?;
        let values = std::mem::take(&mut self.state.values);
        let former = std::mem::replace(&mut self.state, saved.state);
        let round = self.state.schedule_place().0;
        let overruled = self.state.live.give_way(&self.state.values, &values, round);
        self.state.values = values;
        let state = &mut self.state;
        let from_seq = state.seq;
        state.branch = former
            .branch
            .max(self.keeper.checkpoints().highest_branch())
            + 1;
        // Numbers of commands and decisions never repeat, and a rollback does not change the checkpoints on disk.
        state.commands = former.commands;
        state.decisions = former.decisions;
        state.repeat = former.repeat;
        state.kept = former.kept;
        state.eval_windows = former.eval_windows;
        self.keeping().look_for_best();
        self.data.forget_losses();
        self.emit(Body::Rollback(Rollback {
            checkpoint: name.clone(),
            from_seq,
            why: why.into(),
            overruled: names(&overruled),
        }));
        self.report_overruled(&overruled);
        self.reopen_round();
        // A resume continues from the newest checkpoint, so it must be of this branch.
        if self.keeping().checkpoint("rollback", false, false).is_err() {
            self.keeping().link("latest", &name);
        }
        if let Some((best, _)) = self.state.best.clone() {
            self.keeping().link("best", &best);
        }
        Ok(())
    }

    /// Reads the model of a checkpoint that has been checked. The present model has been freed by now, so a failed read is retried.
    ///
    /// # Errors
    /// When it cannot be read after several attempts, or there is not enough memory. The trainer has no model then.
    fn read_again(&mut self, saved: &Saved, name: &str) -> Result<()> {
        let trainable = saved.state.trains();
        let mut waits = READ_WAITS.into_iter();
        loop {
            let read = match fault::fails_at("rollback-read") {
                true => Err(std::io::Error::from_raw_os_error(libc::EIO).into()),
                false => saved.load_into(&mut self.learner, trainable),
            };
            let Err(error) = read else { return Ok(()) };
            self.learner.peers().check()?;
            // Verdicts wait: a stop cannot be carried out here, because the model in memory is incomplete and cannot be written.
            let wait = waits.next().filter(|_| !self.control.must_stop());
            match wait {
                Some(seconds) if out_of_memory(&error).is_none() => {
                    self.warn(format!(
                        "checkpoint {name} could not be read: {error:#}; another attempt follows in {seconds} s"
                    ));
                    self.journal.flush();
                    std::thread::sleep(Duration::from_secs(seconds));
                }
                _ => {
                    self.learner.release();
                    return Err(error.context(format!("checkpoint {name} could not be read")));
                }
            }
        }
    }

    /// Reopens a round that had been concluded, to be decided again.
    pub(super) fn reopen_round(&mut self) {
        let concluded = !matches!(self.state.task, Task::Train | Task::Inherit);
        if concluded && self.state.round() > 0 {
            let round = self.state.round();
            self.state.rounds.retain(|r| r.round != round);
            self.state
                .finished
                .retain(|f| f.phase != Phase::Round(round));
            self.state.task = Task::Train;
            self.state.outcome = None;
            self.state.decision = None;
        }
    }

    /// Pauses after a rollback of the operator's that leads to a round's end under `auto`: the policy would otherwise make the same
    /// decision again at once. A run that waited for an answer stays paused, for a new reason.
    pub(super) fn after_ordered_rollback(&mut self, by: By) {
        if by == By::Decisions {
            return; // what was decided then follows
        }
        let ended = self.state.phase_step >= self.state.due;
        let (kind, why) = match self.control.paused() {
            _ if self.policy == PolicyMode::Auto && self.state.round() > 0 && ended => {
                let why = "rolled back to a round's end; the policy decides again when the run is resumed";
                (Pause::Ordered, why.into())
            }
            Some(Pause::Waiting) => {
                let asks = self.policy == PolicyMode::Pause && self.waits_for_decision();
                let way = if asks { DECIDE_AGAIN } else { TRAIN_ON };
                (
                    Pause::Waiting,
                    format!("rolled back to {}{way}", self.place()),
                )
            }
            Some(Pause::Ordered) | None => return,
        };
        self.control.pause(kind);
        self.report_run(RunStatus::Paused, None, Some(why));
    }
}
