//! Checks before a screen is shown and a text is read: config, lock, device, name, and the existence of all files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use anyhow::{Context, Result, bail};

use super::args::{Args, Show};
use super::data::{tokenizer, unusable};
use super::dtype::Dtype;
use super::machine::Machine;
use super::outline;
use super::resume::Reopened;
use crate::cli::find::found;
use crate::cli::{Global, help, say};
use crate::config::{self, Config, Loaded, PolicyMode, Source, TokenizerChoice};
use crate::corpus;
use crate::dashboard::starting::Facts;
use crate::locate::{HUB, Located};
use crate::run::command::Request;
use crate::run::control::hub::Hub;
use crate::run::control::who;
use crate::run::create::NewName;
use crate::run::decisions::{self, Repeat};
use crate::run::dir::RunDir;
use crate::run::journal::Observer;
use crate::run::lock::RunLock;
use crate::run::notify::command::Order;
use crate::run::presence::Presence;
use crate::run::shared::SharedRun;
use crate::run::state::RunState;
use crate::run::table;
use crate::signals::Signalled;
use crate::text::{self, exact};
use crate::threads;
use crate::train::checkpoint::Checkpoints;
use crate::train::{Passes, Resume, plan};

/// A run that has passed every check that needs neither its texts nor its models.
pub(super) struct Plan {
    /// With every default and path resolved.
    pub(super) config: Config,
    pub(super) policy: PolicyMode,
    pub(super) repeat: Vec<Repeat>,
    pub(super) machine: Machine,
    pub(super) dtype: Dtype,
    pub(super) signalled: Arc<Signalled>,
    pub(super) what: Planned,
    /// The reference that was found at its path.
    pub(super) reference: Option<Located>,
    /// The run as its journal describes it so far, and the receiver of the journal's new events.
    pub(super) run: Arc<SharedRun>,
    pub(super) observer: Observer,
    pub(super) commands: Sender<Request>,
    pub(super) requests: Receiver<Request>,
    /// The first file that will be read, and the bytes of its text.
    pub(super) reads: (String, u64),
    pub(super) presence: Arc<Presence>,
    /// Shared by the clients of the control socket.
    pub(super) hub: Arc<Hub>,
    /// The command that notifies the operator.
    pub(super) notify: Order,
}

/// A new run, or a resumed one whose lock is held.
pub(super) enum Planned {
    New(NewName),
    Resumed {
        dir: RunDir,
        lock: RunLock,
        checkpoint: String,
        resume: Box<Resume>,
    },
}

impl Plan {
    /// Returns the run's name. The name of a new run is not reserved yet: another process may take it.
    pub(super) fn name(&self) -> String {
        match &self.what {
            Planned::New(name) => name.as_str().into(),
            Planned::Resumed { dir, .. } => dir.name(),
        }
    }

    /// Returns the run's directory under `runs`, which need not exist yet.
    pub(super) fn dir(&self, runs: &Path) -> PathBuf {
        match &self.what {
            Planned::New(name) => runs.join(name.as_str()),
            Planned::Resumed { dir, .. } => dir.path().into(),
        }
    }

    /// Returns the facts that a screen can show before anything is read.
    pub(super) fn facts(&self) -> Facts {
        let n_layer = |state: &RunState| state.info.as_ref().map(|info| info.n_layer);
        let known = self.run.with(n_layer);
        let trained = self.config.reference.train.as_ref();
        let n_layer = trained.map(|_| self.config.model.n_layer).or(known);
        let mut phases = outline::phases(&self.config, n_layer);
        if let Planned::Resumed { resume, .. } = &self.what {
            let from = resume.checkpoint.as_deref().unwrap_or("the start");
            phases.push(format!("Resume from {from}"));
        }
        Facts {
            title: self.name(),
            device: format!(
                "{} · {} · {}",
                self.machine.chosen.name,
                table::plural(self.machine.threads, "thread"),
                self.dtype.precision.name()
            ),
            phases,
        }
    }
}

