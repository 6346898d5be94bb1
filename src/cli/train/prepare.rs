//! Everything up to a trainer's first step: config, data, reference, directory, lock, journal, control socket.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};

use super::{Args, Show};
use crate::cli::{located, say};
use crate::config::keys::Key;
use crate::config::resume::{self, Given};
use crate::config::{self, Config, Loaded, PolicyMode, Source, Texts};
use crate::corpus::{Dataset, Tokenizer};
use crate::file::{self, Dir};
use crate::locate;
use crate::run::attendance::Attendance;
use crate::run::command::Request;
use crate::run::control::hub::Hub;
use crate::run::control::server::Server;
use crate::run::create::NewRun;
use crate::run::decisions::{self, Repeat};
use crate::run::dir::RunDir;
use crate::run::event::RunInfo;
use crate::run::handle::{CONFIG, EVENTS, RunHandle};
use crate::run::journal::Journal;
use crate::run::lock::RunLock;
use crate::run::series::keep::{Keeping, SeriesKeeper};
use crate::run::state::{RunState, Status};
use crate::run::tail;
use crate::signals::Signalled;
use crate::text;
use crate::train::checkpoint::Checkpoints;
use crate::train::{Resume, Setup};

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

/// A run that is to go on: held from now on.
struct Reopened {
    dir: RunDir,
    checkpoint: String,
    lock: RunLock,
    past: RunState,
}

impl Args {
    /// Takes the lock of the run that `--resume` names and reads its journal.
    fn reopen(&self, run: &str) -> Result<Reopened> {
        let (dir, checkpoint) = self.resumed(run)?;
        let lock = RunLock::acquire(dir.path())?;
        let past = tail::load(dir.path())?;
        if past.core.status == Status::Done {
            bail!(
                "run {} is done; `heirloom show {}` prints its table",
                dir.name(),
                dir.argument()
            );
        }
        Ok(Reopened {
            dir,
            checkpoint,
            lock,
            past,
        })
    }

    pub(super) fn load(&self) -> Result<Loaded> {
        let source = match (&self.config, &self.resume) {
            (Some(word), _) => Source::named(word)?,
            (None, Some(run)) => Source::Path(self.resumed(run)?.0.config()),
            (None, None) => match &self.decisions {
                Some(run) => Source::Path(RunDir::open(&self.global.runs, run)?.config()),
                None => bail!("name a preset or a config"),
            },
        };
        let mut loaded = config::load(&source, &self.overrides)?;
        config::resolve_paths(&mut loaded.config, &loaded.base);
        Ok(loaded)
    }

    /// The directory and the checkpoint that `--resume` means.
    pub(super) fn resumed(&self, run: &str) -> Result<(RunDir, String)> {
        let (name, checkpoint) = locate::split(run);
        let checkpoint = checkpoint.unwrap_or("latest");
        Ok((RunDir::open(&self.global.runs, name)?, checkpoint.into()))
    }

