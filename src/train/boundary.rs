//! What is done between two steps: signals, commands and their answers, limits, pauses.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::insist::Insisted;
use super::trainer::{Boundary, Choice, Ended, Pause, Promise, Trainer};
use crate::config::PolicyMode;
use crate::fault;
use crate::run::command::{Answered, By, Command, MOST_STEPS, Request};
use crate::run::event::{
    Answer, Body, CommandGiven, Decision, DecisionReason, DecisionStatus, Log, Outcome, Phase,
    RunStatus,
};
use crate::run::table;
use crate::run::words::MOST_LR;

/// How often a paused trainer looks at signals and the clock.
pub(super) const PAUSED_GLANCE: Duration = Duration::from_millis(100);

/// What a command leads to, and the answer to it.
type Applied = (Boundary, Option<String>);

impl Trainer {
    /// Everything that is done between two steps: signals, commands, limits, pauses.
    pub(super) fn boundary(&mut self) -> Result<Boundary> {
        loop {
            self.journal_news();
            for _ in 0..fault::owed_at("flood") {
                let message = "asked for by HEIRLOOM_FAULT".into();
                self.emit(Body::Log(Log { message }));
            }
            self.poll_checkpoint();
            self.look_after_directory();
            if self.signalled.stop() {
                if let Some(signal) = self.signalled.name() {
                    let message = format!("{signal} received: checkpoint and stop");
                    self.emit(Body::Log(Log { message }));
                }
                let what = format!("the state at {}", self.place());
                let written = self.insist_on_checkpoint(&what, "signal", false, false);
                return Ok(Boundary::End(match written {
                    Insisted::Done(_) => Ended::Preempted,
                    Insisted::End(ended) => ended,
                }));
            }
            // A stop does not wait for a stream of commands.
            while !self.signalled.stop()
                && let Some(request) = self.next_request()
            {
                match self.obey(request)? {
                    Boundary::Step => {}
                    other => return Ok(other),
                }
            }
            if let Some(outcome) = self.limit() {
                return Ok(Boundary::Choice(Choice::Limit(outcome)));
            }
            let Some(pause) = self.paused else {
                return Ok(Boundary::Step);
            };
            if pause == Pause::Waiting && self.left_alone() {
                // No operator has ended the pause: free the device.
                let what = format!("the state at {}", self.place());
                match self.insist_on_checkpoint(&what, "unattended", false, false) {
                    // An operator has attached meanwhile.
                    Insisted::Done(_) if self.attended() => continue,
                    Insisted::Done(_) => return Ok(Boundary::End(Ended::Preempted)),
                    Insisted::End(ended) => return Ok(Boundary::End(ended)),
                }
            }
            self.journal.flush();
            self.tell_journal_problem();
            match self.requests.recv_timeout(PAUSED_GLANCE) {
                Ok(request) => match self.obey(request)? {
                    Boundary::Step => {}
                    other => return Ok(other),
                },
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody can send any more: sleep, for signals still come.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(PAUSED_GLANCE),
            }
        }
    }

    /// Journals what others have left for the journal.
    pub(super) fn journal_news(&mut self) {
        while let Some(body) = self.attendance.news() {
            self.emit(body);
            self.journal.flush();
        }
    }

    fn next_request(&mut self) -> Option<Request> {
        if let Some(command) = self.repeated() {
            return Some(Request::new(By::Decisions, command));
        }
        self.requests.try_recv().ok()
    }

    /// The next command of another run that belongs to this very step.
    fn repeated(&mut self) -> Option<Command> {
        if self.repeats_here() {
            return self.state.repeat.pop_front().map(|r| r.command);
        }
        let next = self.state.repeat.front()?;
        if next.phase == self.state.phase && next.step < self.state.step {
            let (count, step) = (self.state.repeat.len(), next.step);
            self.state.repeat.clear();
            self.warn(format!(
                "this run has left the other one's path before step {step}: its last {count} decisions are not repeated"
            ));
        }
        None
    }

    fn repeats_here(&self) -> bool {
        let state = &self.state;
        let next = state.repeat.front();
        next.is_some_and(|r| r.step == state.step && r.phase == state.phase)
    }

    fn limit(&self) -> Option<Outcome> {
        let p = &self.config.policy;
        if !matches!(self.state.phase, Phase::Reference | Phase::Round(_)) {
            return None;
        }
        if p.max_tokens > 0 && self.state.tokens >= p.max_tokens {
            return Some(Outcome::LimitTokens);
        }
        (p.max_hours > 0.0 && self.journal.elapsed() >= 3600.0 * p.max_hours)
            .then_some(Outcome::LimitHours)
    }

    /// Stops stepping until somebody answers.
    pub(super) fn pause(&mut self, kind: Pause, why: Option<String>) {
        if self.paused.is_none() {
            self.tell_run(RunStatus::Paused, None, why);
        }
        self.paused = Some(kind);
    }

    pub(super) fn unpause(&mut self) {
        if self.paused.take().is_some() {
            self.tell_run(RunStatus::Running, None, None);
        }
    }

    /// Whether anybody can answer.
    pub(super) fn attended(&self) -> bool {
        self.repeats_here() || self.attendance.is_present()
    }

    /// Whether nobody has been there for as long as a question waits.
    fn left_alone(&self) -> bool {
        let minutes = self.config.policy.unattended_minutes;
        !self.attended() && self.attendance.alone_for().as_secs_f64() >= 60.0 * minutes
    }