impl Args {
    pub(super) fn load(&self) -> Result<Loaded> {
        let source = match (&self.config, &self.resume) {
            (Some(word), _) => Source::named(word)?,
            (None, Some(run)) => Source::Run(self.resumed(run)?.0.config()),
            (None, None) => match &self.decisions {
                Some(run) => Source::Run(RunDir::open(&self.global.runs, run)?.config()),
                None => bail!("{}", help::no_config()),
            },
        };
        let mut loaded = config::load(&source, &self.overrides())?;
        config::resolve_paths(&mut loaded.config, &loaded.base);
        Ok(loaded)
    }

    /// Makes all quick checks, and takes the lock of a resumed run.
    ///
    /// # Errors
    /// When the arguments or the config are not usable, a file is missing, or the run is in use.
    pub(super) fn check(&self, show: Show) -> Result<Plan> {
        // Signals are handled first: while text is read, a hangup must not end the process, and a stop must leave no files.
        let signalled = Signalled::watch_until_begun().context("cannot watch signals")?;
        let reopened = self.resume.as_ref().map(|run| self.reopen(run));
        let reopened = reopened.transpose()?;
        let info = reopened.as_ref().and_then(|r| r.past.info.clone());
        let machine = self.machine(info.as_ref())?;
        let loaded = self.load()?;
        let mut config = loaded.config;
        let dtype = self.resolve_dtype(&mut config, &machine.chosen.device, info.as_ref())?;
        // Stored in the resolved config, so that a resume in another place does not change who decides.
        let policy = *config.policy.mode.get_or_insert(match show {
            Show::Dashboard | Show::Prompts => PolicyMode::Ask,
            _ => PolicyMode::Auto,
        });
        let repeat = self.decisions_to_repeat()?;
        let mut past = RunState::default();
        let what = match reopened {
            Some(Reopened {
                dir,
                checkpoint,
                lock,
                past: before,
            }) => {
                past = before;
                let checkpoints = Checkpoints::open(lock.handle())?;
                let mut resume = self.judge_resume(&config, &dir, &checkpoints, &checkpoint)?;
                resume.warnings.splice(..0, machine.changes.clone());
                resume.changes.extend(dtype.note.clone());
                for line in resume.changes.iter().chain(&resume.warnings) {
                    say::err(line);
                }
                Planned::Resumed {
                    dir,
                    lock,
                    checkpoint,
                    resume: Box::new(resume),
                }
            }
            None => {
                let name = self.name.as_deref();
                Planned::New(NewName::choose(&self.global.runs, &loaded.name, name)?)
            }
        };
        let reference = match &what {
            // The checkpoints hold the reference, so its original may be missing.
            Planned::Resumed { resume, .. } if resume.checkpoint.is_some() => None,
            _ => self.find_reference(&config)?,
        };
        let reads = check_data(&config)?;
        if matches!(what, Planned::New(_)) {
            check_sizes(&config, &machine)?;
        }
        let (commands, requests) = std::sync::mpsc::channel();
        let presence = Presence::new(matches!(show, Show::Dashboard | Show::Prompts));
        let (run, observer) = SharedRun::begin(past)?;
        let hub = Hub::new(Arc::clone(&presence), Arc::clone(&run));
        let own = Arc::clone(&hub);
        // A directory service may be slow, so a thread asks it. If no thread can be started, the dashboard shows no user name.
        let _ = threads::spawn("who", move || {
            own.introduce_own(who::describe(std::process::id()));
        });
        run.add_sink(hub.sink());
        let notify = self.notify_order(&config, &presence);
        Ok(Plan {
            config,
            policy,
            repeat,
            machine,
            dtype,
            signalled,
            what,
            reference,
            run,
            observer,
            commands,
            requests,
            reads,
            presence,
            hub,
            notify,
        })
    }

