//! The trainer: what it is made of, its main loop, and its answers to commands.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};

use super::attendance::Attendance;
use super::checkpoint::Checkpoints;
use super::optimizer::Optimizer;
use super::plan;
use super::signals::Signalled;
use super::state::{Task, TrainState};
use crate::config::{Config, PolicyMode};
use crate::corpus::{Dataset, Sampler};
use crate::eval::Evaluator;
use crate::model::{Gpt2, Mode, Workspace};
use crate::run::command::{By, Command, GrowMode, Request};
use crate::run::dir::RunDir;
use crate::run::event::{
    Body, DecisionReason, DecisionStatus, Event, Outcome, Phase, RunInfo, RunStatus,
};
use crate::run::journal::{Journal, Stamp};

/// How often a paused trainer looks at signals and the clock.
const PAUSED_GLANCE: Duration = Duration::from_millis(100);

/// What a trainer is started with.
pub struct Setup {
    /// With every default and path resolved.
    pub config: Config,
    pub policy: PolicyMode,
    pub dir: RunDir,
    pub journal: Journal,
    pub dataset: Dataset,
    pub device: Device,
    pub threads: usize,
    /// Commands from dashboards and scripts.
    pub requests: Receiver<Request>,
    pub signalled: Arc<Signalled>,
    /// Whether anybody can answer a question at present.
    pub attendance: Arc<Attendance>,
    /// Checkpoint to go on from.
    pub resume: Option<String>,
}

/// How a trainer's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The recipe is done.
    Done,
    /// Stopped by the operator before a decision; resumable.
    Stopped,
    /// Asked to stop by a signal, or left alone with a question; resumable.
    Preempted,
    /// It cannot go on.
    Failed(String),
}

/// What the operator or the policy chose at a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Grow {
        layers: usize,
        mode: GrowMode,
    },
    Stop,
    /// A limit of the policy ends the recipe.
    Limit(Outcome),
}

/// What a step boundary leads to.
pub(super) enum Boundary {
    Step,
    Choice(Choice),
    End(Ended),
}

/// Runs the recipe of one run directory.
pub struct Trainer {
    pub(super) config: Config,
    pub(super) policy: PolicyMode,
    pub(super) dir: RunDir,
    pub(super) journal: Journal,
    pub(super) dataset: Dataset,
    pub(super) device: Device,
    pub(super) sampler: Sampler,
    pub(super) evaluator: Evaluator,
    pub(super) checkpoints: Checkpoints,
    pub(super) tokenizer_json: Vec<u8>,
    pub(super) state: TrainState,
    pub(super) model: Gpt2,
    pub(super) optimizer: Optimizer,
    pub(super) workspace: Workspace,
    pub(super) probe_buffers: Option<(Workspace, Tensor)>,
    pub(super) inputs: Vec<u32>,
    pub(super) targets: Vec<u32>,
    /// Windows per optimizer step.
    pub(super) windows: usize,
    /// Loss of each validation window at the latest evaluation.
    pub(super) window_losses: Vec<f64>,
    pub(super) reference_layers: usize,
    pub(super) paused: bool,
    requests: Receiver<Request>,
    signalled: Arc<Signalled>,
    attendance: Arc<Attendance>,
}

