//! One file per subcommand; thin: arguments in, a call into the library, text out.

pub mod attach;
pub mod bench;
pub mod ctl;
pub mod data;
pub mod demo;
pub mod exit;
pub mod export;
pub mod generate;
pub mod help;
pub mod home;
pub mod info;
pub mod inherit;
pub mod input;
pub mod loss;
pub mod ls;
pub mod prompt;
pub mod rank;
pub mod replay;
pub mod say;
pub mod selftest;
pub mod shell;
pub mod show;
pub mod train;
pub mod watch;
pub mod windows;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::dashboard;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::{ColorMode, Depth, Theme, ThemeName};
use crate::locate::{self, Located};
use crate::run::dir::{DEFAULT_RUNS, RunDir};
use crate::run::pick;
use crate::run::table::bytes;
use crate::text::exact;
use crate::threads;
use crate::train::checkpoint::Checkpoints;

/// Train small language models from the good layers of big ones.
///
/// Without a command, the home screen: presets to start, runs to open.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    global: Global,
}

/// Options that mean the same before and after every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS, global = true)]
    pub runs: PathBuf,
    #[command(flatten)]
    pub ui: UiArgs,
}

impl Global {
    /// As arguments for another call of this program.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = vec!["--runs".into(), self.runs.clone().into()];
        args.extend(self.ui.to_args().into_iter().map(OsString::from));
        args
    }
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
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Command {
    /// Whether the command computes in rayon's global pool. `train` starts it in the process that trains.
    fn computes(&self) -> bool {
        match self {
            Self::Train(_)
            | Self::Attach(_)
            | Self::Ctl(_)
            | Self::Watch(_)
            | Self::Replay(_)
            | Self::Show(_)
            | Self::Ls(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
            Self::Data(_)
            | Self::Info(_)
            | Self::Loss(_)
            | Self::Rank(_)
            | Self::Generate(_)
            | Self::Inherit(_)
            | Self::Export(_)
            | Self::Bench(_)
            | Self::Selftest(_)
            | Self::Demo(_) => true,
        }
    }
}

/// Windows of this length, or the model's context, when nothing else is said.
const WINDOW: usize = 1024;
/// What MODEL may be.
const MODEL: &str = "A model's directory, a .gguf file, hf:OWNER/NAME[@REVISION], or RUN, RUN@best, RUN@reference, RUN@STEP, RUN@CHECKPOINT; a run alone means the end of its last round";

/// Terminals, by TERM, without colours and without a screen to come back from: Emacs' shell, many CI logs.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "vt100", "vt102"];

/// The variable that chooses a theme where --theme does not.
const THEME: &str = "HEIRLOOM_THEME";

/// How a dashboard looks.
#[derive(Debug, Clone, clap::Args)]
pub struct UiArgs {
    /// Number of colours; auto honours NO_COLOR, COLORTERM and TERM
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "auto",
        global = true
    )]
    color: ColorMode,
    /// Colours for a dark or a light background [default: HEIRLOOM_THEME, else auto: by COLORFGBG, else dark]
    #[arg(long, value_enum, value_name = "NAME", global = true)]
    theme: Option<ThemeName>,
    /// What charts are drawn with [default: braille; block for TERM=linux; ascii in a locale without UTF-8]
    #[arg(long, value_enum, value_name = "SET", global = true)]
    glyphs: Option<Glyphs>,
    /// No full-screen dashboard: plain lines (as with ACCESSIBLE=1, TERM=dumb, TERM=vt100)
    #[arg(long, global = true)]
    plain: bool,
}

impl UiArgs {
    /// Whether plain lines are wanted, or all that the terminal can show.
    pub fn plain(&self) -> bool {
        let is = |name: &str, values: &[&str]| {
            std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
        };
        self.plain || is("ACCESSIBLE", &["1"]) || is("TERM", &PLAIN_TERMINALS)
    }

