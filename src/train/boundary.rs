//! What is done between two steps: signals, commands and their answers, limits, pauses.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::trainer::{Boundary, Choice, Ended, Trainer};
use crate::run::command::{By, Command, Request};
use crate::run::event::{Body, DecisionReason, DecisionStatus, Outcome, Phase, RunStatus};

/// How often a paused trainer looks at signals and the clock.
const PAUSED_GLANCE: Duration = Duration::from_millis(100);

impl Trainer {
    /// Everything that is done between two steps: signals, commands, limits, pauses.
    pub(super) fn boundary(&mut self) -> Result<Boundary> {
        loop {
            if let Some(how) = self.attendance.farewell() {
                let message = match self.paused {
                    true => {
                        format!("{how} while the run is paused, so that nobody can end the pause")
                    }
                    false => format!("{how}; training goes on within the policy's limits"),
                };
                self.emit(Body::Log { message });
                self.journal.flush();
            }
            if self.signalled.stop() {
                if self.checkpoint("signal", false, false).is_none() {
                    self.warn("the steps since the last checkpoint are lost".into());
                }
                return Ok(Boundary::End(Ended::Preempted));
            }
            while let Some(request) = self.next_request() {
                match self.obey(&request)? {
                    Boundary::Step => {}
                    other => return Ok(other),
                }
            }
            if let Some(outcome) = self.limit() {
                return Ok(Boundary::Choice(Choice::Limit(outcome)));
            }
            if !self.paused {
                return Ok(Boundary::Step);
            }
            if !self.attended() {
                // Nobody is there to end the pause: leave the device to others.
                self.checkpoint("unattended", false, false);
                return Ok(Boundary::End(Ended::Preempted));
            }
            self.journal.flush();
            self.tell_journal_problem();
            match self.requests.recv_timeout(PAUSED_GLANCE) {
                Ok(request) => match self.obey(&request)? {
                    Boundary::Step => {}
                    other => return Ok(other),
                },
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody can send any more: sleep, for signals still come.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(PAUSED_GLANCE),
            }
        }
    }

    fn next_request(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
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

    pub(super) fn pause(&mut self, why: Option<String>) {
        if !self.paused {
            self.paused = true;
            self.tell_run(RunStatus::Paused, None, why);
        }
    }

    pub(super) fn unpause(&mut self) {
        if self.paused {
            self.paused = false;
            self.tell_run(RunStatus::Running, None, None);
        }
    }

    /// Whether anybody can answer.
    pub(super) fn attended(&self) -> bool {
        self.attendance.is_present()
    }

    /// Journals a command, does it, and journals the answer.
    fn obey(&mut self, request: &Request) -> Result<Boundary> {
        self.state.commands += 1;
        let id = self.state.commands;
        let Request { by, command } = request;
        self.emit(Body::Command {
            id,
            by: *by,
            command: command.clone(),
            pid: None,
        });
        let began = Instant::now();
        let (boundary, answer) = match self.apply(*by, command)? {
            Ok((boundary, message)) => (boundary, Ok(message)),
            Err(refusal) => (Boundary::Step, Err(refusal)),
        };
        let (applied, message) = match answer {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        let seconds = began.elapsed().as_secs_f64();
        let message = if seconds > 1.0 {
            format!("{message} ({seconds:.1} s)")
        } else {
            message
        };
        self.emit(Body::Answer {
            id,
            applied,
            message,
        });
        self.journal.flush();
        Ok(boundary)
    }

    /// The outer result is a failure of the trainer, the inner one a refusal.
    fn apply(&mut self, by: By, command: &Command) -> Result<Result<(Boundary, String), String>> {
        let done = |message: String| Ok(Ok((Boundary::Step, message)));
        let step = self.state.step;
        match command {
            Command::Pause if self.paused => Ok(Err("the run is paused already".into())),
            Command::Pause => {
                self.pause(None);
                done(format!("paused at step {step}"))
            }
            Command::Resume if !self.paused => Ok(Err("the run is not paused".into())),
            Command::Resume => {
                self.unpause();
                done(format!("running from step {step}"))
            }
            Command::Checkpoint => match self.checkpoint("asked", false, false) {
                Some(name) => done(format!("checkpoint {name}")),
                None => Ok(Err("the checkpoint could not be written".into())),
            },
            Command::Eval => {
                let record = self.evaluate()?;
                done(format!("val {:.4} at step {step}", record.val_loss))
            }
            Command::Probe => {
                self.probe()?;
                done(format!("ranks probed at step {step}"))
            }
            Command::Decide if !matches!(self.state.phase, Phase::Round(_)) => {
                let phase = &self.state.phase;
                Ok(Err(format!(
                    "there is nothing to decide in phase {phase}: decisions belong to rounds"
                )))
            }
            Command::Decide => {
                self.open_decision(DecisionReason::Asked)?;
                done(format!("evidence of step {step}"))
            }
            Command::Grow {
                layers,
                mode,
                decision,
            } => {
                if let Some(refusal) = self.stale(*decision).or_else(|| self.cannot_grow(*layers)) {
                    return Ok(Err(refusal));
                }
                let to = self.model.config.n_layer + layers;
                self.resolve(by, command.describe());
                let choice = Choice::Grow {
                    layers: *layers,
                    mode: mode.unwrap_or(self.config.grow.mode),
                };
                Ok(Ok((
                    Boundary::Choice(choice),
                    format!("growing to {to} layers"),
                )))
            }
            Command::TrainOn { steps, decision } => {
                if let Some(refusal) = self.stale(*decision) {
                    return Ok(Err(refusal));
                }
                if *steps == 0 {
                    return Ok(Err("0 steps are no training; give at least 1".into()));
                }
                self.state.due = self.state.phase_step.saturating_add(*steps);
                self.resolve(by, command.describe());
                self.unpause();
                done(format!(
                    "next decision at step {} of the round",
                    self.state.due
                ))
            }
            Command::Extend { .. } | Command::SetLr { .. } | Command::Rollback { .. } => {
                Ok(Err("not known yet".into()))
            }
            Command::Stop { decision } => {
                if let Some(refusal) = self.stale(*decision) {
                    return Ok(Err(refusal));
                }
                self.resolve(by, command.describe());
                Ok(Ok((
                    Boundary::Choice(Choice::Stop),
                    "the present model is the result".into(),
                )))
            }
            Command::Quit => match self.checkpoint("quit", false, false) {
                Some(name) => {
                    let message = format!("checkpoint {name}; the process ends");
                    Ok(Ok((Boundary::End(Ended::Stopped), message)))
                }
                None => Ok(Err(
                    "no checkpoint could be written, so the run goes on; make room first".into(),
                )),
            },
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

    /// Closes the open decision.
    pub(super) fn resolve(&mut self, by: By, choice: String) {
        if let Some(open) = self.state.decision.take() {
            self.emit(Body::Decision {
                id: open.id,
                status: DecisionStatus::Resolved,
                reason: open.reason,
                evidence: None,
                choice: Some(choice),
                by: Some(by),
            });
        }
    }
}