impl Trainer {
    /// Builds or resumes a trainer and tells the journal so.
    ///
    /// # Errors
    /// When the reference or the checkpoint cannot be read, the shapes do not fit, or the data is not the run's.
    pub fn new(setup: Setup) -> Result<Self> {
        let Setup {
            config,
            device,
            dataset,
            dir,
            ..
        } = setup;
        let checkpoints = Checkpoints::open(&dir)?;
        std::fs::create_dir_all(dir.rank())?;
        let data = [dataset.train.fingerprint(), dataset.val.fingerprint()];
        let resume = match &setup.resume {
            // Interrupted before its first checkpoint: there is nothing to lose by beginning again.
            Some(name) if name == "latest" && checkpoints.names().is_empty() => None,
            // Interrupted between a checkpoint and its link, or the link was lost in a copy.
            Some(name) if name == "latest" && checkpoints.resolve(name).is_err() => {
                Some(checkpoints.newest_whole()?)
            }
            Some(name) => Some(checkpoints.resolve(name)?),
            None => None,
        };
        let (model, optimizer, state, reference_layers) = match &resume {
            Some(name) => {
                let loaded = checkpoints.load(name, &device)?;
                if loaded.state.data != data {
                    bail!(
                        "the training or validation text has changed since this run began; it cannot be continued on other data"
                    );
                }
                let layers = match &loaded.state.benchmark {
                    Some(b) => b.layers,
                    None => loaded.model.config.n_layer,
                };
                (loaded.model, loaded.optimizer, loaded.state, layers)
            }
            None => {
                let model = match &config.reference.path {
                    Some(path) => plan::load_reference(path, &dataset.tokenizer, &device)?,
                    None => {
                        let shape = plan::reference_shape(&config, &dataset.tokenizer);
                        Gpt2::random(shape, config.train.seed, &device)?
                    }
                };
                let layers = model.config.n_layer;
                let optimizer = Optimizer::new(&model, &device)?;
                (model, optimizer, TrainState::new(data), layers)
            }
        };
        if let Some(benchmark) = &state.benchmark {
            let (had, has) = (benchmark.losses.len(), config.eval.windows);
            if had != has {
                bail!(
                    "the reference was measured on {had} windows, eval.windows is {has} now: gaps would compare different text"
                );
            }
        }
        let context = model.config.context_length;
        dataset.check_length(context)?;
        let (windows, micro) = plan::windows(&config, context)?;
        let mut trainer = Self {
            evaluator: Evaluator::new(
                &model.config,
                dataset.val.len(),
                config.eval.windows,
                &device,
            )?,
            workspace: Workspace::new(&model.config, micro, context, Mode::Train, &device)?,
            sampler: Sampler {
                seed: config.train.seed,
            },
            tokenizer_json: serde_json::to_vec(&dataset.tokenizer.tokenizer_json())?,
            inputs: vec![0; micro * context],
            targets: vec![0; micro * context],
            probe_buffers: None,
            window_losses: Vec::new(),
            paused: false,
            policy: setup.policy,
            journal: setup.journal,
            requests: setup.requests,
            signalled: setup.signalled,
            attendance: setup.attendance,
            windows,
            reference_layers,
            checkpoints,
            state,
            model,
            optimizer,
            config,
            dataset,
            device,
            dir,
        };
        let info = trainer.info(setup.threads);
        if setup.resume.is_some() {
            trainer.take_stock();
            trainer.adopt_steps();
            trainer.emit(Body::Resumed {
                from_seq: trainer.state.seq,
                checkpoint: resume.unwrap_or_else(|| "the start".into()),
            });
            trainer.tell_run(RunStatus::Running, Some(info), None);
            let state = &trainer.state;
            let waits = state.decision.is_some_and(|d| d.phase_step >= state.due);
            if trainer.policy == PolicyMode::Pause && waits {
                trainer.pause(Some("waiting for a decision".into()));
            }
        } else {
            trainer.tell_run(RunStatus::Started, Some(info), None);
        }
        Ok(trainer)
    }

    /// A resume may bring another number of steps for the phase in progress; a decision that extended it stays.
    fn adopt_steps(&mut self) {
        let planned = match self.state.phase {
            Phase::Reference => self.config.reference.train.as_ref().map_or(0, |r| r.steps),
            Phase::Round(_) => self.config.train.steps,
            _ => return,
        };
        if self.state.due == self.state.steps {
            self.state.due = planned;
        }
        self.state.steps = planned;
    }