    /// The theme that was asked for: by --theme, else by [`THEME`] where that is set and not empty.
    ///
    /// # Errors
    /// When the variable names no theme.
    fn theme_name(&self) -> Result<ThemeName> {
        self.theme_or(
            &std::env::var_os(THEME)
                .unwrap_or_default()
                .to_string_lossy(),
        )
    }

    fn theme_or(&self, variable: &str) -> Result<ThemeName> {
        match self.theme {
            Some(theme) => Ok(theme),
            None if variable.is_empty() => Ok(ThemeName::Auto),
            None => ThemeName::from_str(variable, true).map_err(|_| {
                let all = ThemeName::value_variants().iter();
                let all = all.filter_map(|t| Some(t.to_possible_value()?.get_name().to_string()));
                let all = all.collect::<Vec<_>>().join(", ");
                anyhow::anyhow!("{THEME}: expected one of {all}, got {variable:?}")
            }),
        }
    }

    /// The theme of a picture, for which no terminal's colours matter: dark, and 256 colours, unless asked otherwise.
    pub fn theme_of_file(&self) -> Theme {
        let depth = match self.color {
            ColorMode::Never => Depth::Mono,
            ColorMode::Basic => Depth::Basic,
            ColorMode::Auto | ColorMode::Indexed => Depth::Indexed,
            ColorMode::True => Depth::True,
        };
        Theme::of(self.theme_name().unwrap_or_default(), depth)
    }

    /// As arguments for another call of this program.
    fn to_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if self.plain {
            args.push("--plain".to_string());
        }
        let mut push = |name: &str, value: Option<clap::builder::PossibleValue>| {
            if let Some(value) = value {
                args.push(format!("--{name}={}", value.get_name()));
            }
        };
        push("color", self.color.to_possible_value());
        push("theme", self.theme.and_then(|t| t.to_possible_value()));
        push("glyphs", self.glyphs.and_then(|g| g.to_possible_value()));
        args
    }

    /// Options of a dashboard with this title, of the run in `dir`; stray output goes to `log`.
    pub fn options(
        &self,
        title: &str,
        dir: Option<&Path>,
        log: Option<&Path>,
    ) -> dashboard::Options {
        dashboard::Options {
            // An unknown theme has been refused when the command began.
            theme: Theme::of_terminal(self.theme_name().unwrap_or_default(), self.color),
            glyphs: self.glyphs.unwrap_or_else(Glyphs::of_terminal),
            title: title.into(),
            log: log.map(Path::to_path_buf),
            dir: dir.map(Path::to_path_buf),
            verify: |dir, name| match Checkpoints::at(dir).verify(name) {
                Ok(_) => Ok(()),
                Err(why) => Err(why.to_string()),
            },
            job: dashboard::Job::default(),
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
        self.global.ui.theme_name().map_err(exit::input)?;
        if self.command.as_ref().is_some_and(Command::computes) {
            threads::start_pool()?;
        }
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
            Some(Command::Completions(args)) => args.run().map(|()| exit::OK),
            Some(Command::Man(args)) => args.run().map(|()| exit::OK),
            None => home::run(&self.global),
        }
    }
}

/// Reads an argument that names a run, a model or a file: as it is where it is UTF-8, with the escapes of
/// [`exact::to_text`] where it is not. What `--json` printed can therefore be given again.
fn exact_text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|given| match given.into_string() {
        Ok(text) => text,
        Err(bytes) => exact::to_text(&bytes).into_owned(),
    })
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

/// The run of this name or, without one, the only live one, which is named on stderr. `command` is what the caller does.
///
/// # Errors
/// When there is no such run, none is live, or several are.
fn live_run(name: Option<&str>, runs: &Path, command: &str) -> Result<RunDir> {
    if let Some(name) = name {
        return Ok(RunDir::open(runs, name)?);
    }
    let dir = pick::only_live(runs, command)?;
    say::err(&format!("run {}, the only live one", dir.name()));
    Ok(dir)
}

