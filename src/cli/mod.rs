//! The command line, with a file per subcommand. Each parses arguments, calls the library, and prints the result.

pub mod attach;
pub mod bench;
pub mod ctl;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod eval;
pub mod exit;
pub mod export;
mod find;
pub mod forecast;
pub mod generate;
mod global;
pub mod help;
pub mod home;
pub mod info;
pub mod inherit;
pub mod input;
pub mod loss;
pub mod ls;
mod memory;
pub mod prompt;
pub mod rank;
pub mod replay;
pub mod say;
pub mod selftest;
pub mod shell;
pub mod show;
pub mod train;
mod values;
mod version;
pub mod watch;
pub mod windows;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::threads;
pub use global::{Global, UiArgs};

/// Train small language models from the good layers of big ones.
///
/// Without a command, the home screen: presets to start, runs to open.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version = version::VERSION, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Attach(attach::Args),
    Ctl(ctl::Args),
    Watch(watch::Args),
    Replay(replay::Args),
    Show(show::Args),
    Forecast(forecast::Args),
    Ls(ls::Args),
    Data(data::Args),
    Info(info::Args),
    Loss(loss::Args),
    Eval(eval::Args),
    Rank(rank::Args),
    Generate(generate::Args),
    Inherit(inherit::Args),
    Export(export::Args),
    Bench(bench::Args),
    Selftest(selftest::Args),
    Demo(demo::Args),
    Doctor(doctor::Args),
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
            | Self::Forecast(_)
            | Self::Ls(_)
            | Self::Doctor(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
            Self::Data(_)
            | Self::Info(_)
            | Self::Loss(_)
            | Self::Eval(_)
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

impl Cli {
    /// Runs the command and returns the exit code.
    ///
    /// # Errors
    /// When the command fails; [`exit::code`] returns the exit code.
    pub fn run(self) -> Result<i32> {
        crate::ops::check_unit().map_err(|e| exit::usage(&e))?;
        crate::ops::check_gpu_features().map_err(|e| exit::usage(&e))?;
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
            Some(Command::Forecast(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Ls(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Info(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Loss(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Eval(args)) => args.run().map_err(exit::input),
            Some(Command::Rank(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Generate(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Inherit(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Demo(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Bench(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Selftest(args)) => args.run().map_err(exit::input),
            Some(Command::Data(args)) => args.run().map_err(exit::input),
            Some(Command::Export(args)) => args.run().map_err(exit::input),
            Some(Command::Doctor(args)) => args.run(),
            Some(Command::Completions(args)) => args.run(command()).map(|()| exit::OK),
            Some(Command::Man(args)) => args.run(command()).map(|()| exit::OK),
            None => home::run(&self.global, command()),
        }
    }
}

/// Parses the arguments of this process.
///
/// # Errors
/// When the arguments are not valid, or help or the version was asked for.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

/// Returns the command line's definition, with grouped help.
pub fn command() -> clap::Command {
    help::group(Cli::command())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::theme::ThemeName;

    fn global(args: &[&str]) -> String {
        let all = [&["heirloom"], args].concat();
        let cli = Cli::try_parse_from(&all).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let inner = match &cli.command {
            Some(Command::Train(args)) => format!("{:?}", args.global()),
            _ => format!("{:?}", cli.global),
        };
        // A command's own copy of the options equals the program's.
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
        let commands: [&[&str]; 22] = [
            &["train", "tiny"],
            &["attach"],
            &["ctl", "status"],
            &["watch"],
            &["replay"],
            &["show"],
            &["forecast", "r"],
            &["ls"],
            &["data", "prepare", "a.txt", "--out", "b"],
            &["data", "fetch", "piqa", "--data", "d"],
            &["info", "m"],
            &["loss", "m", "--text", "a"],
            &["eval", "m", "--tasks", "piqa", "--data", "d"],
            &["rank", "m", "--text", "a"],
            &["generate", "m", "--prompt", "a"],
            &["inherit", "--from", "m", "--out", "o"],
            &["export", "m", "--format", "hf", "--out", "o"],
            &["bench", "train"],
            &["bench", "ranks", "m", "--text", "a"],
            &["selftest"],
            &["demo", "collapse"],
            &["doctor"],
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
