//! `heirloom` alone: the home screen.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::CommandFactory;

use super::{Cli, Global, exit, train, watch};
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
        let help = Cli::command().render_help().to_string();
        let _ = std::io::Write::write_all(&mut std::io::stderr(), help.as_bytes());
        return Ok(exit::INPUT);
    }
    loop {
        match home::run(runs, &ui.options("", None, None)).map_err(exit::input)? {
            Choice::Quit => return Ok(exit::OK),
            Choice::Run(path) => watch::dashboard(&RunDir::at(&path), ui)?,
            Choice::Preset(name) => {
                let program =
                    std::env::current_exe().context("cannot find this program's own file")?;
                let args = train::Args::preset(&name, global);
                let error = std::process::Command::new(program).args(args).exec();
                return Err(error).context("cannot start the training");
            }
        }
    }
}
