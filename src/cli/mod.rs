//! One file per subcommand; thin: arguments in, a call into the library, text out.

pub mod attach;
pub mod bench;
pub mod ctl;
pub mod data;
pub mod demo;
pub mod exit;
pub mod export;
pub mod generate;
pub mod home;
pub mod info;
pub mod inherit;
pub mod input;
pub mod loss;
pub mod ls;
pub mod rank;
pub mod replay;
pub mod say;
pub mod selftest;
pub mod show;
pub mod train;
pub mod watch;
pub mod windows;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::dashboard;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::{ColorMode, Theme};
use crate::locate::{self, Located};
use crate::run::dir::DEFAULT_RUNS;
use crate::run::table::bytes;

/// Train small language models from the good layers of big ones.
///
/// Without a command, the home screen: presets to start, runs to open.
#[derive(Debug, Parser)]
#[command(
    name = "heirloom",
    version,
    about,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    #[command(flatten)]
    ui: UiArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Attach(attach::Args),
    Ctl(ctl::Args),
    Watch(watch::Args),
    Replay(replay::Args),
    Show(show::Args),
    Ls(ls::Args),
    Data(data::Args),
    Info(info::Args),
    Loss(loss::Args),
    Rank(rank::Args),
    Generate(generate::Args),
    Inherit(inherit::Args),
    Export(export::Args),
    Bench(bench::Args),
    Selftest(selftest::Args),
    Demo(demo::Args),
}

/// Windows of this length, or the model's context, when nothing else is said.
const WINDOW: usize = 1024;
/// What MODEL may be.
const MODEL: &str = "A model's directory, a .gguf file, hf:OWNER/NAME[@REVISION], or RUN, RUN@best, RUN@reference, RUN@STEP, RUN@CHECKPOINT; a run alone means the end of its last round";

/// How a dashboard looks.
#[derive(Debug, Clone, clap::Args)]
pub struct UiArgs {
    /// Colours; auto heeds NO_COLOR and the terminal's name
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto")]
    color: ColorMode,
    /// What charts are drawn with [default: braille, ascii in a locale without UTF-8]
    #[arg(long, value_enum, value_name = "SET")]
    glyphs: Option<Glyphs>,
    /// No full-screen dashboard: plain lines (as with ACCESSIBLE=1)
    #[arg(long)]
    plain: bool,
}

impl UiArgs {
    /// Whether plain lines are wanted.
    pub fn plain(&self) -> bool {
        self.plain || std::env::var_os("ACCESSIBLE").is_some_and(|v| v == "1")
    }

    /// As arguments for another call of this program.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        let mut push = |name: &str, value: Option<clap::builder::PossibleValue>| {
            if let Some(value) = value {
                args.push(format!("--{name}={}", value.get_name()));
            }
        };
        push("color", self.color.to_possible_value());
        push("glyphs", self.glyphs.and_then(|g| g.to_possible_value()));
        args
    }

    /// Options of a dashboard with this title; stray output goes to `log`.
    pub fn options(&self, title: &str, log: Option<&Path>) -> dashboard::Options {
        dashboard::Options {
            theme: Theme::new(self.color),
            glyphs: self.glyphs.unwrap_or_else(Glyphs::of_locale),
            title: title.into(),
            log: log.map(Path::to_path_buf),
        }
    }
}

impl Cli {
    /// Runs the command and returns the exit code.
    ///
    /// # Errors
    /// What the command failed of; [`exit::code`] says which code it stands for.
    pub fn run(self) -> Result<i32> {
        crate::ops::check_unit().map_err(|e| exit::usage(&e))?;
        match self.command {
            Some(Command::Train(args)) => args.run(),
            Some(Command::Attach(args)) => args.run().map_err(exit::input),
            Some(Command::Ctl(args)) => args.run().map_err(exit::input),
            Some(Command::Watch(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Replay(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Show(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Ls(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Info(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Loss(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Rank(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Generate(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Inherit(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Demo(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Bench(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Selftest(args)) => args.run().map_err(exit::input),
            Some(Command::Data(args)) => args.run().map_err(exit::input),
            Some(Command::Export(args)) => args.run().map_err(exit::input),
            None => home::run(&self.runs, &self.ui),
        }
    }
}

/// Refuses work that needs more memory than the machine has.
///
/// # Errors
/// Telling how much is needed, and how much there is.
fn check_memory(need: u64, device: &candle_core::Device, what: &str) -> Result<()> {
    match crate::train::memory::free(device) {
        Some(free) if need > free => anyhow::bail!(
            "{what} needs {}, {} of memory are free",
            bytes(need),
            bytes(free)
        ),
        // Where the system does not tell, it is tried.
        _ => Ok(()),
    }
}

/// Finds a model by its name and says what there is to say of it. A checkpoint's files are not looked through yet.
///
/// # Errors
/// When there is no such model.
fn found(model: &str, runs: &Path) -> Result<Located> {
    let located = locate::find(model, runs)?;
    if let Some(chosen) = &located.chosen {
        say::err(&format!("{model} is {chosen}"));
    }
    Ok(located)
}

/// As [`found`], for a model whose weights are to be read.
///
/// # Errors
/// As [`found`], and when a checkpoint is damaged.
fn located(model: &str, runs: &Path) -> Result<Located> {
    let located = found(model, runs)?;
    located.verify()?;
    Ok(located)
}
