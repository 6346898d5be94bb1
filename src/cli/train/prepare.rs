//! Everything up to a trainer's first step: config, data, reference, directory, lock, journal, control socket.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};

use super::{Args, Show};
use crate::cli::{located, say};
use crate::config::{self, Config, Loaded, PolicyMode, Source, Texts};
use crate::corpus::{Dataset, Tokenizer};
use crate::device::Chosen;
use crate::locate;
use crate::run::attendance::Attendance;
use crate::run::command::Request;
use crate::run::control::hub::Hub;
use crate::run::control::server::Server;
use crate::run::decisions;
use crate::run::dir::RunDir;
use crate::run::journal::Journal;
use crate::run::lock::RunLock;
use crate::run::series::keep::{Keeping, SeriesKeeper};
use crate::run::state::{RunState, Status};
use crate::run::tail;
use crate::signals::Signalled;
use crate::train::Setup;
use crate::train::checkpoint::Checkpoints;

/// What `train` holds while it works.
pub(super) struct Parts {
    pub(super) setup: Setup,
    pub(super) dir: RunDir,
    /// What the journal tells of the run before this process.
    pub(super) past: RunState,
    pub(super) commands: Sender<Request>,
    /// What the control socket's clients share, and the socket itself where there is one.
    pub(super) hub: Arc<Hub>,
    pub(super) server: Option<Server>,
    /// Keeps `series.bin` beside the journal.
    pub(super) keeping: Keeping,
    pub(super) attendance: Arc<Attendance>,
    /// Held until the end.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) lock: Arc<Mutex<RunLock>>,
}

impl Args {
    /// The device that `--device` means.
    pub(super) fn computing(&self) -> Result<Chosen> {
        let chosen = self.device.open();
        chosen.with_context(|| format!("--device {}", self.device))
    }

    pub(super) fn load(&self) -> Result<Loaded> {
        let source = match (&self.config, &self.resume) {
            (Some(word), _) => Source::named(word)?,
            (None, Some(run)) => Source::Path(self.resumed(run)?.0.config()),
            (None, None) => match &self.decisions {
                Some(run) => Source::Path(RunDir::open(&self.runs, run)?.config()),
                None => bail!("name a preset or a config"),
            },
        };
        let mut loaded = config::load(&source, &self.overrides)?;
        config::resolve_paths(&mut loaded.config, &loaded.base);
        Ok(loaded)
    }

    /// The directory and the checkpoint that `--resume` means.
    fn resumed(&self, run: &str) -> Result<(RunDir, String)> {
        let (name, checkpoint) = locate::split(run);
        let checkpoint = checkpoint.unwrap_or("latest");
        Ok((RunDir::open(&self.runs, name)?, checkpoint.into()))
    }

    /// Everything up to the trainer's first step: config, data, directory, lock, journal.
    pub(super) fn prepare(&self, show: Show) -> Result<Parts> {
        // First of all: a hangup while text is read is no reason to end, and a stop ends without a trace.
        let signalled = Signalled::watch_until_begun()?;
        let computing = self.computing()?;
        let loaded = self.load()?;
        let mut config = loaded.config;
        // Resolved like everything else, so that a resume elsewhere does not change who decides.
        let policy = *config.policy.mode.get_or_insert(match show {
            Show::Dashboard => PolicyMode::Ask,
            _ => PolicyMode::Auto,
        });
        let repeat = match &self.decisions {
            Some(run) => {
                let dir = RunDir::open(&self.runs, run)?;
                let journal = || format!("cannot read {}", dir.events().display());
                decisions::of_run(dir.path()).with_context(journal)?
            }
            None => match &self.resume {
                Some(run) => {
                    let dir = self.resumed(run)?.0;
                    let file = || format!("cannot read {}", dir.decisions().display());
                    decisions::kept(&dir).with_context(file)?
                }
                None => Vec::new(),
            },
        };
        let mut past = RunState::default();
        let (dir, lock, journal, reference, dataset, resume) = match &self.resume {
            Some(run) => {
                let (dir, checkpoint) = self.resumed(run)?;
                let lock = RunLock::acquire(dir.path())?;
                past = tail::load(dir.path())?;
                if past.core.status == Status::Done {
                    bail!(
                        "run {} is done; `heirloom show {}` prints its table",
                        dir.name(),
                        dir.argument()
                    );
                }
                let reference = self.known_reference(&config, &dir, &checkpoint)?;
                let dataset = open_data(&config, reference.as_deref())?;
                signalled.begin();
                let (journal, warning) = Journal::open(dir.path())?;
                if let Some(warning) = warning {
                    say::err(&warning);
                }
                (dir, lock, journal, reference, dataset, Some(checkpoint))
            }
            None => {
                // Before a directory is made: a run without data is none.
                let reference = self.reference(&config)?;
                if let (Some(name), Some(path)) = (&mut config.reference.path, &reference) {
                    // What the hub calls main may be another model when the run is repeated.
                    *name = locate::pinned(name, path);
                }
                let dataset = open_data(&config, reference.as_deref())?;
                signalled.begin();
                let dir = RunDir::create(&self.runs, &loaded.name, self.name.as_deref())?;
                let lock = RunLock::acquire(dir.path())?;
                write_config(&dir, &config)?;
                if !repeat.is_empty() {
                    let file = || format!("cannot write {}", dir.decisions().display());
                    decisions::keep(&dir, &repeat).with_context(file)?;
                }
                let journal = Journal::create(dir.path())?;
                (dir, lock, journal, reference, dataset, None)
            }
        };
        let mut journal = journal;
        let (commands, requests) = std::sync::mpsc::channel();
        let attendance = Attendance::new(show == Show::Dashboard);
        let lock = Arc::new(Mutex::new(lock));
        let hub = Hub::new(Arc::clone(&attendance), past.clone());
        let server = listen(&dir, &hub, &commands, &mut journal, &lock);
        if let Err(error) = &server {
            attendance.tell(format!(
                "no control socket: {error:#}; attach and ctl cannot reach this run"
            ));
        }
        Ok(Parts {
            commands,
            hub,
            server: server.ok(),
            keeping: SeriesKeeper::spawn(dir.path()),
            attendance: Arc::clone(&attendance),
            dir: dir.clone(),
            past,
            lock: Arc::clone(&lock),
            setup: Setup {
                config,
                policy,
                dir,
                journal,
                reference,
                dataset,
                device: computing.device,
                device_name: computing.name,
                device_note: computing.note,
                threads: self.threads(),
                requests,
                signalled,
                attendance,
                resume,
                repeat,
                lock,
            },
        })
    }

