//! `heirloom train`: start or resume a run, with or without a dashboard.

mod detached;
mod dry_run;
mod session;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use crate::config::{self, Config, Loaded, PolicyMode, Source, Texts};
use crate::corpus::{Dataset, Tokenizer};
use crate::dashboard::{self, Exit};
use crate::locate;
use crate::run::attendance::{Attendance, Leave};
use crate::run::command::Request;
use crate::run::control::hub::Hub;
use crate::run::control::server::Server;
use crate::run::decisions;
use crate::run::dir::{DEFAULT_RUNS, RunDir};
use crate::run::event::Event;
use crate::run::journal::{Journal, Observer};
use crate::run::lock::RunLock;
use crate::run::series::keep::{Keeping, SeriesKeeper};
use crate::run::state::{RunState, Status};
use crate::run::{table, tail};
use crate::text;
use crate::train::checkpoint::Checkpoints;
use crate::train::signals::Signalled;
use crate::train::{Ended, Setup};

use super::{UiArgs, exit, say};
use session::Session;

/// Train a reference and the recipe on it, live in a dashboard; without a terminal, as plain lines
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A preset (tiny, books) or a path to a TOML config
    #[arg(required_unless_present_any = ["resume", "decisions"], conflicts_with = "resume")]
    config: Option<String>,
    /// Go on with an interrupted run, from its latest checkpoint or a named one
    #[arg(long, value_name = "RUN[@CHECKPOINT]")]
    resume: Option<String>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// The run's name [default: the preset's, with date and time]
    #[arg(long, conflicts_with = "resume")]
    name: Option<String>,
    /// Override a key of the config, e.g. train.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Where to compute: auto or cpu
    #[arg(long, default_value = "auto")]
    device: String,
    /// Compute threads [default: one per core]
    #[arg(long)]
    threads: Option<usize>,
    /// Print parameters, memory, tokens, disk and estimated time per phase, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// Give the operator's decisions of another run again, at the same steps; without a config, that run's is taken
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    decisions: Option<String>,
    /// Start in the background: the shell has its prompt back once the training has begun
    #[arg(short, long, conflicts_with_all = ["dry_run", "json"])]
    detach: bool,
    /// Print the journal's events instead of plain lines, without a dashboard
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ui: UiArgs,
}

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Dashboard,
    Lines,
    Json,
    /// Not at all: the log has what is printed.
    Nothing,
}

impl Args {
    /// Arguments that train a preset and leave everything else as it is.
    pub fn preset(name: &str, runs: &Path, ui: &UiArgs) -> Vec<String> {
        let mut args = vec!["train".to_string(), name.into()];
        args.extend(["--runs".into(), runs.display().to_string()]);
        args.extend(ui.to_args());
        args
    }

    /// # Errors
    /// When the arguments, the config or the data are not usable (exit code 2), or training fails (1).
    pub fn run(self) -> Result<i32> {
        if let Some(threads) = self.threads
            && threads == 0
        {
            bail!(exit::usage("--threads must be at least 1, is 0"));
        }
        device(&self.device)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let show = match (self.json, terminal && !self.ui.plain() && !self.dry_run) {
            _ if self.detach => Show::Nothing,
            (true, _) => Show::Json,
            (_, true) => Show::Dashboard,
            _ => Show::Lines,
        };
        if matches!(show, Show::Dashboard | Show::Nothing) && !detached::is_child() {
            return detached::wait_for_child();
        }
        if self.dry_run {
            let loaded = self.load().map_err(exit::input)?;
            let reference = self.reference(&loaded.config).map_err(exit::input)?;
            let dataset = open_data(&loaded.config, reference.as_deref()).map_err(exit::input)?;
            let reference = reference.as_deref();
            return dry_run::run(&loaded.config, reference, &dataset, self.threads())
                .map(|()| exit::OK);
        }
        let mut parts = self.prepare(show).map_err(exit::input)?;
        let name = parts.dir.name();
        let ended = match show {
            Show::Dashboard => self.with_dashboard(parts)?,
            Show::Nothing => self.in_background(parts)?,
            Show::Lines | Show::Json => {
                let (observer, printing) = beside(printer(show, std::mem::take(&mut parts.past)))?;
                parts.setup.journal.subscribe(observer);
                let ended = self.start(parts.setup)?.join();
                drop((parts.server, parts.keeping));
                // Its events have ended with the trainer; what is still to be said is said.
                let _ = printing.join();
                ended
            }
        };
        Ok(match ended {
            Ended::Done => exit::OK,
            Ended::Stopped => exit::STOPPED,
            Ended::Preempted => exit::PREEMPTED,
            Ended::Failed(message) => {
                say::err(&format!("run {name} failed: {message}"));
                exit::FAILED
            }
        })
    }

    fn threads(&self) -> usize {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or(all)
    }

