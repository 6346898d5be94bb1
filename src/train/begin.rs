//! Begins a run, or continues one.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use candle_core::Device;

use super::adjust::names;
use super::checkpoint::{Checkpoints, Saved};
use super::configs::Configs;
use super::control::{Control, Pause};
use super::data::Data;
use super::directory::Directory;
use super::keeper::Keeper;
use super::learner::{Learner, bucket_elements};
use super::machine::Machine;
use super::memory::Held;
use super::passes::Passes;
use super::peers::Peers;
use super::plan;
use super::recipe::first_start;
use super::resume::{Resume, check_data, check_shape};
use super::start::Sources;
use super::state::{Task, TrainState};
use super::teacher::TeacherPaths;
use super::trainer::Trainer;
use crate::config::keys::Stage;
use crate::config::{Config, PolicyMode};
use crate::corpus::Dataset;
use crate::dist::Ranks;
use crate::model::DecoderConfig;
use crate::run::command::Request;
use crate::run::decisions::Repeat;
use crate::run::event::{Body, Log, RankLayout, Resumed, RunStatus};
use crate::run::journal::Journal;
use crate::run::lock::RunLock;
use crate::run::presence::Presence;
use crate::signals::Signalled;

/// The inputs of a trainer.
pub struct Setup {
    /// The config, with every default and path resolved.
    pub config: Config,
    pub policy: PolicyMode,
    pub journal: Journal,
    /// Files of the reference that is loaded rather than trained here.
    pub reference: Option<PathBuf>,
    /// Files of the models that baselines learn from.
    pub teachers: TeacherPaths,
    pub dataset: Dataset,
    pub device: Device,
    /// `cpu`, or the number and name of the GPU.
    pub device_name: String,
    /// A remark on the choice of device, for the journal.
    pub device_note: Option<String>,
    pub threads: usize,
    /// The reason why products are computed in the config's `train.dtype`, where that was not simply asked for.
    pub dtype_reason: Option<String>,
    /// Commands from dashboards and scripts.
    pub requests: Receiver<Request>,
    pub signalled: Arc<Signalled>,
    /// Whether an operator can answer a question at present.
    pub presence: Arc<Presence>,
    /// The place from which an interrupted run is continued.
    pub resume: Option<Resume>,
    /// Commands that another run's operator gave, to be given again at the same steps.
    pub repeat: Vec<Repeat>,
    /// The ranks that train this run, of which this process is rank 0. The others [follow](super::follow).
    pub ranks: Arc<dyn Ranks>,
    /// Number and hosts of the ranks; `None` in a run of one process.
    pub layout: Option<RankLayout>,
    /// This process's claim on the run's directory.
    pub lock: Arc<Mutex<RunLock>>,
}

/// The shape of the reference of a run that is resumed: that of its checkpoint, which stays as long as the run; before it is
/// finished, and where it was deleted, that of the checkpoint that the run is resumed from.
fn known_reference(checkpoints: &Checkpoints, saved: &Saved) -> DecoderConfig {
    let name = saved.state.reference_checkpoint.as_deref();
    let files = name.and_then(|name| checkpoints.files(name).ok());
    match files {
        Some(files) => files.config,
        None => {
            let shape = &saved.files.config;
            let layers = saved
                .state
                .benchmark
                .as_ref()
                .map_or(shape.n_layer, |b| b.layers);
            shape.with_layers(vec![1.0; layers])
        }
    }
}

