//! Finds the run or the model that an argument means, and prints its name where the choice is not obvious.

use std::path::Path;

use anyhow::Result;

use super::say;
use crate::locate::{self, Located};
use crate::run::dir::RunDir;
use crate::run::pick;

/// Returns the run of this name or, without a name, the only live run, whose name is printed on stderr. `command` is the
/// subcommand that asks, for error messages.
///
/// # Errors
/// When the run is missing, no run is live, or several are.
pub(super) fn live_run(name: Option<&str>, runs: &Path, command: &str) -> Result<RunDir> {
    if let Some(name) = name {
        return Ok(RunDir::open(runs, name)?);
    }
    let dir = pick::only_live(runs, command)?;
    say::err(&format!("run {}, the only one in progress", dir.name()));
    Ok(dir)
}

/// Returns the run that was written last, and prints its name on stderr.
///
/// # Errors
/// When there are no runs.
pub(super) fn last_run(runs: &Path) -> Result<RunDir> {
    let dir = pick::last_written(runs)?;
    say::err(&format!("run {}, the most recently written", dir.name()));
    Ok(dir)
}

/// Finds a model by its name, and prints on stderr which one was chosen where the name leaves a choice. A checkpoint's files
/// are not verified yet.
///
/// # Errors
/// When the model is missing.
pub(super) fn found(model: &str, runs: &Path) -> Result<Located> {
    let located = locate::find(model, runs)?;
    if let Some(chosen) = &located.chosen {
        say::err(&format!("{model} is {chosen}"));
    }
    Ok(located)
}

/// Finds a model as [`found`] does, and verifies its files, because its weights will be read.
///
/// # Errors
/// As [`found`], and when a checkpoint is damaged.
pub(super) fn located(model: &str, runs: &Path) -> Result<Located> {
    let located = found(model, runs)?;
    located.verify()?;
    Ok(located)
}
