//! One file per subcommand; thin: arguments in, a call into the library, text out.

pub mod exit;
pub mod ls;
pub mod show;
pub mod train;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::dashboard;

/// Train small language models from the good layers of big ones.
///
/// Without a command, the home screen: presets to start, runs to open.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Show(show::Args),
    Ls(ls::Args),
}

/// How a dashboard looks.
#[derive(Debug, Clone, clap::Args)]
pub struct UiArgs {
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
        Vec::new()
    }
    /// Options of a dashboard with this title.
    pub fn options(&self, title: &str) -> dashboard::Options {
        dashboard::Options {
            title: title.into(),
        }
    }
}

impl Cli {
    /// Runs the command and returns the exit code.
    ///
    /// # Errors
    /// What the command failed of; [`exit::code`] says which code it stands for.
    pub fn run(self) -> Result<i32> {
        match self.command {
            Some(Command::Train(args)) => args.run(),
            Some(Command::Show(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            Some(Command::Ls(args)) => args.run().map(|()| exit::OK).map_err(exit::input),
            None => {
                let _ = PathBuf::new();
                Ok(0)
            }
        }
    }
}
