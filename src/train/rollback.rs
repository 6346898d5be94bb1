//! Going back to a checkpoint while the process lives.

use anyhow::Result;

use super::state::Task;
use super::trainer::{Pause, Trainer};
use crate::config::PolicyMode;
use crate::run::command::By;
use crate::run::event::Body;

impl Trainer {
    /// Restores a checkpoint exactly, on a new branch. What was done since stays in the journal.
    ///
    /// # Errors
    /// When there is no such checkpoint or it is damaged; the present state stays as it is then.
    pub(super) fn roll_back(&mut self, name: &str, why: &str) -> Result<()> {
        self.finish_checkpoint();
        let name = self.checkpoints.resolve(name)?;
        // Everything about the checkpoint is checked before the present model goes.
        let saved = self.checkpoints.open_saved(&name)?;
        let values = match saved.state.values.is_empty() {
            true => self.state.values.clone(),
            false => saved.state.values.clone(),
        };
        self.return_to_values(values)?;
        let trainable = saved.state.trains();
        saved.load_into(&mut self.learner, trainable)?;
        let values = std::mem::take(&mut self.state.values);
        let former = std::mem::replace(&mut self.state, saved.state);
        self.state.values = values;
        let state = &mut self.state;
        let from_seq = state.seq;
        state.branch = former.branch.max(self.checkpoints.highest_branch()) + 1;
        // Numbers of commands and decisions never repeat, and the disk's checkpoints are what they are.
        state.commands = former.commands;
        state.decisions = former.decisions;
        state.repeat = former.repeat;
        state.kept = former.kept;
        state.eval_windows = former.eval_windows;
        self.look_for_best();
        self.window_losses.clear();
        self.emit(Body::Rollback {
            checkpoint: name.clone(),
            from_seq,
            why: why.into(),
        });
        self.reopen_round();
        // The newest checkpoint is where a resume goes on: it must be of this branch.
        if self.checkpoint("rollback", false, false).is_err() {
            self.link("latest", &name);
        }
        if let Some((best, _)) = self.state.best.clone() {
            self.link("best", &best);
        }
        Ok(())
    }

    /// A round that had been concluded goes on, to be decided anew.
    pub(super) fn reopen_round(&mut self) {
        let concluded = !matches!(self.state.task, Task::Train | Task::Inherit);
        if concluded && self.state.round() > 0 {
            let round = self.state.round();
            self.state.rounds.retain(|r| r.round != round);
            self.state.task = Task::Train;
            self.state.outcome = None;
            self.state.decision = None;
        }
    }

    /// Under `auto` the policy would at once decide again what the operator has just undone.
    pub(super) fn after_ordered_rollback(&mut self, by: By) {
        if by == By::Decisions {
            return; // what was decided then follows
        }
        let ended = self.state.phase_step >= self.state.due;
        if self.policy == PolicyMode::Auto && self.state.round() > 0 && ended {
            let why =
                "rolled back to a round's end; the policy decides again when the run is resumed";
            self.pause(Pause::Ordered, Some(why.into()));
        }
    }
}
