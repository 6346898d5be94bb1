//! The places of a run's files, and how a run is found by name.
//!
//! A name refers to an entry of the runs directory: everything that holds a `/`, or is `.` or `..`, is a path, which is taken as given. A
//! link in the runs directory is a run wherever it leads, since only its owner can have put it there. Names of new runs are plain ASCII;
//! those of directories from elsewhere may be anything, and are sanitised wherever they are printed.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::file::is_temporary;
use crate::text::{self, exact};

/// The directory of runs without `--runs DIR`.
pub const DEFAULT_RUNS: &str = "runs";

#[derive(Debug, thiserror::Error)]
pub enum DirError {
    #[error("run {name} exists already ({}); choose another --name, or `heirloom train --resume {}`", text::path(path), RunDir::at(path).argument())]
    Exists { name: String, path: PathBuf },
    #[error(
        "{} exists already and is not a run; choose another --name, or move it away",
        text::path(path)
    )]
    Taken { path: PathBuf },
    #[error(
        "{0:?} cannot be a run's name: use letters, digits, '.', '_' and '-', not first '.' or '-'"
    )]
    BadName(String),
    #[error(
        "cannot write runs under {}: {source}{}",
        text::path(path),
        place_advice(source)
    )]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {source}", text::path(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "no run {} under {}{}",
        text::clean(run),
        text::path(runs),
        hint(runs, near)
    )]
    NotFound {
        run: String,
        runs: PathBuf,
        near: Vec<String>,
    },
    #[error(
        "{} is not a run: it has neither events.jsonl nor config.toml",
        text::path(path)
    )]
    NotARun { path: PathBuf },
}

/// Advises what to do when a place cannot be used: another directory helps, except when the process has too many files open.
fn place_advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "; raise the limit on open files (ulimit -n)",
        _ => "; choose another directory with --runs DIR",
    }
}

fn hint(runs: &Path, near: &[String]) -> String {
    if runs != Path::new(DEFAULT_RUNS) && !runs.is_dir() {
        "; the directory does not exist, --runs DIR names a different directory".into()
    } else if near.is_empty() {
        match runs == Path::new(DEFAULT_RUNS) {
            true => "; `heirloom ls` lists the runs".into(),
            false => format!(
                "; `heirloom ls --runs {}` lists the runs",
                text::argument(runs)
            ),
        }
    } else {
        let near: Vec<String> = near.iter().map(|n| text::sanitize(n).into()).collect();
        format!("; did you mean {}?", near.join(" or "))
    }
}

/// One run's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Finds a run by its name under `runs`, or by path.
    ///
    /// # Errors
    /// When it does not exist; the message lists similar names.
    pub fn open(runs: &Path, run: &str) -> Result<Self, DirError> {
        let named = Self::named(runs, run);
        let plain = named.is_some();
        if let Some(named) = named.filter(Self::is_run) {
            return Ok(named);
        }
        let path = &*exact::to_path(run);
        let by_path = Self::at(path);
        if by_path.is_run() {
            return Ok(by_path);
        }
        if path.is_dir() && !plain {
            return Err(DirError::NotARun { path: path.into() });
        }
        let wanted = path
            .file_name()
            .map_or(run.into(), |n| exact::to_text(n).into_owned());
        Err(DirError::NotFound {
            run: run.into(),
            runs: runs.into(),
            near: near(&wanted, Self::list(runs).unwrap_or_default()),
        })
    }

    /// The directory that `name` means under `runs`, without checking that it exists; `None` for a path.
    pub fn named(runs: &Path, name: &str) -> Option<Self> {
        is_name(name).then(|| Self::at(&runs.join(exact::to_path(name))))
    }

    /// A directory that is assumed to be a run's, without checking that it exists.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
        }
    }

    /// The runs under a directory, sorted by name; none when the directory does not exist.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(runs: &Path) -> Result<Vec<Self>, DirError> {
        let unreadable = |source| DirError::Unreadable {
            path: runs.to_path_buf(),
            source,
        };
        let entries = match std::fs::read_dir(runs) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let run = Self::at(&entry.map_err(unreadable)?.path());
            let hidden = run.path.file_name().is_some_and(is_temporary);
            if run.is_run() && !hidden {
                found.push(run);
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    pub(super) fn is_run(&self) -> bool {
        self.events().is_file() || self.config().is_file()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory's own name, as [`exact::to_text`] writes it.
    pub fn name(&self) -> String {
        let known = |p: &Path| Some(exact::to_text(p.file_name()?).into_owned());
        known(&self.path)
            .or_else(|| known(&self.path.canonicalize().ok()?))
            .unwrap_or_else(|| exact::to_text(&self.path).into_owned())
    }

    /// Returns the name of this run on the command line, quoted for a shell: its name where it is under the default
    /// directory, else its path.
    pub fn argument(&self) -> String {
        match (self.path.parent(), self.path.file_name()) {
            (Some(parent), Some(name)) if parent == Path::new(DEFAULT_RUNS) => {
                text::argument(Path::new(name))
            }
            _ => text::argument(&self.path),
        }
    }

    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The decisions of another run that this one repeats, until a checkpoint holds them.
    pub fn decisions(&self) -> PathBuf {
        self.path.join("decisions.json")
    }

    pub fn rank(&self) -> PathBuf {
        self.path.join("rank")
    }

    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log.txt")
    }
}

