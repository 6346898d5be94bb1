//! The start of a process that a launcher has started as one of several. The ranks connect and compare their programs, configs and
//! texts, and rank 0 leads: it prints the lines and has the control socket. The other ranks carry out its instructions, and print
//! only errors.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::args::Args;
use super::check::Plan;
use super::data::open_data;
use super::difference;
use super::gpus;
use super::machine::Machine;
use super::session;
use crate::cli::{exit, say};
use crate::config::{self, Config};
use crate::corpus::{Dataset, Report, TokenCache};
use crate::dist::launch::{Engine, Features, Launch};
use crate::dist::{DistError, End, Ranks, Solo};
use crate::run::event::RankLayout;
use crate::signals::WATCHED;
use crate::threads;
use crate::train::follow::{self, FollowSetup};
use crate::train::peers::Peers;
use crate::train::{Ended, Setup};

/// Time limit of an exchange before training. It is long because reading texts may take long; a rank that dies is noticed
/// at once by other means.
const START: Duration = Duration::from_secs(7 * 24 * 3600);

/// The processes that were started together, seen from one of them.
pub(super) struct Group {
    ranks: Arc<dyn Ranks>,
    launch: Launch,
    engine: Engine,
    stage: Cell<Stage>,
}

/// The result of connecting to the processes that were started together with this one.
pub(super) enum Joined {
    /// This process was started alone.
    Alone,
    /// It is one rank of a group.
    Group(Group),
    /// The ranks could not begin: this process ends with this exit code. The reason has been printed.
    Parted(i32),
}

/// The progress of rank 0's start, which determines what the other ranks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// They wait for its next message.
    Starting,
    /// They wait for nothing: the start was refused.
    Refused,
    /// They wait for the trainer's first instruction; rank 0's trainer has not begun.
    Following,
    /// They follow the trainer.
    Training,
}

/// Rank 0's message before anything is read, or the exit code if it has refused the start.
type Opened = Result<Opening, i32>;

/// Rank 0's values of everything that must be equal on all ranks.
#[derive(Debug, Serialize, Deserialize)]
struct Opening {
    program: String,
    library: String,
    /// TOML.
    config: String,
    /// Whether the config is that of a run's directory, which rank 0 alone reads.
    resumed: bool,
    gpu: bool,
    threads: usize,
}

/// The texts as rank 0 has read them.
#[derive(Debug, Serialize, Deserialize)]
struct Texts {
    /// Path of rank 0's reference.
    reference: Option<PathBuf>,
    fingerprints: [String; 2],
}

/// Another rank's answer: its difference from rank 0, or why it cannot take part; `None` if all is well.
type Answer = Option<String>;

/// Rank 0's verdict on the answers: an exit code if a rank differs.
type Verdict = Result<(), i32>;

impl Args {
    /// Connects to the other ranks if a launcher has started this process.
    ///
    /// # Errors
    /// When the launcher's variables cannot be used, the program has no library to exchange data with other ranks, or it cannot
    /// connect to them.
    pub(super) fn join(&mut self) -> Result<Joined> {
        let launch = Launch::of_process().map_err(|why| exit::usage(&why.to_string()))?;
        let Some(launch) = launch else {
            return Ok(Joined::Alone);
        };
        if self.detach {
            bail!(exit::usage(&format!(
                "-d starts a process in the background, but {} waits for this one: leave -d out, and follow the run with heirloom attach",
                launch.launcher
            )));
        }
        let engine = launch.engine(Features::built(), self.wants_gpu());
        let engine = match engine.map_err(|why| exit::usage(&why.to_string()))? {
            // `--gpus 1` uses NCCL with one rank, for comparisons.
            Engine::Solo if gpus::is_rank() => Engine::Nccl,
            engine => engine,
        };
        if launch.rank > 0 {
            ignore_signals();
        }
        let ranks: Arc<dyn Ranks> = match engine {
            Engine::Solo => Arc::new(Solo),
            // Each process of a dry run works alone; rank 0 describes the plan for all.
            _ if self.dry_run => Arc::new(Solo),
            engine => match self.connect(engine, &launch).map_err(exit::input)? {
                Ok(ranks) => ranks,
                Err(code) => return Ok(Joined::Parted(code)),
            },
        };
        ranks.set_timeout(START);
        self.sharing = ranks.sharing();
        Ok(Joined::Group(Group {
            ranks,
            launch,
            engine,
            stage: Cell::new(Stage::Starting),
        }))
    }

