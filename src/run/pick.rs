//! Chooses the run for a command that does not name one.

use std::path::{Path, PathBuf};

use super::advice;
use super::dir::{DirError, RunDir};
use super::lock::RunLock;
use crate::text;

#[derive(Debug, thiserror::Error)]
pub enum PickError {
    #[error("no runs under {}; `heirloom train tiny` starts one", text::path(.0))]
    NoRuns(PathBuf),
    #[error(
        "no run is in progress under {}; the most recently written: {last}",
        text::path(runs)
    )]
    NoneLive { runs: PathBuf, last: String },
    #[error(
        "{} runs are in progress under {}: {}; name one: {example}",
        names.len(),
        text::path(runs),
        names.join(", ")
    )]
    SeveralLive {
        runs: PathBuf,
        names: Vec<String>,
        example: String,
    },
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// Returns the only run under `runs` that a process works on. `command` is what the caller does with it (`attach`).
///
/// # Errors
/// When none is live, with what to do about the last one written; when several are, with their names.
pub fn only_live(runs: &Path, command: &str) -> Result<RunDir, PickError> {
    let mut live = RunDir::list(runs)?;
    live.retain(|dir| RunLock::is_live(dir.path()));
    match &live[..] {
        [] => {
            let last = advice::of_idle(&last_written(runs)?);
            let runs = runs.to_path_buf();
            Err(PickError::NoneLive { runs, last })
        }
        [only] => Ok(only.clone()),
        [first, ..] => {
            let word = if command == "ctl" { " status" } else { "" };
            Err(PickError::SeveralLive {
                runs: runs.to_path_buf(),
                example: format!("heirloom {command} {}{word}", first.argument()),
                names: live.iter().map(RunDir::argument).collect(),
            })
        }
    }
}

/// Returns the run under `runs` whose journal was written last.
///
/// # Errors
/// When there are no runs.
pub fn last_written(runs: &Path) -> Result<RunDir, PickError> {
    let written = |dir: &RunDir| {
        let file = std::fs::metadata(dir.events());
        file.and_then(|m| m.modified()).ok()
    };
    let last = RunDir::list(runs)?.into_iter().max_by_key(written);
    last.ok_or_else(|| PickError::NoRuns(runs.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn run(runs: &Path, name: &str, age: u64) {
        let dir = RunDir::create(runs, "tiny", Some(name)).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let file = std::fs::File::create(dir.events()).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(time).unwrap();
    }

    #[test]
    fn the_only_live_run_is_taken_and_several_are_listed() {
        let tmp = tempfile::tempdir().unwrap();
        let said = |runs: &Path| only_live(runs, "attach").unwrap_err().to_string();
        assert!(said(tmp.path()).contains("`heirloom train tiny` starts one"));
        run(tmp.path(), "old", 100);
        run(tmp.path(), "new", 10);
        assert_eq!(last_written(tmp.path()).unwrap().name(), "new");
        let none = said(tmp.path());
        assert!(
            none.contains("run new has not begun") && none.contains("heirloom train --resume"),
            "{none}"
        );
        let lock = RunLock::acquire(&tmp.path().join("old")).unwrap();
        assert_eq!(only_live(tmp.path(), "attach").unwrap().name(), "old");
        let another = RunLock::acquire(&tmp.path().join("new")).unwrap();
        let several = said(tmp.path());
        for word in [
            "2 runs are in progress",
            "/new, ",
            "/old; name one: heirloom attach ",
        ] {
            assert!(several.contains(word), "{several}");
        }
        drop((lock, another));
    }
}