impl Trainer {
    /// Builds or resumes a trainer, and journals it.
    ///
    /// # Errors
    /// When the reference or the checkpoint cannot be read, the shapes do not fit, or the data is not the run's.
    pub fn new(setup: Setup) -> Result<Self> {
        let Setup {
            device, dataset, ..
        } = setup;
        // When dropped after an error below, this dismisses the other ranks.
        let peers = Arc::new(Peers::new(setup.ranks));
        let (place, bucket) = (peers.place(), bucket_elements(&device)?);
        let directory = Directory::new(setup.lock);
        let checkpoints = Checkpoints::open(directory.handle())?.among(peers.engine());
        let data = dataset.fingerprints();
        let resume = setup.resume.clone().unwrap_or_default();
        let config = Configs::new(setup.config, &resume.values);
        let val = dataset.val.len();
        let passes = |reference: &DecoderConfig, state: Option<&TrainState>| -> Result<_> {
            let passes = Passes::of(&config, reference, &device)?.among(&config, place.1)?;
            let asked = config.eval.windows;
            let windows = super::windows::of_run(asked, val, passes.time, state)?;
            Ok((passes.with_eval_windows(windows.windows), windows))
        };
        let (learner, eval_windows, mut state, reference) = match &resume.checkpoint {
            Some(name) => {
                let saved = checkpoints.open_saved(name)?;
                check_data(&saved.state.data, &data, config.wanted(), directory.run())?;
                let shape = &saved.files.config;
                let reference = known_reference(&checkpoints, &saved);
                let wanted = plan::reference_shape(config.wanted(), &dataset.tokenizer);
                check_shape(config.wanted(), &reference, &wanted)?;
                if saved.state.stage() < Stage::Controls {
                    plan::check_baselines(config.wanted(), &reference)?;
                }
                let (passes, windows) = passes(shape, Some(&saved.state))?;
                let learner = Learner::new(shape.clone(), passes, val, &device);
                let mut learner = learner.among(&peers, bucket)?;
                // A model that the next task replaces is not read, unless it is still to be measured.
                let goes_on = saved.state.task == Task::Train;
                if goes_on || saved.state.downstream.is_due() {
                    saved.load_into(&mut learner, saved.state.trains())?;
                }
                (learner, windows, saved.state, reference)
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
                let (text, teachers) = (dataset.bytes_in_memory(), &setup.teachers);
                let phases = plan::phases(&config, &shape, &passes, text, teachers)?;
                // The tokens are in memory already, so this process already holds them.
                let held = Held::now(&device, 0, peers.ranks().on_host());
                plan::check_memory(&config, &phases, &held)?;
                let learner = Learner::new(shape.clone(), passes, val, &device);
                let mut learner = learner.among(&peers, bucket)?;
                let sources = Sources {
                    reference: files.as_ref(),
                    own: None,
                };
                first_start(&config, shape.n_layer).apply(&mut learner, sources, trains)?;
                let state = TrainState {
                    repeat: setup.repeat.into(),
                    ..TrainState::new(data)
                };
                (learner, windows, state, shape)
            }
        };
        let context = learner.passes().time;
        dataset.check_length(context)?;
        plan::windows_of_rank(config.wanted(), context, place.1)?;
        let known_windows = state.eval_windows.replace(eval_windows.windows);
        let now = config.values();
        let round = state.schedule_place().0;
        let overruled = state.live.give_way(&state.values, &now, round);
        state.values = now;
        let mut trainer = Self {
            data: Data::new(dataset, &config, context, eval_windows, place)?,
            keeper: Keeper::new(checkpoints, Arc::clone(directory.handle()))?,
            machine: Machine::new(device, setup.device_name, setup.threads, setup.dtype_reason),
            policy: setup.policy,
            journal: setup.journal,
            control: Control::new(setup.requests, setup.signalled, setup.presence),
            reference_layers: reference.n_layer,
            reference_shape: reference,
            teachers: setup.teachers,
            layout: setup.layout,
            state,
            learner,
            config,
            directory,
        };
        let info = trainer.info();
        if setup.resume.is_some() {
            // The journal may have lost its last lines, including the one that reports this checkpoint.
            trainer.journal.skip_past(trainer.state.seq);
            trainer.keeping().take_stock();
            if let Some(name) = &resume.checkpoint {
                trainer.keeping().mend_links(name);
            }
            trainer.adopt_steps();
            trainer.drop_unwanted_controls();
            trainer.emit(Body::Resumed(Resumed {
                from_seq: trainer.state.seq,
                checkpoint: resume.checkpoint.unwrap_or_else(|| "the start".into()),
                overruled: names(&overruled),
            }));
            trainer.report_run(RunStatus::Running, Some(info), None);
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
            trainer.report_run(RunStatus::Started, Some(info), None);
        }
        // Logged once per run: a resumed run whose state knows its windows has logged it already.
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
        trainer.begin_on_gpu();
        let slow = plan::slow_compute(&trainer.config, trainer.machine.device());
        let blind = eval_windows.warning();
        for warning in setup.device_note.into_iter().chain(slow).chain(blind) {
            trainer.warn(warning);
        }
        Ok(trainer)
    }
}
