//! Carries out commands one by one, or refuses them.

use std::time::Instant;

use anyhow::Result;

use super::control::{Pause, Sender};
use super::outcome::{Choice, Ended, Next, Promise};
use super::record;
use super::trainer::Trainer;
use crate::config::PolicyMode;
use crate::run::command::{By, Command, MOST_STEPS};
use crate::run::event::{
    Body, Change, CommandGiven, Decision, DecisionReason, DecisionStatus, Phase,
};
use crate::run::table;

/// The consequence of a command and its answer, which may include a value that was set.
type Applied = (Next, Option<(String, Option<Change>)>);

impl Trainer {
    /// Journals a command. Returns the answer that is owed.
    pub(super) fn take_down(&mut self, by: By, command: &Command, sender: Sender) -> Promise {
        self.state.commands += 1;
        let Sender { pid, reply } = sender;
        let promise = Promise {
            id: self.state.commands,
            reply,
            began: Instant::now(),
        };
        self.emit(Body::Command(CommandGiven {
            id: promise.id,
            by,
            command: command.clone(),
            pid,
        }));
        promise
    }

    /// Journals a command, does it, and journals the answer.
    pub(super) fn obey(&mut self, by: By, command: Command, sender: Sender) -> Result<Next> {
        let promise = self.take_down(by, &command, sender);
        match self.apply(by, &command)? {
            Ok((next, Some((message, change)))) => {
                record::answer(&mut self.journal, &self.state, promise, Ok(message), change);
                Ok(next)
            }
            Ok((next, None)) => {
                self.keeping().promise(promise);
                Ok(next)
            }
            Err(refusal) => {
                self.answer(promise, Err(refusal));
                Ok(Next::Boundary)
            }
        }
    }

    /// Answers a command, in the journal and to its sender.
    pub(super) fn answer(&mut self, promise: Promise, answer: Result<String, String>) {
        record::answer(&mut self.journal, &self.state, promise, answer, None);
    }

    /// Applies a command. The outer error is a failure of the trainer, the inner one a refusal. Without a message the answer is owed until
    /// a checkpoint is on disk.
    fn apply(&mut self, by: By, command: &Command) -> Result<Result<Applied, String>> {
        let done = |message: String| Ok(Ok((Next::Boundary, Some((message, None)))));
        let set = |(message, change)| Ok(Ok((Next::Boundary, Some((message, Some(change))))));
        let refuse = |refusal: String| Ok(Err(refusal));
        let step = self.place();
        match command {
            Command::Pause if self.control.paused() == Some(Pause::Ordered) => {
                Ok(Err("the run is paused already".into()))
            }
            Command::Pause => {
                self.pause(Pause::Ordered, None);
                done(format!("paused at {step}"))
            }
            Command::Resume if self.control.paused().is_none() => {
                Ok(Err("the run is not paused".into()))
            }
            Command::Resume if self.policy == PolicyMode::Pause && self.waits_for_decision() => {
                Ok(Err(
                    "a decision is due: answer it (grow, train-on or stop; D at a dashboard)"
                        .into(),
                ))
            }
            Command::Resume => {
                self.unpause();
                done(match self.allow_overrun() {
                    Some(until) => format!(
                        "resumed at {step}; without a decision the run pauses at step {until} of the round"
                    ),
                    None => format!("resumed at {step}"),
                })
            }
            // The journaled command is the note.
            Command::Note { .. } => done(format!("noted at {step}")),
            Command::Eval => {
                let record = self.evaluate()?;
                done(format!("val {:.4} at {step}", record.measured_val_loss()))
            }
            Command::EvalTasks { tasks, limit } => self
                .obey_eval(tasks, *limit)
                .map(|told| told.map(|message| (Next::Boundary, Some((message, None))))),
            Command::Sample { text } => match self.sample(text) {
                Ok(sample) => done(format!("{:?} at {step}", sample.greedy)),
                Err(why) => {
                    self.learner.peers().check()?;
                    refuse(format!("{why:#}"))
                }
            },
            Command::Probe => {
                self.probe()?;
                done(format!("ranks probed at {step}"))
            }
            Command::Decide if !matches!(self.state.phase, Phase::Round(_)) => {
                let phase = &self.state.phase;
                Ok(Err(format!(
                    "there is nothing to decide in phase {phase}: decisions are made in rounds"
                )))
            }
            Command::Decide => {
                self.open_decision(DecisionReason::Asked)?;
                done(format!("evidence updated ({step})"))
            }
            Command::Grow {
                layers,
                mode,
                decision,
            } => {
                if self.state.round() == 0 {
                    return Ok(Err(format!(
                        "there is no round to grow from in phase {}",
                        self.state.phase
                    )));
                }
                let refusal = self.stale(*decision).or_else(|| self.cannot_grow(*layers));
                if let Some(refusal) = refusal.or_else(|| self.cannot_checkpoint()) {
                    return Ok(Err(refusal));
                }
                let to = self.learner.shape().n_layer + layers;
                self.resolve(by, command.describe());
                let choice = Choice::Grow {
                    layers: *layers,
                    mode: mode.unwrap_or(self.config.grow.mode),
                };
                Ok(Ok((
                    Next::Choice(choice),
                    Some((format!("growing to {}", table::plural(to, "layer")), None)),
                )))
            }
            Command::TrainOn { .. } if self.state.round() == 0 => Ok(Err(format!(
                "there is no round to train on in phase {}; extend lengthens a phase",
                self.state.phase
            ))),
            Command::TrainOn { steps, decision } => {
                if let Some(refusal) = self.stale(*decision) {
                    return Ok(Err(refusal));
                }
                if !(1..=MOST_STEPS).contains(steps) {
                    return Ok(Err(format!("{steps} steps: give 1 to {MOST_STEPS}")));
                }
                self.state.due = self.state.phase_step.saturating_add(*steps);
                self.resolve(by, command.describe());
                self.unpause();
                done(format!(
                    "next decision at step {} of the round",
                    self.state.due
                ))
            }
            Command::Extend { steps } => self.extend(by, *steps).map_or_else(refuse, done),
            Command::SetLr { lr } => self.set_lr(*lr).map_or_else(refuse, set),
            Command::Set { setting, value } => self.set(*setting, *value).map_or_else(refuse, set),
            Command::SetMixture { source, weight } => {
                self.set_mixture(*source, *weight).map_or_else(refuse, set)
            }
            Command::Cooldown { steps } => self.cool_down(by, *steps).map_or_else(refuse, set),
            Command::Freeze { from, to } => self.freeze(*from..*to).map_or_else(refuse, set),
            Command::Unfreeze { from, to } => self.unfreeze(&(*from..*to)).map_or_else(refuse, set),
            Command::Rollback { checkpoint } => match self.roll_back(checkpoint, "requested") {
                Ok(()) => {
                    self.after_ordered_rollback(by);
                    let message = format!("rolled back to {checkpoint}");
                    Ok(Ok((Next::Again, Some((message, None)))))
                }
                // The present model has been freed for it.
                Err(error) if self.learner.holds().is_none() => Err(error),
                Err(error) => Ok(Err(format!("{error:#}"))),
            },
            Command::Checkpoint => Ok(Ok((Next::Boundary, None))),
            Command::Stop { .. } if self.state.round() == 0 => Ok(Err(format!(
                "there is no round to stop in phase {}; quit ends the process after a checkpoint",
                self.state.phase
            ))),
            Command::Stop { decision } => {
                if let Some(refusal) = self.stale(*decision) {
                    return Ok(Err(refusal));
                }
                self.resolve(by, command.describe());
                Ok(Ok((
                    Next::Choice(Choice::Stop),
                    Some(("the present model is the result".into(), None)),
                )))
            }
            Command::Quit => match self.keeping().checkpoint("quit", false, false) {
                Ok(name) => {
                    let message = format!("checkpoint {name}; the process ends");
                    Ok(Ok((Next::End(Ended::Stopped), Some((message, None)))))
                }
                Err(why) => Ok(Err(format!(
                    "no checkpoint could be written, so the run continues; free some disk space first ({why})"
                ))),
            },
        }
    }