    fn info(&self, threads: usize) -> RunInfo {
        let shape = &self.model.config;
        RunInfo {
            program: crate::PROGRAM.into(),
            name: self.dir.name(),
            host: crate::run::lock::host_name(),
            pid: std::process::id(),
            device: "cpu".into(),
            threads,
            policy: self.policy.to_string(),
            tokenizer: self.dataset.tokenizer.name().into(),
            train_tokens: self.dataset.train.len() as u64,
            val_tokens: self.dataset.val.len() as u64,
            n_layer: self.reference_layers,
            n_head: shape.n_head,
            n_embd: shape.n_embd,
            context_length: shape.context_length,
            vocab: shape.vocab,
            batch_tokens: self.config.train.batch_tokens,
            reference_steps: self.config.reference.train.as_ref().map_or(0, |r| r.steps),
            round_steps: self.config.train.steps,
            grow_step: self.config.grow.step,
            grow_mode: self.config.grow.mode,
            max_layers: plan::max_layers(&self.config, self.reference_layers),
            tau: self.config.probe.tau,
            probe_length: self.config.probe.length,
            control_random: self.config.control.random,
            control_reference: self.config.control.reference_continued,
        }
    }

    pub(super) fn tell_run(
        &mut self,
        status: RunStatus,
        info: Option<RunInfo>,
        message: Option<String>,
    ) {
        self.emit(Body::Run {
            status,
            info,
            message,
        });
        self.journal.flush();
    }

    /// Journals an event at the present step.
    pub(super) fn emit(&mut self, body: Body) -> Event {
        let stamp = Stamp {
            step: self.state.step,
            phase: self.state.phase.clone(),
            phase_step: self.state.phase_step,
            branch: self.state.branch,
        };
        self.journal.emit(stamp, body)
    }

    pub(super) fn warn(&mut self, message: String) {
        self.emit(Body::Warning { message });
    }

    /// Says once that the journal cannot be written, and once that it can be again.
    pub(super) fn tell_journal_problem(&mut self) {
        if let Some(message) = self.journal.problem() {
            self.warn(message);
        }
    }

    /// The learning rate of the next update.
    pub(super) fn learning_rate(&self) -> f64 {
        let state = &self.state;
        // A control follows the rounds it is compared with.
        let steps = match state.phase {
            Phase::ControlRandom | Phase::ControlReference => self.config.train.steps,
            _ => state.steps,
        };
        plan::learning_rate(&self.config, &state.phase, steps).at(state.schedule_step())
    }

    /// Runs the recipe to its end, or to whatever ends this process's part in it.
    pub fn run(&mut self) -> Result<Ended> {
        let ended = loop {
            let end = match self.state.task.clone() {
                Task::Train => self.phase()?,
                Task::Inherit => self.inherit().map(|()| None)?,
                Task::Grow { layers, mode } => self.grow(layers, mode).map(|()| None)?,
                Task::ControlRandom => self.control_random().map(|()| None)?,
                Task::ControlReference => self.control_reference().map(|()| None)?,
                Task::Finish => {
                    self.finish();
                    Some(Ended::Done)
                }
            };
            if let Some(end) = end {
                break end;
            }
        };
        match &ended {
            Ended::Done => {}
            Ended::Failed(message) => self.fail(message),
            Ended::Stopped => self.interrupted("stopped by the operator"),
            Ended::Preempted => self.interrupted("checkpointed and stopped"),
        }
        self.journal.flush();
        Ok(ended)
    }

    fn interrupted(&mut self, why: &str) {
        let how = format!("{why}; go on with --resume {}", self.dir.argument());
        self.tell_run(RunStatus::Interrupted, None, Some(how));
    }

    /// Tells the journal that the run failed.
    pub fn fail(&mut self, message: &str) {
        self.emit(Body::Done {
            outcome: None,
            failed: true,
            message: message.into(),
        });
        self.journal.flush();
    }

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
                    mode: *mode,
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
    fn stale(&self, decision: u64) -> Option<String> {
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
