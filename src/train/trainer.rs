//! The trainer: what it is made of, how it begins or resumes, and its main loop.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::Device;

use super::adjust::names;
use super::checkpoint::{Checkpoints, Writer};
use super::control::{Control, PAUSED_GLANCE, Pause};
use super::keep::Pending;
use super::learner::Learner;
use super::memory::Held;
use super::outcome::Ended;
use super::owed::Owed;
use super::passes::Passes;
use super::plan;
use super::recipe::first_start;
use super::resume::{Resume, check_data, check_shape};
use super::start::Sources;
use super::state::{Task, TrainState};
use crate::config::resume::{in_force, values};
use crate::config::{Config, PolicyMode};
use crate::corpus::{Batches, Dataset, Draw, Sampler};
use crate::device::{self, Monitor};
use crate::model::DecoderConfig;
use crate::run::command::Request;
use crate::run::decisions::Repeat;
use crate::run::dir::RunDir;
use crate::run::event::{Body, Done, Event, Log, Resumed, RunEvent, RunInfo, RunStatus, Warning};
use crate::run::handle::RunHandle;
use crate::run::journal::{Journal, Place, Stamp};
use crate::run::lock::RunLock;
use crate::run::presence::Presence;
use crate::run::windows::EvalWindows;
use crate::signals::Signalled;

/// How long the end of a process waits for a disk that does not take the journal's last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What a trainer is started with.
pub struct Setup {
    /// With every default and path resolved.
    pub config: Config,
    pub policy: PolicyMode,
    pub dir: RunDir,
    pub journal: Journal,
    /// Files of the reference that is loaded rather than trained here.
    pub reference: Option<PathBuf>,
    pub dataset: Dataset,
    pub device: Device,
    /// The device as users call it.
    pub device_name: String,
    /// What is to be said of the choice of device.
    pub device_note: Option<String>,
    pub threads: usize,
    /// Commands from dashboards and scripts.
    pub requests: Receiver<Request>,
    pub signalled: Arc<Signalled>,
    /// Whether anybody can answer a question at present.
    pub attendance: Arc<Presence>,
    /// Where an interrupted run goes on.
    pub resume: Option<Resume>,
    /// Commands that another run's operator gave, to be given again at the same steps.
    pub repeat: Vec<Repeat>,
    /// This process's claim on the directory.
    pub lock: Arc<Mutex<RunLock>>,
}

