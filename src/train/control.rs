//! Decides what happens at a step boundary, before anything is done: commands, signals, the clock, limits and pauses become one
//! [`Verdict`]. Steps, evaluations and commands follow from verdicts alone, so that a process that is given the same verdicts takes the
//! same steps. While a result is not on disk, a [`Retry`] is decided instead.

mod retry;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::state::TrainState;
use crate::config::Config;
use crate::rank::ProbeBudget;
use crate::run::command::{By, Command, Reply, Request};
use crate::run::event::{Body, Outcome, Phase};
use crate::run::presence::Presence;
use crate::signals::Signalled;

pub(super) use retry::{Retry, STOP_PATIENCE};

/// Interval at which a paused trainer checks signals and the clock.
pub(super) const PAUSED_GLANCE: Duration = Duration::from_millis(100);

/// A decision at a step boundary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Train a step. When an evaluation is due after it, a probe follows if there is `probe` time.
    Step { probe: bool },
    /// Apply a command.
    Obey { by: By, command: Command },
    /// Drop the `count` commands of another run that are still to be repeated: this run has passed `step` without them.
    Diverged { step: u64, count: usize },
    /// Write a checkpoint and end the process, as a signal asks.
    Preempt { signal: Option<String> },
    /// End the recipe at a limit of the policy.
    Limit { outcome: Outcome },
    /// Look again soon: the run is paused.
    Wait,
    /// End the process: a question has waited for `policy.unattended_minutes`, which leaves a checkpoint, or something has failed and no
    /// operator is present.
    Leave,
}

/// The kind of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// An operator paused it and will resume it.
    Ordered,
    /// The trainer itself waits for an answer; unattended, it ends.
    Waiting,
}

/// The sender of a command, who waits for the answer.
#[derive(Debug, Default)]
pub(super) struct Sender {
    pub(super) pid: Option<u32>,
    pub(super) reply: Option<Reply>,
}

impl Sender {
    /// Separates a request into who gives the command, the command and its sender.
    fn of(request: Request) -> (By, Command, Self) {
        let Request {
            by,
            command,
            pid,
            reply,
        } = request;
        (by, command, Self { pid, reply })
    }
}

/// Everything outside the trainer that may decide what happens at a boundary.
pub(super) struct Control {
    requests: Receiver<Request>,
    /// Requests that were received while something else was done, oldest first.
    received: VecDeque<Request>,
    signalled: Arc<Signalled>,
    presence: Arc<Presence>,
    paused: Option<Pause>,
    /// The time at which a stop was first seen while a result was not on disk ([`Retry`]).
    stop_seen: Option<Instant>,
}

impl Control {
    pub(super) fn new(
        requests: Receiver<Request>,
        signalled: Arc<Signalled>,
        presence: Arc<Presence>,
    ) -> Self {
        Self {
            requests,
            received: VecDeque::new(),
            signalled,
            presence,
            paused: None,
            stop_seen: None,
        }
    }

    /// Decides what is done at the boundary that `state` has come to, `elapsed` seconds of run time after its beginning. With
    /// [`Verdict::Obey`] comes the sender of the command.
    pub(super) fn verdict(
        &mut self,
        state: &mut TrainState,
        config: &Config,
        elapsed: f64,
    ) -> (Verdict, Sender) {
        let alone = |verdict| (verdict, Sender::default());
        // A stop does not wait for a stream of commands.
        if self.signalled.stop() {
            let signal = self.signal().map(str::to_string);
            return alone(Verdict::Preempt { signal });
        }
        if let Some(command) = repeated(state) {
            let by = By::Decisions;
            return alone(Verdict::Obey { by, command });
        }
        if let Some((step, count)) = diverged(state) {
            return alone(Verdict::Diverged { step, count });
        }
        if let Some(request) = self
            .received
            .pop_front()
            .or_else(|| self.requests.try_recv().ok())
        {
            let (by, command, sender) = Sender::of(request);
            return (Verdict::Obey { by, command }, sender);
        }
        if let Some(outcome) = limit(state, config, elapsed) {
            return alone(Verdict::Limit { outcome });
        }
        alone(match self.paused {
            None => Verdict::Step {
                probe: has_time_to_probe(state, config),
            },
            Some(Pause::Waiting) if self.left_alone(state, config) => Verdict::Leave,
            Some(_) => Verdict::Wait,
        })
    }