/// The last run written, which is named on stderr.
///
/// # Errors
/// When there is none.
fn last_run(runs: &Path) -> Result<RunDir> {
    let dir = pick::last_written(runs)?;
    say::err(&format!("run {}, the last one written", dir.name()));
    Ok(dir)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn global(args: &[&str]) -> String {
        let all = [&["heirloom"], args].concat();
        let cli = Cli::try_parse_from(&all).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let inner = match &cli.command {
            Some(Command::Train(args)) => format!("{:?}", args.global()),
            _ => format!("{:?}", cli.global),
        };
        // A command's own copy is the same as the program's.
        assert_eq!(inner, format!("{:?}", cli.global), "{args:?}");
        inner
    }

    #[test]
    fn global_options_mean_the_same_before_and_after_every_command() {
        let options = [
            "--runs", "d", "--color", "16", "--theme", "light", "--glyphs", "ascii", "--plain",
        ];
        let wanted = global(&options);
        assert!(
            wanted.contains("\"d\"") && wanted.contains("plain: true"),
            "{wanted}"
        );
        let commands: [&[&str]; 18] = [
            &["train", "tiny"],
            &["attach"],
            &["ctl", "status"],
            &["watch"],
            &["replay"],
            &["show"],
            &["ls"],
            &["data", "prepare", "a.txt", "--out", "b"],
            &["info", "m"],
            &["loss", "m", "--text", "a"],
            &["rank", "m", "--text", "a"],
            &["generate", "m", "--prompt", "a"],
            &["inherit", "--from", "m", "--out", "o"],
            &["export", "m", "--format", "hf", "--out", "o"],
            &["bench", "train"],
            &["bench", "ranks", "m", "--text", "a"],
            &["selftest"],
            &["demo", "collapse"],
        ];
        for command in commands {
            for place in 0..=command.len() {
                let (before, after) = command.split_at(place);
                if place > 0 && before.last().is_some_and(|word| word.starts_with("--")) {
                    continue;
                }
                let args = [before, &options, after].concat();
                assert_eq!(global(&args), wanted, "{args:?}");
            }
        }
    }

    #[test]
    fn options_are_given_on_as_they_came() {
        for given in [
            &[][..],
            &["--runs", "d"],
            &["--plain", "--glyphs", "ascii"],
            &["--color", "never"],
            &["--theme", "contrast"],
        ] {
            let wanted = global(given);
            let cli = Cli::try_parse_from([&["heirloom"], given].concat()).unwrap();
            let given_on = cli.global.to_args();
            let options = given_on.iter().map(|a| a.to_str().unwrap());
            let args: Vec<&str> = ["train", "tiny"].into_iter().chain(options).collect();
            assert_eq!(global(&args), wanted, "{args:?}");
        }
    }

    #[test]
    fn a_theme_is_chosen_by_option_then_by_variable() {
        let ui = |args: &[&str]| {
            let all = [&["heirloom"], args].concat();
            Cli::try_parse_from(all).unwrap().global.ui
        };
        let plain = ui(&[]);
        assert_eq!(plain.theme_or("").unwrap(), ThemeName::Auto);
        assert_eq!(plain.theme_or("light").unwrap(), ThemeName::Light);
        assert_eq!(plain.theme_or("Terminal").unwrap(), ThemeName::Terminal);
        let dark = ui(&["--theme", "dark"]);
        assert_eq!(dark.theme_or("light").unwrap(), ThemeName::Dark);
        let auto = ui(&["--theme", "auto"]);
        assert_eq!(auto.theme_or("light").unwrap(), ThemeName::Auto);
        let error = plain.theme_or("solarized").unwrap_err().to_string();
        assert_eq!(
            error,
            "HEIRLOOM_THEME: expected one of auto, dark, light, contrast, terminal, got \"solarized\""
        );
    }
}