    fn load(&self) -> Result<Loaded> {
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
    fn prepare(&self, show: Show) -> Result<Parts> {
        // First of all: a hangup while text is read is no reason to end either.
        let signalled = Signalled::watch()?;
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
                device: device(&self.device)?,
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
    fn reference(&self, config: &Config) -> Result<Option<PathBuf>> {
        let Some(name) = &config.reference.path else {
            return Ok(None);
        };
        let located = super::located(name, &self.runs)
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

    /// Sets the trainer to work. Only then does a resumed run's config change; a new run that cannot begin leaves no
    /// directory behind.
    fn start(&self, setup: Setup) -> Result<Session> {
        let (dir, config) = (setup.dir.clone(), setup.config.clone());
        let started = Session::start(setup, self.threads());
        if self.resume.is_none() && started.is_err() {
            // What stays behind does no harm: it is a run without events.
            let _ = std::fs::remove_dir_all(dir.path());
        }
        let session = started?;
        if self.resume.is_some()
            && let Err(error) = write_config(&dir, &config)
        {
            say::err(&format!("{error:#}; the run goes on"));
        }
        Ok(session)
    }

    /// Trains under a dashboard; when that goes (detached, or the terminal is lost), trains on without it.
    fn with_dashboard(&self, mut parts: Parts) -> Result<Ended> {
        let (mut feed, observer) = dashboard::LiveFeed::new(parts.commands, parts.hub);
        parts.setup.journal.subscribe(Box::new(observer));
        let log = parts.dir.log();
        let options = self.ui.options(&parts.dir.name(), Some(&log));
        let session = self.start(parts.setup)?;
        let shown = dashboard::run(&mut feed, &options, parts.past);
        drop(feed);
        let left = match shown {
            Ok((Exit::Closed | Exit::Stopped, state)) => {
                let ended = session.join();
                drop((parts.server, parts.keeping));
                let _ = say::out(&parting(&state, &parts.dir, &ended));
                return Ok(ended);
            }
            Ok((Exit::Detach, _)) => {
                let _ = say::out(&detached::farewell(&parts.dir));
                Leave::Detached
            }
            // Nobody is there to be told anything.
            Ok((Exit::Hangup, _)) => Leave::HungUp,
            Err(error) => {
                say::err(&format!(
                    "{error:#}; training goes on without the dashboard"
                ));
                let _ = say::out(&detached::farewell(&parts.dir));
                Leave::Failed
            }
        };
        parts.attendance.leave(left);
        detached::leave_terminal(&log);
        let ended = session.join();
        drop((parts.server, parts.keeping));
        Ok(ended)
    }

    /// Trains without a dashboard, and lets the shell go on once the training has begun.
    fn in_background(&self, parts: Parts) -> Result<Ended> {
        let session = self.start(parts.setup)?;
        let _ = say::out(&detached::farewell(&parts.dir));
        detached::leave_terminal(&parts.dir.log());
        let ended = session.join();
        drop((parts.server, parts.keeping));
        Ok(ended)
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

/// What `train` holds while it works.
struct Parts {
    setup: Setup,
    dir: RunDir,
    /// What the journal tells of the run before this process.
    past: RunState,
    commands: Sender<Request>,
    /// What the control socket's clients share, and the socket itself where there is one.
    hub: Arc<Hub>,
    server: Option<Server>,
    /// Keeps `series.bin` beside the journal.
    keeping: Keeping,
    attendance: Arc<Attendance>,
    /// Held until the end.
    #[expect(dead_code, reason = "held, not read")]
    lock: Arc<Mutex<RunLock>>,
}

/// Writes the resolved config into the run, replacing the former one whole.
fn write_config(dir: &RunDir, config: &Config) -> Result<()> {
    let path = dir.config();
    let new = path.with_extension("toml.new");
    std::fs::write(&new, config::to_toml(config))
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The text left in the shell when a dashboard is closed.
fn parting(state: &RunState, dir: &RunDir, ended: &Ended) -> String {
    match ended {
        Ended::Done => table::text(state),
        _ => format!(
            "run {} can go on: heirloom train --resume {}\n",
            dir.name(),
            dir.argument()
        ),
    }
}

/// An observer that hands events to `print` on a thread of its own: training does not wait for whoever reads stdout.
fn beside(mut print: impl FnMut(&Event) + Send + 'static) -> Result<(Observer, JoinHandle<()>)> {
    let (sender, events) = std::sync::mpsc::channel::<Event>();
    let printing = std::thread::Builder::new()
        .name("printer".into())
        .spawn(move || events.iter().for_each(|event| print(&event)))
        .context("cannot start the printer's thread")?;
    let observer = move |event: &Event| {
        // It ends after the last sender only.
        let _ = sender.send(event.clone());
    };
    Ok((Box::new(observer), printing))
}

/// Writes plain lines, or the events themselves, to stdout.
fn printer(show: Show, past: RunState) -> impl FnMut(&Event) + Send + 'static {
    use std::io::Write;
    let mut state = past;
    let mut plain = dashboard::PlainPrinter::default();
    move |event: &Event| {
        state.apply(event);
        let line = match show {
            Show::Json => Some(text::json(&event.to_line()).into_owned()),
            _ => plain.line(&state, event),
        };
        let mut out = std::io::stdout().lock();
        // A reader that has gone must not stop the training.
        if let Some(line) = line {
            let _ = writeln!(out, "{line}");
        }
        let finished = matches!(
            event.body,
            crate::run::event::Body::Done { failed: false, .. }
        );
        if finished && show == Show::Lines {
            let _ = write!(out, "\n{}", table::text(&state));
        }
        let _ = out.flush();
    }
}

fn open_data(config: &Config, reference: Option<&Path>) -> Result<Dataset> {
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

fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" | "auto" => Ok(Device::Cpu),
        "cuda" => bail!(exit::usage(
            "--device cuda: this program has no CUDA support yet; use cpu"
        )),
        other => bail!(exit::usage(&format!("--device {other}: use auto or cpu"))),
    }
}