    /// Connects to the other ranks over the engine. On GPUs that is NCCL, whose id is sent over MPI if there is MPI. Returns an exit
    /// code as the inner error if the ranks could not begin; the reason has been printed.
    fn connect(&mut self, engine: Engine, launch: &Launch) -> Result<Result<Arc<dyn Ranks>, i32>> {
        #[cfg(feature = "cuda")]
        if self.wants_gpu() {
            gpus::set_environment(launch)?;
        }
        let over: Option<Arc<dyn Ranks>> = match engine {
            #[cfg(feature = "mpi")]
            Engine::Mpi => {
                crate::dist::mpi::set_environment();
                Some(Arc::new(crate::dist::mpi::Mpi::connect(launch)?))
            }
            _ => None,
        };
        let connected = gpus::connect(launch, self.device, over)?;
        Ok(connected.map(|(device, ranks)| {
            self.device = device;
            ranks
        }))
    }

    /// Whether the command line asks for a GPU, or leaves the choice to a program that can use one.
    fn wants_gpu(&self) -> bool {
        use crate::device::Choice;
        match self.device {
            Some(Choice::Cpu) => false,
            Some(Choice::Cuda(_)) => true,
            Some(Choice::Auto) | None => cfg!(feature = "cuda"),
        }
    }

    /// Takes part in the run that rank 0 leads, and returns the exit code.
    pub(super) fn follow(&self, group: &Group) -> i32 {
        if self.dry_run {
            return exit::OK;
        }
        let ranks = &group.ranks;
        match self.follow_to_end(group) {
            Ok(code) => {
                ranks.end(&End::Together);
                code
            }
            Err(error) => {
                let words = exit::words(&error);
                let verdict = |cause: &(dyn std::error::Error + 'static)| {
                    matches!(cause.downcast_ref(), Some(DistError::Verdict(_)))
                };
                // Rank 0 prints its verdict itself.
                if !error.chain().any(verdict) {
                    let rank = format!("rank {}: ", ranks.rank());
                    say::err(&format!("{rank}{}", words.trim_start_matches(&rank)));
                }
                ranks.end(&End::Failed(words));
                exit::FAILED
            }
        }
    }

    fn follow_to_end(&self, group: &Group) -> Result<i32> {
        threads::start_pool()?;
        let opening = match group.receive::<Opened>()? {
            Ok(opening) => opening,
            Err(code) => return Ok(code),
        };
        let machine = self.machine(None);
        let compared = match &machine {
            Ok(machine) => self.compare(group, &opening, machine),
            Err(error) => Err(anyhow::anyhow!(exit::words(error))),
        };
        let (config, answer) = match compared {
            Ok(config) => (Some(config), None),
            Err(error) => (None, Some(exit::words(&error))),
        };
        if let Err(code) = group.answer(answer)? {
            return Ok(code);
        }
        // Rank 0 has found no error in the answers, including this rank's.
        let (config, machine) = (config.context("compared before")?, machine?);
        let texts = match group.receive::<Result<Texts, i32>>()? {
            Ok(texts) => texts,
            Err(code) => return Ok(code),
        };
        let read = self.read_texts(group, &config, &texts);
        let answer = read.as_ref().err().map(exit::words);
        if let Err(code) = group.answer(answer)? {
            return Ok(code);
        }
        group.ranks.set_timeout(timeout(&config));
        let setup = FollowSetup {
            dataset: read?,
            device: machine.chosen.device,
            ranks: Arc::clone(&group.ranks),
        };
        let pool = session::pool(self.threads.unwrap_or(opening.threads))?;
        // Rank 0 sends its exit code, or ends all ranks.
        let _ended = pool.install(|| follow::run(setup))?;
        group.receive()
    }