/// Whether this is the name of a directory's entry, rather than a path that leads out of it or further in.
pub fn is_name(name: &str) -> bool {
    let path = exact::to_path(name);
    let mut parts = path.components();
    let one = matches!(parts.next(), Some(Component::Normal(part)) if part == path.as_os_str());
    one && parts.next().is_none()
}

pub(super) fn name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

pub(super) fn check_name(name: &str) -> Result<(), DirError> {
    let fits = !name.is_empty()
        && name.len() <= 128
        && name.chars().all(name_char)
        && !name.starts_with(['.', '-']);
    if fits {
        Ok(())
    } else {
        Err(DirError::BadName(name.into()))
    }
}

/// Returns at most three names that begin like `wanted` or have a similar spelling, the nearest first.
fn near(wanted: &str, runs: Vec<RunDir>) -> Vec<String> {
    // Comparing takes time and memory that grow with both lengths.
    if wanted.len() > 255 {
        return Vec::new();
    }
    let mut scored: Vec<(f64, String)> = runs
        .iter()
        .map(RunDir::name)
        .map(|name| {
            let begins = !wanted.is_empty() && name.starts_with(wanted);
            let score = strsim::normalized_damerau_levenshtein(wanted, &name);
            (if begins { 1.0 + score } else { score }, name)
        })
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    // Of equally near names the latest is the more likely one.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| b.1.cmp(&a.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(runs: &Path, name: &str) -> RunDir {
        let dir = RunDir::create(runs, "tiny", Some(name)).unwrap();
        std::fs::write(dir.events(), "").unwrap();
        dir
    }

    #[test]
    fn a_named_run_is_made_once() {
        let tmp = tempfile::tempdir().unwrap();
        let runs = tmp.path().join("deep/runs");
        let dir = RunDir::create(&runs, "tiny", Some("first")).unwrap();
        assert_eq!(dir.path(), runs.join("first"));
        assert!(dir.checkpoints().is_dir() && dir.rank().is_dir());
        std::fs::write(dir.events(), "").unwrap();
        let message = RunDir::create(&runs, "tiny", Some("first"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("run first exists already ("),
            "{message}"
        );
        assert!(message.contains("heirloom train --resume /"), "{message}");
    }

    #[test]
    fn dated_names_begin_with_the_preset_and_never_clash() {
        let tmp = tempfile::tempdir().unwrap();
        let a = RunDir::create(tmp.path(), "tiny", None).unwrap();
        let b = RunDir::create(tmp.path(), "tiny", None).unwrap();
        assert!(a.name().starts_with("tiny-20"), "{}", a.name());
        assert_ne!(a, b);
        let odd = RunDir::create(tmp.path(), "../my config", None).unwrap();
        assert!(odd.name().starts_with("my-config-20"), "{}", odd.name());
        assert_eq!(odd.path().parent(), Some(tmp.path()));
    }

    #[test]
    fn names_that_are_paths_or_options_are_refused() {
        let tmp = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "-x", ".hidden", "two words", "\u{1b}[2J"] {
            let error = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap_err();
            assert!(matches!(error, DirError::BadName(_)), "{name:?}: {error}");
        }
    }

    #[test]
    fn a_name_never_leads_out_of_the_runs_directory() {
        let tmp = tempfile::tempdir().unwrap();
        let runs = tmp.path().join("runs");
        run(&runs, "inside");
        run(tmp.path(), "outside");
        for name in [
            "../outside",
            "inside/../../outside",
            "..",
            ".",
            "",
            "/",
            "inside/",
            "a\0b/c",
        ] {
            assert_eq!(RunDir::named(&runs, name), None, "{name:?}");
            assert!(RunDir::open(&runs, name).is_err(), "{name:?}");
        }
        assert!(RunDir::open(&runs, "outside").is_err());
        // A path is taken as given, and a link in the runs directory is the operator's own.
        let path = tmp.path().join("outside");
        assert_eq!(
            RunDir::open(&runs, path.to_str().unwrap()).unwrap().path(),
            path
        );
        std::os::unix::fs::symlink(&path, runs.join("linked")).unwrap();
        assert_eq!(RunDir::open(&runs, "linked").unwrap().name(), "linked");
    }

    #[test]
    fn names_in_messages_cannot_draw() {
        let tmp = tempfile::tempdir().unwrap();
        let odd = tmp.path().join("tiny\x1b[2J\n1");
        std::fs::create_dir(&odd).unwrap();
        std::fs::write(odd.join("events.jsonl"), "").unwrap();
        for wanted in ["tiny\x1b[2J\n2", "x\u{202e}", &"n".repeat(100_000)] {
            let message = RunDir::open(tmp.path(), wanted).unwrap_err().to_string();
            assert_eq!(message, text::sanitize(&message), "{wanted:.20}");
            assert!(message.len() < 9000, "{}", message.len());
        }
    }

    #[test]
    fn an_unwritable_place_is_told_with_the_way_out() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = RunDir::create(&file, "tiny", None).unwrap_err().to_string();
        assert!(message.starts_with("cannot write runs under"), "{message}");
        assert!(
            message.ends_with("choose another directory with --runs DIR"),
            "{message}"
        );
    }

    #[test]
    fn a_run_opens_by_name_and_by_path() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = run(tmp.path(), "first");
        assert_eq!(RunDir::open(tmp.path(), "first").unwrap(), dir);
        let path = format!("{}/", dir.path().display());
        assert_eq!(
            RunDir::open(Path::new("elsewhere"), &path).unwrap().name(),
            "first"
        );
    }

    #[test]
    fn an_unknown_name_lists_near_ones() {
        let tmp = tempfile::tempdir().unwrap();
        run(tmp.path(), "tiny-20260101-120000");
        run(tmp.path(), "tiny-20260102-120000");
        run(tmp.path(), "books-20260102-120000");
        let said = |name: &str| RunDir::open(tmp.path(), name).unwrap_err().to_string();
        let message = said("tiny-20260102-12000");
        assert!(
            message.contains("did you mean tiny-20260102-120000"),
            "{message}"
        );
        assert!(!message.contains("books"), "{message}");
        assert!(said("tiny").contains("did you mean tiny-20260102-120000 or tiny-20260101"));
        assert!(said("zzz").ends_with(&format!(
            "`heirloom ls --runs {}` lists the runs",
            text::argument(tmp.path())
        )));
        let nowhere = RunDir::open(&tmp.path().join("nowhere"), "zzz").unwrap_err();
        assert!(
            nowhere
                .to_string()
                .contains("nowhere; the directory does not exist")
        );
        let path = tmp.path().display().to_string();
        assert!(said(&path).contains("is not a run"));
    }

    #[test]
    fn the_list_holds_runs_only() {
        let tmp = tempfile::tempdir().unwrap();
        run(tmp.path(), "b");
        run(tmp.path(), "a");
        std::fs::create_dir(tmp.path().join("not-a-run")).unwrap();
        std::fs::write(tmp.path().join("README.md"), "").unwrap();
        let names: Vec<String> = RunDir::list(tmp.path())
            .unwrap()
            .iter()
            .map(RunDir::name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(RunDir::list(&tmp.path().join("none")).unwrap(), []);
    }
}