    /// Decides what follows a failure that only an operator can resolve: [`Verdict::Wait`] if one can be asked, or another run's decisions
    /// answer, and [`Verdict::Leave`] otherwise.
    pub(super) fn verdict_on_failure(&self, state: &TrainState) -> Verdict {
        match self.attended(state) {
            true => Verdict::Wait,
            false => Verdict::Leave,
        }
    }

    /// Waits a moment for a request; the next verdict is about it.
    pub(super) fn wait(&mut self) {
        if let Some(request) = self.receive() {
            self.received.push_front(request);
        }
    }

    /// Returns the next request, waiting a moment for it.
    fn receive(&mut self) -> Option<Request> {
        // A request that was overtaken by a signal.
        if let Some(request) = self.received.pop_front() {
            return Some(request);
        }
        match self.requests.recv_timeout(PAUSED_GLANCE) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // No client can send any more. Signals still come.
                std::thread::sleep(PAUSED_GLANCE);
                None
            }
        }
    }

    /// Whether a signal asks for the end of the process, or a command waits that `ends` what is being done.
    pub(super) fn is_interrupted(&mut self, ends: impl Fn(&Command) -> bool) -> bool {
        self.received.extend(self.requests.try_iter());
        self.must_stop() || self.received.iter().any(|r| ends(&r.command))
    }

    /// Takes the first command that is `wanted` out of those that wait.
    pub(super) fn take(
        &mut self,
        wanted: impl Fn(&Command) -> bool,
    ) -> Option<(By, Command, Sender)> {
        self.received.extend(self.requests.try_iter());
        let found = self.received.iter().position(|r| wanted(&r.command))?;
        self.received.remove(found).map(Sender::of)
    }

    /// Whether an operator can answer, or another run's decisions do.
    fn attended(&self, state: &TrainState) -> bool {
        repeats_here(state) || self.presence.is_present()
    }

    /// Whether no operator has been there for as long as a question waits.
    fn left_alone(&self, state: &TrainState, config: &Config) -> bool {
        let patience = 60.0 * config.policy.unattended_minutes;
        !self.attended(state) && self.presence.alone_for().as_secs_f64() >= patience
    }

    /// Returns the next event that clients have left for the journal.
    pub(super) fn news(&self) -> Option<Body> {
        self.presence.news()
    }

    pub(super) fn paused(&self) -> Option<Pause> {
        self.paused
    }

    /// Stops stepping. Returns whether the run was running.
    pub(super) fn pause(&mut self, kind: Pause) -> bool {
        self.paused.replace(kind).is_none()
    }

    /// Ends a pause. Returns whether the run was paused.
    pub(super) fn resume(&mut self) -> bool {
        self.paused.take().is_some()
    }

    /// Whether a signal has asked for the end of the process.
    pub(super) fn must_stop(&self) -> bool {
        self.signalled.stop()
    }

    /// The signal that has.
    fn signal(&self) -> Option<&'static str> {
        self.signalled.name()
    }
}

/// Whether the time budget allows another probe.
fn has_time_to_probe(state: &TrainState, config: &Config) -> bool {
    let budget = ProbeBudget {
        share: config.probe.budget,
    };
    budget.may_probe(
        state.train_seconds,
        state.probe_seconds,
        state.last_probe_seconds,
    )
}

/// Takes the next command of another run if it belongs to this very step.
fn repeated(state: &mut TrainState) -> Option<Command> {
    match repeats_here(state) {
        true => state.repeat.pop_front().map(|r| r.command),
        false => None,
    }
}

fn repeats_here(state: &TrainState) -> bool {
    let next = state.repeat.front();
    next.is_some_and(|r| r.step == state.step && r.phase == state.phase)
}

/// The step of the next command of another run, and how many there are, where this run has passed that step.
fn diverged(state: &mut TrainState) -> Option<(u64, usize)> {
    let next = state.repeat.front()?;
    let passed = next.phase == state.phase && next.step < state.step;
    passed.then_some((next.step, state.repeat.len()))
}

/// The limit of the policy that a recipe has come to.
fn limit(state: &TrainState, config: &Config, elapsed: f64) -> Option<Outcome> {
    let p = &config.policy;
    if !matches!(state.phase, Phase::Reference | Phase::Round(_)) {
        return None;
    }
    if p.max_tokens > 0 && state.tokens >= p.max_tokens {
        return Some(Outcome::LimitTokens);
    }
    (p.max_hours > 0.0 && elapsed >= 3600.0 * p.max_hours).then_some(Outcome::LimitHours)
}

#[cfg(test)]
mod tests;