    /// Compares what this rank was started with and rank 0's `opening`, and returns the config in force.
    fn compare(&self, group: &Group, opening: &Opening, machine: &Machine) -> Result<Config> {
        difference::of("the program", &program(), &opening.program)?;
        difference::of("the MPI library", &group.ranks.library(), &opening.library)?;
        let kind = |gpu| if gpu { "a GPU" } else { "the CPU" };
        let device = machine.chosen.device.is_cuda();
        difference::of("--device", kind(device), kind(opening.gpu))?;
        let announced = config::Source::Text {
            name: "rank 0".into(),
            text: opening.config.clone(),
        };
        let loaded = config::load(&announced, &[]);
        let config = loaded.context("rank 0's config cannot be read")?.config;
        if !opening.resumed {
            let mut own = self.load()?.config;
            self.resolve_dtype(&mut own, &machine.chosen.device, None)?;
            // Only rank 0 asks the operator, so the mode need not be equal.
            own.policy.mode = config.policy.mode;
            // The error names the first key that differs.
            difference::of_configs(&config::to_toml(&own), &opening.config)?;
        }
        Ok(config)
    }

    /// Reads the texts that rank 0 has read, and compares them.
    fn read_texts(&self, group: &Group, config: &Config, texts: &Texts) -> Result<Dataset> {
        let reference = match &texts.reference {
            Some(path) if path.exists() => Some(path.clone()),
            Some(_) => self.reference(config)?,
            None => None,
        };
        let rank = group.launch.rank;
        // Rank 0 reads the same texts and prints the other reports.
        let report = |report: Report<'_>| {
            if let Report::Shared(line) = report {
                say::err(&format!("rank {rank}: {line}"));
            }
        };
        let cache = group.token_cache();
        let dataset = open_data(config, reference.as_deref(), cache.as_ref(), &report)?;
        let own = dataset.fingerprints();
        for (what, (own, theirs)) in ["data.train", "data.val"]
            .iter()
            .zip(own.iter().zip(&texts.fingerprints))
        {
            let short = |hash: &String| hash.chars().take(12).collect::<String>();
            difference::of(
                &format!("{what} (fingerprint of its tokens)"),
                &short(own),
                &short(theirs),
            )?;
        }
        Ok(dataset)
    }
}

impl Group {
    /// Whether this process leads.
    pub(super) fn leads(&self) -> bool {
        self.launch.rank == 0
    }

    /// Returns the ranks.
    pub(super) fn ranks(&self) -> &Arc<dyn Ranks> {
        &self.ranks
    }

    /// Returns the layout of the ranks; `None` for a single process.
    pub(super) fn layout(&self) -> Option<RankLayout> {
        let engine = self.engine;
        (!self.is_alone()).then(|| RankLayout {
            world: self.ranks.world(),
            launcher: format!("{engine} ({})", self.launch.launcher),
            hosts: self.ranks.hosts(),
        })
    }

    /// Returns the directory in which ranks share the token ids of texts: those of one host, or all ranks if the directory lies on a
    /// shared file system. `None` for a single process.
    pub(super) fn token_cache(&self) -> Option<TokenCache> {
        match self.is_alone() {
            true => None,
            false => TokenCache::of_user(self.leads()),
        }
    }

    /// Whether this process is the only one, so that nothing need be compared.
    fn is_alone(&self) -> bool {
        self.ranks.world() == 1
    }

    fn send<T: Serialize>(&self, value: &T) -> Result<()> {
        let mut bytes = serde_json::to_vec(value)?;
        Ok(self.ranks.announce(&mut bytes)?)
    }

    fn receive<T: DeserializeOwned>(&self) -> Result<T> {
        let mut bytes = Vec::new();
        self.ranks.announce(&mut bytes)?;
        serde_json::from_slice(&bytes)
            .context("rank 0 announces what this rank does not know: are the programs the same?")
    }

    /// On other ranks: sends an answer, and receives rank 0's verdict on all answers.
    fn answer(&self, answer: Answer) -> Result<Verdict> {
        self.ranks.gather(&serde_json::to_vec(&answer)?)?;
        self.receive()
    }