    /// Under `ask`, past the end of a round's steps: allows the overrun again from here on. Returns the phase step at
    /// which the run pauses next.
    fn allow_overrun(&mut self) -> Option<u64> {
        let past = self.state.round() > 0 && self.state.phase_step >= self.state.due;
        if self.policy != PolicyMode::Ask || !past {
            return None;
        }
        self.state.overrun_from = self.state.phase_step;
        Some(self.overrun_end())
    }

    /// Puts the end of the present steps off.
    fn extend(&mut self, by: By, steps: u64) -> Result<String, String> {
        if steps == 0 {
            return Err("steps must be at least 1, got 0".into());
        }
        if !matches!(self.state.phase, Phase::Reference | Phase::Round(_)) {
            return Err(
                "a control is trained for the same steps as the model it is compared with".into(),
            );
        }
        let from = self.state.due.max(self.state.phase_step);
        let due = from.saturating_add(steps);
        if due > MOST_STEPS {
            return Err(format!("{due} steps are too many: at most {MOST_STEPS}"));
        }
        let was_due = self.waits_for_decision();
        self.state.due = due;
        if was_due {
            self.resolve(by, Command::Extend { steps }.describe());
        }
        if self.control.paused() == Some(Pause::Waiting) {
            self.unpause();
        }
        Ok(format!("this phase now ends at its step {due}"))
    }

    /// Returns why an answer to `decision` comes too late, if it does.
    fn stale(&self, decision: Option<u64>) -> Option<String> {
        let decision = decision?;
        match &self.state.decision {
            Some(open) if open.id == decision => None,
            Some(open) => Some(format!(
                "decision {decision} has been replaced by {}: look at its evidence first",
                open.id
            )),
            None => Some(format!("decision {decision} is not open")),
        }
    }

    /// Whether the decision at the end of the round's steps is open.
    pub(super) fn waits_for_decision(&self) -> bool {
        let state = &self.state;
        state.decision.is_some_and(|d| d.phase_step >= state.due)
    }

    /// Closes the open decision.
    pub(super) fn resolve(&mut self, by: By, choice: String) {
        if let Some(open) = self.state.decision.take() {
            let age = self.state.phase_step.saturating_sub(open.phase_step);
            let evidence_step = self.state.step.saturating_sub(age);
            self.emit(Body::Decision(Decision {
                id: open.id,
                status: DecisionStatus::Resolved,
                reason: open.reason,
                evidence: None,
                evidence_step: Some(evidence_step),
                choice: Some(choice),
                by: Some(by),
            }));
        }
    }
}