    /// Returns the command that notifies the operator. A command that lies in the run's own directory is refused with a warning,
    /// because the directory may come from an untrusted source.
    fn notify_order(&self, config: &Config, presence: &Presence) -> Order {
        let mut command = config.notify.command.clone();
        let is_given = self.config.is_some()
            || self.overrides().iter().any(|set| {
                set.split_once('=')
                    .is_some_and(|(path, _)| path.trim() == "notify.command")
            });
        if !is_given && !command.is_empty() {
            let value = toml::Value::from(std::mem::take(&mut command));
            let set = text::argument(Path::new(&format!("notify.command={value}")));
            let warning = format!(
                "notify.command of the run's config.toml is not run, since run directories may come from elsewhere; to run it, add \
                 --set {set}"
            );
            say::err(&warning);
            presence.warn(warning);
        }
        Order {
            command,
            on: config.notify.on.clone(),
        }
    }

    fn decisions_to_repeat(&self) -> Result<Vec<Repeat>> {
        match (&self.decisions, &self.resume) {
            (Some(run), _) => {
                let dir = RunDir::open(&self.global.runs, run)?;
                let journal = || format!("cannot read {}", text::path(&dir.events()));
                decisions::of_run(dir.path()).with_context(journal)
            }
            (None, Some(run)) => {
                let dir = self.resumed(run)?.0;
                let file = || format!("cannot read {}", text::path(&dir.decisions()));
                decisions::kept(&dir).with_context(file)
            }
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Finds the reference that the config loads. A model of the hub is fetched later.
    fn find_reference(&self, config: &Config) -> Result<Option<Located>> {
        let name = config.reference.path.as_ref();
        let Some(name) = name.filter(|name| !name.starts_with(HUB)) else {
            return Ok(None);
        };
        let located = found(name, &self.global.runs).with_context(|| unusable(name))?;
        Ok(Some(located))
    }
}

/// Makes all quick checks of a new run: that its config is valid, its name is free, its files exist, and windows and batches
/// fit.
///
/// # Errors
/// Returns the error that `heirloom train` would report.
pub(in crate::cli) fn check_new(
    global: &Global,
    config: &str,
    name: Option<&str>,
    overrides: Vec<String>,
) -> Result<()> {
    let args = Args {
        config: Some(config.into()),
        resume: None,
        global: global.clone(),
        name: name.map(String::from),
        overrides,
        baseline: None,
        device: None,
        threads: None,
        dry_run: false,
        ranks: None,
        link: None,
        decisions: None,
        detach: false,
        gpus: None,
        json: false,
        sharing: 1,
    };
    let loaded = args.load()?;
    NewName::choose(&global.runs, &loaded.name, name)?;
    args.find_reference(&loaded.config)?;
    check_data(&loaded.config)?;
    check_sizes(&loaded.config, &args.machine(None)?)
}

/// Checks that the text files exist. Returns the first file, and the bytes of the first text.
fn check_data(config: &Config) -> Result<(String, u64)> {
    let mut first = None;
    for source in config.data.train.sources() {
        let (files, bytes) = corpus::check(&source.inputs, config.text_field())?;
        first = first.or(files.into_iter().next().map(|file| (file, bytes)));
    }
    if let Some(val) = &config.data.val {
        corpus::check(val.paths(), config.text_field())?;
    }
    Ok(first.unwrap_or_default())
}

/// Checks that windows and batches fit the model that is trained, where the tokenizer needs no reading.
fn check_sizes(config: &Config, machine: &Machine) -> Result<()> {
    let read_later = match config.tokenizer() {
        TokenizerChoice::Byte | TokenizerChoice::Gpt2 => false,
        TokenizerChoice::Reference => config.reference.path.is_some(),
        // A missing tokenizer file is not read later: it is reported here.
        TokenizerChoice::Path(path) => exact::to_path(path).exists(),
    };
    if read_later {
        return Ok(());
    }
    let tokenizer = tokenizer(config, None)?;
    if config.reference.train.is_some() {
        let shape = plan::reference_shape(config, &tokenizer);
        Passes::of(config, &shape, &machine.chosen.device)?;
    }
    Ok(())
}