    /// Journals a command. Returns it with the answer that is owed.
    pub(super) fn take_down(&mut self, request: Request) -> (Promise, Command) {
        self.state.commands += 1;
        let Request {
            by,
            command,
            pid,
            reply,
        } = request;
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
        (promise, command)
    }

    /// Journals a command, does it, and journals the answer.
    fn obey(&mut self, request: Request) -> Result<Boundary> {
        let by = request.by;
        let (promise, command) = self.take_down(request);
        match self.apply(by, &command)? {
            Ok((boundary, Some(message))) => {
                self.answer(promise, Ok(message));
                Ok(boundary)
            }
            Ok((boundary, None)) => {
                self.promise_checkpoint(promise);
                Ok(boundary)
            }
            Err(refusal) => {
                self.answer(promise, Err(refusal));
                Ok(Boundary::Step)
            }
        }
    }

    /// Answers a command, in the journal and to whoever sent it.
    pub(super) fn answer(&mut self, promise: Promise, answer: Result<String, String>) {
        let (applied, message) = match answer {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        let seconds = promise.began.elapsed().as_secs_f64();
        let message = if seconds > 1.0 {
            format!("{message} ({seconds:.1} s)")
        } else {
            message
        };
        let id = promise.id;
        self.emit(Body::Answer(Answer {
            id,
            applied,
            message: message.clone(),
        }));
        self.journal.flush();
        if let Some(reply) = promise.reply {
            // Who asked may have left.
            let _ = reply.send(Answered {
                id,
                applied,
                message,
            });
        }
    }

    /// The outer result is a failure of the trainer, the inner one a refusal. Without a message the answer is owed
    /// until a checkpoint is on disk.
    fn apply(&mut self, by: By, command: &Command) -> Result<Result<Applied, String>> {
        let done = |message: String| Ok(Ok((Boundary::Step, Some(message))));
        let refuse = |refusal: String| Ok(Err(refusal));
        let step = self.place();
        match command {
            Command::Pause if self.paused == Some(Pause::Ordered) => {
                Ok(Err("the run is paused already".into()))
            }
            Command::Pause => {
                self.pause(Pause::Ordered, None);
                done(format!("paused at {step}"))
            }
            Command::Resume if self.paused.is_none() => Ok(Err("the run is not paused".into())),
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
            Command::Probe => {
                self.probe()?;
                done(format!("ranks probed at {step}"))
            }
            Command::Decide if !matches!(self.state.phase, Phase::Round(_)) => {
                let phase = &self.state.phase;
                Ok(Err(format!(
                    "there is nothing to decide in phase {phase}: decisions belong to rounds"
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
                    Boundary::Choice(choice),
                    Some(format!("growing to {}", table::plural(to, "layer"))),
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
            Command::SetLr { lr } => self.set_lr(*lr).map_or_else(refuse, done),
            Command::Rollback { checkpoint } => match self.roll_back(checkpoint, "requested") {
                Ok(()) => {
                    self.after_ordered_rollback(by);
                    let message = format!("rolled back to {checkpoint}");
                    Ok(Ok((Boundary::Again, Some(message))))
                }
                // The present model had to be given up for it.
                Err(error) if self.learner.holds().is_none() => Err(error),
                Err(error) => Ok(Err(format!("{error:#}"))),
            },
            Command::Checkpoint => Ok(Ok((Boundary::Step, None))),
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
                    Boundary::Choice(Choice::Stop),
                    Some("the present model is the result".into()),
                )))
            }
            Command::Quit => match self.checkpoint("quit", false, false) {
                Ok(name) => {
                    let message = format!("checkpoint {name}; the process ends");
                    Ok(Ok((Boundary::End(Ended::Stopped), Some(message))))
                }
                Err(why) => Ok(Err(format!(
                    "no checkpoint could be written, so the run goes on; make room first ({why})"
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
            return Err("0 steps are no training; give at least 1".into());
        }
        if !matches!(self.state.phase, Phase::Reference | Phase::Round(_)) {
            return Err("a control takes the steps of what it is compared with".into());
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
        if self.paused == Some(Pause::Waiting) {
            self.unpause();
        }
        Ok(format!("this phase now ends at its step {due}"))
    }

    /// Scales the phase's schedule so that the next update has this rate.
    fn set_lr(&mut self, lr: f64) -> Result<String, String> {
        if !(lr.is_finite() && lr > 0.0 && lr <= MOST_LR) {
            return Err(format!(
                "a learning rate must be above 0 and at most {MOST_LR}, is {lr}"
            ));
        }
        if matches!(
            self.state.phase,
            Phase::ControlRandom | Phase::ControlReference
        ) {
            return Err("a control takes the rates of what it is compared with".into());
        }
        let planned = self.planned_rate();
        if !(lr / planned).is_finite() {
            return Err("the schedule has come to a rate of 0, which cannot be scaled".into());
        }
        let before = self.learning_rate();
        self.state.scale_rate(lr / planned);
        Ok(format!(
            "learning rate {lr:.3e} from {} on, was {before:.3e}; the rest of the schedule is scaled with it",
            self.place()
        ))
    }

    /// The present step: `step 49 of round 2`.
    pub(super) fn place(&self) -> String {
        let (step, phase) = (self.state.phase_step, &self.state.phase);
        match phase {
            Phase::Reference => format!("step {step} of the reference"),
            phase => format!("step {step} of {}", table::phase_name(phase)),
        }
    }

    /// Why an answer to `decision` comes too late, if it does.
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
    fn waits_for_decision(&self) -> bool {
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
