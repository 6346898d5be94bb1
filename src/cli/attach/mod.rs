//! `heirloom attach`: shows the dashboard of a training in another process of this machine.

mod plain;

use std::io::IsTerminal;

use anyhow::{Result, bail};

use super::find::live_run;
use super::{Global, UiArgs, exit, say};
use crate::dashboard::{self, AttachFeed, Exit};
use crate::run::dir::RunDir;
use crate::run::state::{RunState, Status};

/// Open the dashboard of a running training, with control
///
/// The training may have been detached, have lost its terminal, or have been started with -d.
///
/// One dashboard at a time has control; the others watch until they take it with `:take-control`. With `--plain`, lines are
/// printed and commands are typed; Ctrl-D leaves.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path [default: the only one in progress]
    #[arg(value_name = "RUN", value_parser = super::values::exact_text())]
    run: Option<String>,
    #[command(flatten)]
    global: Global,
    /// Read-only: never take control
    #[arg(long)]
    read_only: bool,
}

impl Args {
    /// # Errors
    /// When there is no such run, it is not running, or there is no terminal.
    pub fn run(self) -> Result<i32> {
        let dir = live_run(self.run.as_deref(), &self.global.runs, "attach")?;
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            bail!(exit::usage(
                "attach needs a terminal; without one, `heirloom watch` follows a run and `heirloom ctl` commands it"
            ));
        }
        let (exit, state) = match self.global.ui.plain() {
            true => (Exit::Detach, plain::run(&dir, self.read_only)?),
            false => dashboard(&dir, self.read_only, &self.global.ui)?,
        };
        if exit != Exit::Hangup {
            // A failure to print is ignored.
            let (name, run) = (dir.name(), dir.argument());
            let words = match state.core.status {
                Status::Running | Status::Paused => {
                    format!("left run {name} (still running); reattach: heirloom attach {run}\n")
                }
                _ => format!("run {name} has ended: heirloom show {run}\n"),
            };
            say::out(&words)?;
        }
        Ok(exit::OK)
    }
}

/// Shows the dashboard of a run in progress until it is left. Returns how it ended, and the run's last state.
///
/// # Errors
/// When its process cannot be reached, or the terminal cannot be taken over.
pub fn dashboard(dir: &RunDir, read_only: bool, ui: &UiArgs) -> Result<(Exit, RunState)> {
    let (mut feed, past) = AttachFeed::connect(dir, read_only)?;
    let options = ui.options(&dir.name(), Some(dir.path()), None);
    dashboard::run(&mut feed, &options, past)
}
