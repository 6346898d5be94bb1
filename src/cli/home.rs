//! `heirloom` alone: the home screen.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use super::{Global, attach, exit, help, watch};
use crate::dashboard::home::{self, Choice};
use crate::run::dir::RunDir;

/// Shows it until the operator starts a preset, which replaces this process, or leaves.
///
/// # Errors
/// When the runs cannot be listed or a preset cannot be started.
pub fn run(global: &Global) -> Result<i32> {
    let (runs, ui) = (&global.runs, &global.ui);
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !terminal || ui.plain() {
        // Nobody can choose anything here.
        let help = help::command().render_help().to_string();
        let _ = std::io::Write::write_all(&mut std::io::stderr(), help.as_bytes());
        return Ok(exit::INPUT);
    }
    loop {
        match home::run(runs, &ui.options("", None, None)).map_err(exit::input)? {
            Choice::Quit => return Ok(exit::OK),
            Choice::Watch(path) => watch::dashboard(&RunDir::at(&path), ui)?,
            Choice::Attach(path) => {
                let dir = RunDir::at(&path);
                // A process without a socket can be watched only; so can one that has just ended.
                if attach::dashboard(&dir, false, ui).is_err() {
                    watch::dashboard(&dir, ui)?;
                }
            }
            Choice::Resume(path) => {
                let run = path.into_os_string();
                return replace_by_train(["--resume".into(), run], global);
            }
            Choice::Preset(name) => return replace_by_train([name.into()], global),
        }
    }
}

/// Executes `heirloom train` with these arguments in place of this process.
fn replace_by_train<const N: usize>(args: [OsString; N], global: &Global) -> Result<i32> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = std::process::Command::new(program);
    command.arg("train").args(args).args(global.to_args());
    Err(command.exec()).context("cannot start the training")
}