    /// Where the reference lies that the config loads.
    pub(super) fn reference(&self, config: &Config) -> Result<Option<PathBuf>> {
        let Some(name) = &config.reference.path else {
            return Ok(None);
        };
        let located = located(name, &self.runs)
            .with_context(|| format!("reference.path = \"{name}\" cannot be used"))?;
        Ok(Some(located.path))
    }

    /// The same of a run that goes on. Its checkpoints hold the weights and the tokenizer, so that nobody is asked for a
    /// reference that is not at hand any more.
    fn known_reference(
        &self,
        config: &Config,
        dir: &RunDir,
        checkpoint: &str,
    ) -> Result<Option<PathBuf>> {
        let checkpoints = Checkpoints::at(dir);
        match &config.reference.path {
            Some(name) if !checkpoints.names().is_empty() => {
                let own = || anyhow::Ok(checkpoints.dir().join(checkpoints.resolve(checkpoint)?));
                let path = locate::kept(name, &self.runs).or_else(|gone| own().map_err(|_| gone));
                Ok(Some(path?))
            }
            _ => self.reference(config),
        }
    }
}

/// Opens the control socket and tells its address in the lock.
fn listen(
    dir: &RunDir,
    hub: &Arc<Hub>,
    commands: &Sender<Request>,
    journal: &mut Journal,
    lock: &Mutex<RunLock>,
) -> Result<Server> {
    let (server, observer) = Server::start(dir, Arc::clone(hub), commands.clone())?;
    let address = server.address().display().to_string();
    if let Ok(mut lock) = lock.lock() {
        lock.set_socket(Some(address))?;
    }
    journal.subscribe(observer);
    Ok(server)
}

/// Writes the resolved config into the run, replacing the former one whole.
pub(super) fn write_config(dir: &RunDir, config: &Config) -> Result<()> {
    let path = dir.config();
    let new = path.with_extension("toml.new");
    std::fs::write(&new, config::to_toml(config))
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(in crate::cli) fn open_data(config: &Config, reference: Option<&Path>) -> Result<Dataset> {
    let d = &config.data;
    // A reference that is read brings its own context, which the trainer checks.
    let context = match &config.reference.path {
        Some(_) => 1,
        None if config.train.context_length > 0 => config.train.context_length,
        None => config.model.context_length,
    };
    let tokenizer = tokenizer(config, reference)?;
    let dataset = Dataset::open(
        &d.train.sources(),
        d.val.as_ref().map(Texts::paths),
        d.val_fraction,
        &tokenizer,
        context,
        &|line| say::err(line),
    )?;
    Ok(dataset)
}

/// The tokenizer that the config means; `reference` is the one beside the reference's weights.
fn tokenizer(config: &Config, reference: Option<&Path>) -> Result<Tokenizer> {
    let name = config.tokenizer();
    let tokenizer = match (&config.reference.path, name) {
        (Some(_), "reference") => {
            let path = reference.context("located before")?;
            locate::tokenizer(path).context("data.tokenizer = \"reference\"")?
        }
        _ => Tokenizer::from_name(name)?,
    };
    if config.reference.train.is_some() && config.model.vocab > 0 {
        tokenizer
            .fits(config.model.vocab)
            .context("model.vocab is too small; 0 takes what the tokenizer needs")?;
    }
    Ok(tokenizer)
}