    /// Everything up to the trainer's first step: config, data, directory, lock, journal.
    pub(super) fn prepare(&self, show: Show) -> Result<Parts> {
        // First of all: a hangup while text is read is no reason to end, and a stop ends without a trace.
        let signalled = Signalled::watch_until_begun().context("cannot watch signals")?;
        let reopened = self.resume.as_ref().map(|run| self.reopen(run));
        let reopened = reopened.transpose()?;
        let info = reopened.as_ref().and_then(|r| r.past.info.clone());
        let machine = self.machine(info.as_ref())?;
        let loaded = self.load()?;
        let mut config = loaded.config;
        // Resolved like everything else, so that a resume elsewhere does not change who decides.
        let policy = *config.policy.mode.get_or_insert(match show {
            Show::Dashboard => PolicyMode::Ask,
            _ => PolicyMode::Auto,
        });
        let repeat = match &self.decisions {
            Some(run) => {
                let dir = RunDir::open(&self.global.runs, run)?;
                let journal = || format!("cannot read {}", text::path(&dir.events()));
                decisions::of_run(dir.path()).with_context(journal)?
            }
            None => match &self.resume {
                Some(run) => {
                    let dir = self.resumed(run)?.0;
                    let file = || format!("cannot read {}", text::path(&dir.decisions()));
                    decisions::kept(&dir).with_context(file)?
                }
                None => Vec::new(),
            },
        };
        let mut past = RunState::default();
        let (dir, lock, journal, reference, dataset, resume) = match reopened {
            Some(reopened) => {
                let (dir, checkpoint, lock) = (reopened.dir, reopened.checkpoint, reopened.lock);
                past = reopened.past;
                let checkpoints = Checkpoints::open(lock.handle())?;
                let mut resume = self.judge_resume(&config, &dir, &checkpoints, &checkpoint)?;
                resume.warnings.splice(..0, machine.changes.clone());
                for line in resume.changes.iter().chain(&resume.warnings) {
                    say::err(line);
                }
                let reference = self.known_reference(&config, &dir, &checkpoint)?;
                let dataset = open_data(&config, reference.as_deref())?;
                signalled.begin();
                let (journal, warning) = Journal::go_on(lock.journal()?, &lock.handle().root())?;
                if let Some(warning) = warning {
                    say::err(&warning);
                }
                (dir, lock, journal, reference, dataset, Some(resume))
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
                let new = NewRun::begin(&self.global.runs, &loaded.name, self.name.as_deref())?;
                let lock = fill(new, &config, &repeat)?;
                let dir = lock.handle().dir().clone();
                let (journal, _) = Journal::go_on(lock.journal()?, &lock.handle().root())?;
                (dir, lock, journal, reference, dataset, None)
            }
        };
        let mut journal = journal;
        let (commands, requests) = std::sync::mpsc::channel();
        let attendance = Attendance::new(show == Show::Dashboard);
        let lock = Arc::new(Mutex::new(lock));
        let hub = Hub::new(Arc::clone(&attendance), past.clone());
        let (held, sender) = (Arc::clone(&lock), commands.clone());
        let server = match Server::start(&dir, Arc::clone(&hub), sender, held) {
            Ok((server, observer)) => {
                journal.subscribe(observer);
                Some(server)
            }
            Err(error) => {
                attendance.tell(format!(
                    "no control socket: {error}; attach and ctl cannot reach this run"
                ));
                None
            }
        };
        Ok(Parts {
            commands,
            hub,
            server,
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
                device: machine.chosen.device,
                device_name: machine.chosen.name,
                device_note: machine.chosen.note,
                threads: machine.threads,
                requests,
                signalled,
                attendance,
                resume,
                repeat,
                lock,
            },
        })
    }

    /// Checks, without holding the run, that it can be resumed with this config, and returns what its journal tells of
    /// it; `None` without `--resume`.
    ///
    /// # Errors
    /// As [`Self::judge_resume`].
    pub(super) fn info_to_resume(&self, config: &Config) -> Result<Option<RunInfo>> {
        let Some(run) = &self.resume else {
            return Ok(None);
        };
        let (dir, checkpoint) = self.resumed(run)?;
        self.judge_resume(config, &dir, &Checkpoints::at(&dir), &checkpoint)?;
        Ok(tail::load(dir.path())?.info)
    }

    /// Compares the config with the run's own, by the rules of the table of keys. `wanted` names the checkpoint.
    ///
    /// # Errors
    /// When a value differs that the run cannot go on with, or there is no such checkpoint.
    pub(super) fn judge_resume(
        &self,
        config: &Config,
        dir: &RunDir,
        checkpoints: &Checkpoints,
        wanted: &str,
    ) -> Result<Resume> {
        let (checkpoint, damage) = checkpoints.to_resume(wanted)?;
        let mut origin = Resume {
            checkpoint,
            damage,
            ..Resume::default()
        };
        let Some(name) = &origin.checkpoint else {
            let run = dir.name();
            let start = format!("run {run} has no checkpoint yet: it starts over");
            origin.changes.push(start);
            return Ok(origin);
        };
        // A damaged one is reported with a way out.
        let state = checkpoints
            .state(name)
            .or_else(|_| checkpoints.verify(name))?;
        // Without the overrides; a file that is only good with them is not compared.
        let stored = config::load(&Source::Path(dir.config()), &[]).ok();
        let stored = stored.map(|mut stored| {
            config::resolve_paths(&mut stored.config, &stored.base);
            resume::values(&stored.config)
        });
        let new = resume::values(config);
        origin.values = match (state.values.is_empty(), &stored) {
            (false, _) => state.values.clone(),
            (true, Some(stored)) => stored.clone(),
            (true, None) => new.clone(),
        };
        let stage = state.stage();
        let changes = resume::changes(&origin.values, &new);
        let given = |key: &Key| {
            let set = self.overrides.iter().filter_map(|s| s.split_once('='));
            match set.into_iter().any(|(path, _)| path.trim() == key.path) {
                true => Given::Set,
                false => Given::File,
            }
        };
        resume::judge(&changes, stage, &dir.argument(), given)?;
        for change in &changes {
            let described = change.describe(stage, &new);
            match change.key.path {
                "train.dtype" => origin.warnings.push(format!(
                    "{described}: from here on the numbers are not those of an undisturbed run to the bit"
                )),
                _ => origin.changes.push(described),
            }
        }
        Ok(origin)
    }

    /// Where the reference lies that the config loads.
    pub(super) fn reference(&self, config: &Config) -> Result<Option<PathBuf>> {
        let Some(name) = &config.reference.path else {
            return Ok(None);
        };
        let located = located(name, &self.global.runs)
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
                let own = || anyhow::Ok(checkpoints.path().join(checkpoints.resolve(checkpoint)?));
                let path =
                    locate::kept(name, &self.global.runs).or_else(|gone| own().map_err(|_| gone));
                Ok(Some(path?))
            }
            _ => self.reference(config),
        }
    }
}

/// Puts into a new run's directory what a resume needs, and only then gives it its name. It is locked before anybody can
/// see it.
fn fill(new: NewRun, config: &Config, repeat: &[Repeat]) -> Result<RunLock> {
    let fill = |root: &Dir| -> std::io::Result<File> {
        let journal = root.open_to_append(EVENTS)?;
        file::lock::lock(&journal)?;
        if !repeat.is_empty() {
            decisions::keep(root, repeat)?;
        }
        root.replace_file(CONFIG, config::to_toml(config).as_bytes())?;
        Ok(journal)
    };
    let journal = new.root().and_then(fill);
    let journal = journal.context("cannot write the new run's directory")?;
    let (dir, root) = new.finish()?;
    Ok(RunLock::of_new(
        &Arc::new(RunHandle::of(&dir, root)?),
        journal,
    )?)
}

/// Writes the resolved config into the run, replacing the former one in one step.
pub(super) fn write_config(run: &RunHandle, config: &Config) -> Result<()> {
    run.root()
        .replace_file(CONFIG, config::to_toml(config).as_bytes())
        .with_context(|| format!("cannot write {}", text::path(&run.dir().config())))
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