/// Runs the recipe of one run directory.
pub struct Trainer {
    /// In force in the present phase.
    pub(super) config: Config,
    /// What `config.toml` says: some of its values may wait for the next phase.
    pub(super) wanted: Config,
    pub(super) policy: PolicyMode,
    pub(super) dir: RunDir,
    /// The run's open directory.
    pub(super) handle: Arc<RunHandle>,
    pub(super) journal: Journal,
    pub(super) dataset: Dataset,
    pub(super) device: Device,
    /// As users call it.
    pub(super) device_name: String,
    pub(super) monitor: Option<Monitor>,
    pub(super) threads: usize,
    pub(super) batches: Batches,
    /// Windows of a batch.
    pub(super) windows: usize,
    pub(super) eval_windows: EvalWindows,
    pub(super) checkpoints: Checkpoints,
    /// Brings checkpoints to disk, and the one it is at.
    pub(super) writer: Writer,
    pub(super) pending: Option<Pending>,
    pub(super) state: TrainState,
    pub(super) learner: Learner,
    /// Loss of each validation window at the latest evaluation.
    pub(super) window_losses: Vec<f64>,
    pub(super) reference_layers: usize,
    pub(super) lock: Arc<Mutex<RunLock>>,
    /// When the run's directory was last looked for, and what was told of it.
    pub(super) looked: Instant,
    pub(super) told_place: Place,
    pub(super) told_lock: bool,
    /// Links and files of probes that could not be written yet.
    pub(super) owed: Owed,
    /// The checkpoint before the growth that comes next or came last.
    pub(super) before_growth: Option<String>,
    /// Whether the run is paused until a result is on disk.
    pub(super) insisting: bool,
    pub(super) control: Control,
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
        let handle = {
            let lock = setup.lock.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lock.handle())
        };
        let checkpoints = Checkpoints::open(&handle)?;
        let data = dataset.fingerprints();
        let resume = setup.resume.clone().unwrap_or_default();
        let wanted = config;
        let config = in_force(&wanted, &resume.values);
        let val = dataset.val.len();
        let passes = |reference: &DecoderConfig, state: Option<&TrainState>| -> Result<_> {
            let passes = Passes::of(&config, reference, &device)?;
            let asked = config.eval.windows;
            let windows = super::windows::of_run(asked, val, passes.time, state)?;
            Ok((passes.with_eval_windows(windows.windows), windows))
        };
        let (learner, eval_windows, mut state, reference_layers) = match &resume.checkpoint {
            Some(name) => {
                let saved = checkpoints.open_saved(name)?;
                check_data(&saved.state.data, &data, &wanted, &dir)?;
                let shape = &saved.files.config;
                let layers = match &saved.state.benchmark {
                    Some(b) => b.layers,
                    None => shape.n_layer,
                };
                let reference = plan::reference_shape(&wanted, &dataset.tokenizer);
                check_shape(&wanted, shape, &reference)?;
                let (passes, windows) = passes(shape, Some(&saved.state))?;
                let mut learner = Learner::new(shape.clone(), passes, val, &device);
                // A model that the next task replaces is not read first.
                if saved.state.task == Task::Train {
                    saved.load_into(&mut learner, saved.state.trains())?;
                }
                (learner, windows, saved.state, layers)
            }
            None => {
                let trains = config.reference.train.as_ref().is_some_and(|r| r.steps > 0);
                let (shape, files) = match &setup.reference {
                    Some(path) => {
                        let files = plan::open_reference(path, &dataset.tokenizer)?;
                        dataset.check_ids(files.config.vocab)?;
                        (files.config.clone(), Some(files))
                    }
                    None => (plan::reference_shape(&config, &dataset.tokenizer), None),
                };
                let (passes, windows) = passes(&shape, None)?;
                let phases = plan::phases(&config, &shape, &passes, dataset.bytes_in_memory())?;
                if let Some(largest) = plan::largest(&phases) {
                    // Tokens are in memory already.
                    let what = format!("the phase {}", largest.phase);
                    largest.memory.check(&what, &Held::now(&device, 0))?;
                }
                let mut learner = Learner::new(shape.clone(), passes, val, &device);
                let sources = Sources {
                    reference: files.as_ref(),
                    own: None,
                };
                first_start(&config, shape.n_layer).apply(&mut learner, sources, trains)?;
                let state = TrainState {
                    repeat: setup.repeat.into(),
                    ..TrainState::new(data)
                };
                (learner, windows, state, shape.n_layer)
            }
        };
        let context = learner.passes().time;
        dataset.check_length(context)?;
        plan::windows(&wanted, context)?;
        let known_windows = state.eval_windows.replace(eval_windows.windows);
        let now = values(&config);
        let overruled = state.live.give_way(&state.values, &now);
        state.values = now;
        let (windows, _) = plan::windows(&config, context)?;
        let mut trainer = Self {
            eval_windows,
            batches: Batches::of(Draw {
                tokens: dataset.train.clone(),
                mixture: dataset.mixture.clone(),
                sampler: Sampler {
                    seed: config.train.seed,
                },
                windows,
                time: context,
            })?,
            writer: Writer::start(checkpoints.clone())?,
            pending: None,
            window_losses: Vec::new(),
            threads: setup.threads,
            monitor: device::monitor(&device),
            device_name: setup.device_name,
            lock: setup.lock,
            looked: Instant::now(),
            told_place: Place::Kept,
            told_lock: false,
            owed: Owed::default(),
            before_growth: None,
            insisting: false,
            policy: setup.policy,
            journal: setup.journal,
            control: Control::new(setup.requests, setup.signalled, setup.attendance),
            reference_layers,
            checkpoints,
            state,
            learner,
            config,
            wanted,
            windows,
            dataset,
            device,
            dir,
            handle,
        };
        let info = trainer.info();
        if setup.resume.is_some() {
            // The journal may have lost its last lines, the one that tells of this checkpoint among them.
            trainer.journal.skip_past(trainer.state.seq);
            trainer.take_stock();
            if let Some(name) = &resume.checkpoint {
                trainer.mend_links(name);
            }
            trainer.adopt_steps();
            trainer.drop_unwanted_controls();
            trainer.emit(Body::Resumed(Resumed {
                from_seq: trainer.state.seq,
                checkpoint: resume.checkpoint.unwrap_or_else(|| "the start".into()),
                overruled: names(&overruled),
            }));
            trainer.tell_run(RunStatus::Running, Some(info), None);
            for message in resume.changes {
                trainer.emit(Body::Log(Log { message }));
            }
            trainer.report_overruled(&overruled);
            for warning in resume.damage.into_iter().chain(resume.warnings) {
                trainer.warn(warning);
            }
            let state = &trainer.state;
            let waits = state.decision.is_some_and(|d| d.phase_step >= state.due);
            if trainer.policy == PolicyMode::Pause && waits {
                trainer.refresh_decision()?;
                trainer.pause(Pause::Waiting, Some("waiting for a decision".into()));
            }
        } else {
            trainer.tell_run(RunStatus::Started, Some(info), None);
        }
        // Said once: a resumed run whose state knows its windows has said so.
        if known_windows.is_none()
            && let Some(note) = eval_windows.note()
        {
            let message = match eval_windows.understated() {
                Some(factor) => format!(
                    "{note}; errors that this run journaled before are {factor:.1} times too small"
                ),
                None => note,
            };
            trainer.emit(Body::Log(Log { message }));
        }
        let slow = plan::slow_compute(&trainer.config, &trainer.device);
        let blind = eval_windows.warning();
        for warning in setup.device_note.into_iter().chain(slow).chain(blind) {
            trainer.warn(warning);
        }
        Ok(trainer)
    }

    pub(super) fn info(&self) -> RunInfo {
        let shape = self.learner.shape();
        RunInfo {
            program: crate::PROGRAM.into(),
            name: self.dir.name(),
            host: crate::run::machine::host_name(),
            pid: std::process::id(),
            device: match self.device.is_cuda() {
                true => self.device_name.clone(),
                false => "cpu".into(),
            },
            threads: self.threads,
            policy: self.policy.to_string(),
            tokenizer: self.dataset.tokenizer.name().into(),
            train_tokens: self.dataset.train.len() as u64,
            val_tokens: self.dataset.val.len() as u64,
            n_layer: self.reference_layers,
            n_head: shape.n_head,
            n_embd: shape.n_embd,
            context_length: self.learner.passes().time,
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
            eval_windows: Some(self.eval_windows),
            tolerance: Some(self.config.matching.tolerance),
            ringing: self.config.notify.ringing(),
        }
    }

    pub(super) fn tell_run(
        &mut self,
        status: RunStatus,
        info: Option<RunInfo>,
        message: Option<String>,
    ) {
        self.emit(Body::Run(RunEvent {
            status,
            info,
            message,
        }));
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
        self.emit(Body::Warning(Warning { message }));
    }

    /// Says once that the journal cannot be written, and once that it can be again.
    pub(super) fn tell_journal_problem(&mut self) {
        if let Some(message) = self.journal.problem() {
            self.warn(message);
        }
    }

    /// Runs the recipe to its end, or to whatever ends this process's part in it.
    pub fn run(&mut self) -> Result<Ended> {
        let ended = loop {
            let task = self.state.task.clone();
            match task {
                Task::Train => {}
                Task::Inherit | Task::Grow { .. } => self.adopt_config()?,
                Task::ControlRandom | Task::ControlReference | Task::Finish => self.drop_waiting(),
            }
            let end = match task {
                Task::Train => self.phase()?,
                Task::Inherit => self.inherit().map(|()| None)?,
                Task::Grow { layers, mode } => self.grow(layers, mode)?,
                Task::ControlRandom => self.control_random().map(|()| None)?,
                Task::ControlReference => self.control_reference().map(|()| None)?,
                Task::Finish => Some(self.finish()),
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.finish_checkpoint();
        self.write_owed();
        match &ended {
            Ended::Done => {}
            Ended::Failed(message) => self.fail(message),
            Ended::Stopped => self.interrupted("stopped by the operator"),
            Ended::Preempted => self.interrupted("checkpointed and stopped"),
            Ended::Lost(_) => self.interrupted("stopped without a checkpoint of its last state"),
        }
        Ok(self.end_journal(ended))
    }

    /// Writes the journal's last lines, retrying for [`LAST_LINES`]. Missing lines are reported.
    fn end_journal(&mut self, ended: Ended) -> Ended {
        let began = Instant::now();
        while !self.journal.flush() {
            if began.elapsed() >= LAST_LINES {
                let why = self.journal.failure().unwrap_or_default();
                let message = format!("the journal's last lines are lost ({why})");
                let run = self.dir.argument();
                return match ended {
                    Ended::Done => Ended::Failed(format!(
                        "the recipe is done, but {message}: heirloom train --resume {run} writes the end again"
                    )),
                    Ended::Stopped => Ended::Failed(format!(
                        "stopped by the operator, but {message}; resume: heirloom train --resume {run}"
                    )),
                    Ended::Preempted => Ended::Lost(format!(
                        "the checkpoint is written, but {message}; resume: heirloom train --resume {run}"
                    )),
                    told => told,
                };
            }
            std::thread::sleep(PAUSED_GLANCE);
        }
        ended
    }

    fn interrupted(&mut self, why: &str) {
        self.journal_news();
        let how = format!(
            "{why}; resume: heirloom train --resume {}",
            self.dir.argument()
        );
        self.tell_run(RunStatus::Interrupted, None, Some(how));
    }

    /// Where a failed run can go on, in words.
    pub fn way_back(&mut self) -> String {
        self.finish_checkpoint();
        match self.checkpoints.newest_whole() {
            Ok(name) => format!(
                "its last good checkpoint is {name}; resume: heirloom train --resume {}",
                self.dir.argument()
            ),
            Err(_) => format!(
                "it has no checkpoint: heirloom train --resume {} starts it over",
                self.dir.argument()
            ),
        }
    }

    /// Tells the journal that the run failed.
    pub fn fail(&mut self, message: &str) {
        self.finish_checkpoint();
        self.journal_news();
        self.emit(Body::Done(Done {
            outcome: None,
            failed: true,
            message: message.into(),
        }));
        self.journal.flush();
    }
}
