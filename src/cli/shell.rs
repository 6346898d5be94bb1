//! `heirloom completions` and `heirloom man`: print completions and manual pages, made from the command line's definition.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use super::say;
use crate::{file, text};

/// Print a script that completes commands and options in a shell
///
/// For example, in ~/.bashrc: eval "$(heirloom completions bash)". For fish:
/// heirloom completions fish > ~/.config/fish/completions/heirloom.fish
#[derive(Debug, clap::Args)]
pub struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// # Errors
    /// When it cannot be printed.
    pub fn run(self, mut command: Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "heirloom", &mut script);
        Ok(say::out(&String::from_utf8_lossy(&script))?)
    }
}

/// Print the manual page, or write one for every command
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write heirloom.1, heirloom-train.1, ... here instead, for example into ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    /// # Errors
    /// When a page cannot be printed or written.
    pub fn run(self, command: Command) -> anyhow::Result<()> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        match self.dir {
            None => Ok(say::out(&page(&command)?)?),
            Some(dir) => {
                file::create_dirs(&dir)
                    .with_context(|| format!("cannot create the directory {}", text::path(&dir)))?;
                write(&command, &dir)?;
                Ok(say::out(&format!(
                    "wrote the pages to {}\n",
                    text::path(&dir)
                ))?)
            }
        }
    }
}

/// Returns a command's page, as roff.
fn page(command: &Command) -> std::io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes the pages of a command and of its subcommands.
fn write(command: &Command, dir: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = dir.join(format!("{name}.1"));
    file::replace_output(&path, page(command)?.as_bytes())
        .with_context(|| format!("cannot write {}", text::path(&path)))?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write(below, dir)?;
    }
    Ok(())
}
