//! Models by the names that people use, on the command line and in configs: a path, a checkpoint of a run
//! (`RUN@latest`, `RUN@best`, `RUN@b0-s00001200-round-1`), or one of the Hugging Face hub (`hf:owner/name[@revision]`).
//!
//! A name becomes a path here; what lies there is for others to read. Nothing is fetched: of the hub's models those are
//! found that its own tools have put into the standard cache.

mod hub;

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::dir::{DirError, RunDir, is_name};
use crate::text;

/// The checkpoint of a run that is meant when none is named.
const LATEST: &str = "latest";

/// Why a name means no model. Foreign texts in here are clean; paths become so when the error is told.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error(transparent)]
    Run(#[from] DirError),
    #[error("run {run} has no checkpoint {checkpoint}; there are: {there}")]
    NoCheckpoint {
        run: String,
        checkpoint: String,
        there: String,
    },
    #[error("hf:{name} names no model of the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")]
    HubName { name: String },
    #[error(
        "{name} at revision {revision} is not in the hub's cache at {}; fetch it with \
         `hf download {name} --revision {revision}` (pip install huggingface_hub; a gated model needs its licence accepted \
         on huggingface.co and `hf auth login` first), or name a directory",
        text::path(cache)
    )]
    NotCached {
        name: String,
        revision: String,
        cache: PathBuf,
    },
    #[error(
        "neither HF_HUB_CACHE, HF_HOME nor HOME says where the hub's cache is; name a directory instead of hf:{name}"
    )]
    NoCache { name: String },
}

/// The directory or file that a model's name means. An existing path wins over a run of that name; a run alone means its
/// latest checkpoint.
///
/// # Errors
/// When there is no such path or run, the run has no such checkpoint, or the hub's cache no such model.
pub fn model(name: &str, runs: &Path) -> Result<PathBuf, LocateError> {
    match name.strip_prefix("hf:") {
        Some(hub) => hub::cached(hub, hub::cache().as_deref()),
        None => local(name, runs),
    }
}

fn local(name: &str, runs: &Path) -> Result<PathBuf, LocateError> {
    let path = Path::new(name);
    if path.is_file() || path.is_dir() && RunDir::open(runs, name).is_err() {
        return Ok(path.into());
    }
    // A path may hold an @ of its own.
    if let Some((run, checkpoint)) = name.rsplit_once('@')
        && !checkpoint.contains('/')
    {
        return self::checkpoint(&RunDir::open(runs, run)?, checkpoint);
    }
    checkpoint(&RunDir::open(runs, name)?, LATEST)
}

/// The directory of a checkpoint, by its name or a link to it.
fn checkpoint(run: &RunDir, name: &str) -> Result<PathBuf, LocateError> {
    let dir = run.checkpoints();
    let path = dir.join(name);
    let real = fs::read_link(&path).map_or(path, |target| dir.join(target));
    // A link from elsewhere may lead anywhere: a checkpoint lies in this folder.
    let inside = real.file_name().is_some_and(|n| dir.join(n) == real);
    if is_name(name) && inside && real.is_dir() {
        return Ok(real);
    }
    let there = fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut there: Vec<String> = there
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && text::sanitize(name) == *name)
        .collect();
    there.sort();
    Err(LocateError::NoCheckpoint {
        run: run.name(),
        checkpoint: text::clean(name).into_owned(),
        there: match there.is_empty() {
            true => "none".into(),
            false => there.join(", "),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with_checkpoints(runs: &Path) -> PathBuf {
        let checkpoints = runs.join("small/checkpoints");
        for name in ["b0-s00000010-round-1", "b0-s00000020-round-1"] {
            fs::create_dir_all(checkpoints.join(name)).unwrap();
        }
        fs::write(runs.join("small/config.toml"), "").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, checkpoints.join(name));
        link("b0-s00000020-round-1", "latest").unwrap();
        link("b0-s00000010-round-1", "best").unwrap();
        link("../..", "reference").unwrap();
        checkpoints
    }

    #[test]
    fn checkpoints_are_found_by_name_and_link() {
        let tmp = tempfile::tempdir().unwrap();
        let checkpoints = run_with_checkpoints(tmp.path());
        for (name, wanted) in [
            ("small", "b0-s00000020-round-1"),
            ("small@latest", "b0-s00000020-round-1"),
            ("small@best", "b0-s00000010-round-1"),
            ("small@b0-s00000010-round-1", "b0-s00000010-round-1"),
        ] {
            assert_eq!(model(name, tmp.path()).unwrap(), checkpoints.join(wanted));
        }
        // By path as well.
        let run = tmp.path().join("small");
        let found = model(&format!("{}@best", run.display()), Path::new("none"));
        assert_eq!(found.unwrap(), checkpoints.join("b0-s00000010-round-1"));
        for (name, wanted) in [
            (
                "small@reference",
                "run small has no checkpoint reference; there are: b0-s",
            ),
            ("small@..", "has no checkpoint .."),
            ("small@s\u{1b}[2J1", "has no checkpoint s1"),
            ("smal@best", "did you mean small?"),
            ("nothing", "no run nothing under"),
        ] {
            let told = model(name, tmp.path()).unwrap_err().to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("model@v2");
        fs::create_dir(&dir).unwrap();
        let file = dir.join("m.gguf");
        fs::write(&file, "").unwrap();
        for path in [&dir, &file] {
            let found = model(path.to_str().unwrap(), Path::new("runs")).unwrap();
            assert_eq!(found, *path);
        }
    }
}