    /// On rank 0: collects the answers, and sends the verdict.
    fn judge(&self) -> Result<()> {
        let own = serde_json::to_vec(&None::<String>)?;
        for (rank, bytes) in self.ranks.gather(&own)?.iter().enumerate() {
            let answer: Answer = serde_json::from_slice(bytes)
                .with_context(|| format!("rank {rank} answers what rank 0 does not know"))?;
            if let Some(what) = answer {
                self.send::<Verdict>(&Err(exit::INPUT))?;
                self.stage.set(Stage::Refused);
                return Err(DistError::Differs { rank, what }.into());
            }
        }
        self.send::<Verdict>(&Ok(()))
    }

    /// On rank 0: sends the description of the run, and checks that all ranks were started alike.
    ///
    /// # Errors
    /// When a rank was not: names it.
    pub(super) fn open(&self, plan: &Plan, resumed: bool) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let opening = Opening {
            program: program(),
            library: self.ranks.library(),
            config: config::to_toml(&plan.config),
            resumed,
            gpu: plan.machine.chosen.device.is_cuda(),
            threads: plan.machine.threads,
        };
        self.send::<Opened>(&Ok(opening))?;
        self.judge()
    }

    /// On rank 0: has all ranks read the same texts.
    ///
    /// # Errors
    /// When a rank cannot, or has read other texts: names it.
    pub(super) fn share_texts(&self, reference: Option<&Path>, dataset: &Dataset) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let others = self.ranks.world() - 1;
        let others = crate::text::plural(others, "other rank");
        say::err(&format!(
            "the texts are read; waiting for {others} to read them"
        ));
        let texts = Texts {
            reference: reference.map(Path::to_path_buf),
            fingerprints: dataset.fingerprints(),
        };
        self.send::<Result<Texts, i32>>(&Ok(texts))?;
        self.judge()?;
        self.stage.set(Stage::Following);
        Ok(())
    }

    /// On rank 0: notes that training begins.
    pub(super) fn begin(&self, setup: &Setup) {
        self.stage.set(Stage::Training);
        self.ranks.set_timeout(timeout(&setup.config));
    }

    /// On rank 0: ends the other ranks in the same way as this process ends.
    pub(super) fn finish(&self, done: Result<i32>) -> Result<i32> {
        let code = match &done {
            Ok(code) => *code,
            Err(error) => exit::code(error),
        };
        let said = match (self.is_alone(), self.stage.get()) {
            (true, _) | (_, Stage::Refused) => Ok(()),
            (_, Stage::Starting) => self.send::<Verdict>(&Err(code)),
            (_, Stage::Following) => {
                // They wait for a first instruction, and receive the end instead.
                let why = Ended::Failed("rank 0 has failed".into());
                Peers::new(Arc::clone(&self.ranks)).dismiss(&why);
                self.send(&code)
            }
            (_, Stage::Training) if code == exit::FAILED => {
                Err(DistError::Verdict(String::new()).into())
            }
            (_, Stage::Training) => self.send(&code),
        };
        self.ranks.end(&match said {
            Ok(()) => End::Together,
            Err(_) => End::Failed("rank 0 has failed".into()),
        });
        done
    }
}

fn timeout(config: &Config) -> Duration {
    Duration::from_secs(config.dist.timeout_s)
}

/// Returns the version of this program and a hash of its file.
fn program() -> String {
    let contents = std::env::current_exe().and_then(|path| {
        let mut hash = blake3::Hasher::new();
        hash.update_reader(std::fs::File::open(path)?)?;
        Ok(hash.finalize().to_hex()[..12].to_string())
    });
    let contents = contents.unwrap_or_else(|_| "unknown contents".into());
    format!("heirloom {} ({contents})", env!("CARGO_PKG_VERSION"))
}

/// Ignores signals, which a launcher sends to all ranks: rank 0 decides what they mean.
fn ignore_signals() {
    for number in WATCHED {
        if let Ok(number) = Signal::try_from(number) {
            // SAFETY: a signal that is ignored runs no handler.
            let _ = unsafe { signal(number, SigHandler::SigIgn) };
        }
    }
}
