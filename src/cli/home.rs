//! The home screen: `heirloom` without a subcommand.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use super::{Global, attach, exit, train, watch};
use crate::dashboard::home::{self, Choice, Last, Start};
use crate::run::dir::RunDir;
use crate::text::exact;

/// Shows the home screen until the operator leaves or starts a run, which replaces this process. A run that was opened is still
/// selected when its screen is closed. `command` is the command line's definition, whose help is printed without a terminal.
///
/// # Errors
/// When the runs cannot be listed or a run cannot be started.
pub fn run(global: &Global, mut command: clap::Command) -> Result<i32> {
    let (runs, ui) = (&global.runs, &global.ui);
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !terminal || ui.plain() {
        // Without a terminal nothing can be chosen.
        let help = command.render_help().to_string();
        let _ = std::io::Write::write_all(&mut std::io::stderr(), help.as_bytes());
        return Ok(exit::INPUT);
    }
    let options = ui.options("", None, None);
    let check = |start: &Start| {
        let name = start.name.as_deref();
        train::check_new(global, &start.config, name, start.overrides())
    };
    let mut last = Last::default();
    loop {
        let choice = home::run(runs, &options, &mut last, &check);
        match choice.map_err(exit::input)? {
            Choice::Quit => return Ok(exit::OK),
            Choice::Watch(path) => watch::dashboard(&RunDir::at(&path), ui)?,
            Choice::Attach(path) => {
                let dir = RunDir::at(&path);
                // A process without a control socket, or one that has just ended, can only be watched.
                if attach::dashboard(&dir, false, ui).is_err() {
                    watch::dashboard(&dir, ui)?;
                }
            }
            Choice::Resume(path) => {
                let run = path.into_os_string();
                return replace_by_train(vec!["--resume".into(), run], global);
            }
            Choice::Start(start) => return replace_by_train(arguments(&start), global),
        }
    }
}

/// Returns the arguments for `heirloom train`.
fn arguments(start: &Start) -> Vec<OsString> {
    let config = exact::to_path(&start.config).into_owned();
    let mut args = Vec::new();
    for set in start.overrides() {
        args.extend(["--set".into(), set.into()]);
    }
    if let Some(name) = &start.name {
        args.extend(["--name".into(), name.into()]);
    }
    // A path may begin with a dash.
    args.extend(["--".into(), config.into_os_string()]);
    args
}

/// Executes `heirloom train` with these arguments in place of this process.
fn replace_by_train(args: Vec<OsString>, global: &Global) -> Result<i32> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = std::process::Command::new(program);
    command.arg("train").args(global.to_args()).args(args);
    Err(command.exec()).context("cannot start the training")
}
