//! `heirloom attach`: the full dashboard over a training that runs elsewhere on this machine.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{UiArgs, exit, say};
use crate::dashboard::{self, AttachFeed, Exit};
use crate::run::dir::{DEFAULT_RUNS, RunDir};

/// Open the full dashboard of a running training: detached, lost, or started with -d
///
/// One dashboard at a time has control; the others watch until they take it with `:take-control`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path
    #[arg(value_name = "RUN")]
    run: String,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Only look: never take control
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    ui: UiArgs,
}

impl Args {
    /// # Errors
    /// When there is no such run, nobody works on it, or there is no terminal.
    pub fn run(self) -> Result<i32> {
        let dir = RunDir::open(&self.runs, &self.run)?;
        if self.ui.plain() {
            bail!(exit::usage(
                "attach is a full-screen dashboard; for plain lines, `heirloom watch --plain` follows a run and `heirloom ctl` commands it"
            ));
        }
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            bail!(exit::usage(
                "attach needs a terminal; without one, `heirloom watch` follows a run and `heirloom ctl` commands it"
            ));
        }
        let (mut feed, past) = AttachFeed::connect(&dir, self.read_only)?;
        let options = self.ui.options(&dir.name(), None);
        let (exit, _) = dashboard::run(&mut feed, &options, past)?;
        if exit != Exit::Hangup {
            // Who leaves in a hurry does not read.
            let (name, run) = (dir.name(), dir.argument());
            say::out(&format!("left run {name}: heirloom attach {run}\n"))?;
        }
        Ok(exit::OK)
    }
}
