//! Advice for a run that no process works on.

use super::dir::RunDir;
use super::series::open::{Budget, brief};
use super::state::Status;

/// Describes the state of the run and gives the command that helps.
pub fn of_idle(dir: &RunDir) -> String {
    let (name, run) = (dir.name(), dir.argument());
    let resume = match has_checkpoint(dir) {
        true => format!("resume it with: heirloom train --resume {run}"),
        false => {
            format!("it has no checkpoint and starts over with: heirloom train --resume {run}")
        }
    };
    let status = brief(dir.path(), &Budget::of_one()).map(|state| state.reported_status());
    let how = match status {
        Ok(Status::Done) => return format!("run {name} is done; its table: heirloom show {run}"),
        Ok(Status::Empty) => "has not begun",
        Ok(Status::Failed) => "has failed",
        Ok(Status::Running | Status::Paused | Status::Interrupted) => "is not running",
        Err(error) => {
            return format!("run {name} is not running, and its journal cannot be read: {error}");
        }
    };
    match dir.config().is_file() {
        true => format!("run {name} {how}; {resume}"),
        false => format!(
            "run {name} {how}, and has no config.toml to resume it with; to inspect it: heirloom show {run}"
        ),
    }
}

fn has_checkpoint(dir: &RunDir) -> bool {
    let entries = std::fs::read_dir(dir.checkpoints());
    entries.into_iter().flatten().flatten().any(|entry| {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
    })
}
