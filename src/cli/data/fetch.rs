//! `heirloom data fetch`: fetches the documents of downstream tasks from the hub into a data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::sources::{REVISION, SOURCES, Source};
use crate::cli::{exit, say};
use crate::config::keys;
use crate::text;

#[derive(Debug, clap::Args)]
pub struct Fetch {
    /// Names of tasks, as in `heirloom eval --tasks`
    #[arg(required = true, value_name = "TASK", value_delimiter = ',')]
    tasks: Vec<String>,
    /// The data directory; each task gets a directory in it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

impl Fetch {
    /// Returns the exit code.
    ///
    /// # Errors
    /// When a task is unknown, or its files cannot be fetched or written.
    pub fn run(self) -> Result<i32> {
        let sources = self.tasks.iter().map(|task| source(task));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        for source in sources {
            let found = find(source).map_err(|why| {
                let advice = advice(source, &self.data);
                anyhow::anyhow!("{}: {why}.\n{advice}", source.task)
            })?;
            for (from, to) in targets(source, &found, &self.data)? {
                copy(&from, &to)
                    .with_context(|| format!("{} cannot be written", text::path(&to)))?;
                say::out(&format!("{}\n", text::path(&to)))?;
            }
        }
        Ok(exit::OK)
    }
}

/// Returns the source of a task.
///
/// # Errors
/// When the task is unknown; the error has the most similar name.
fn source(task: &str) -> Result<&'static Source> {
    let names = || SOURCES.iter().map(|source| source.task);
    let found = SOURCES.iter().find(|source| source.task == task);
    found.ok_or_else(|| {
        let near = keys::best(task, names(), 0.6);
        let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        let all = names().collect::<Vec<_>>().join(", ");
        let task = text::clean(task);
        exit::usage(&format!("unknown task {task}{near} (there are: {all})")).into()
    })
}

/// Returns the files in the hub's cache, after fetching those that it lacks.
#[cfg(feature = "hub")]
fn find(source: &Source) -> Result<Vec<PathBuf>, String> {
    use crate::locate::{self, HubError};

    let found = locate::dataset(source.dataset, REVISION, &source.folders());
    found.map_err(|error| match error {
        // The error's own advice is about models.
        HubError::Unreachable { endpoint, why, .. } => {
            format!("{endpoint} cannot be reached ({why})")
        }
        HubError::Offline { .. } => "HF_HUB_OFFLINE is set; unset it to fetch from the hub".into(),
        HubError::NoCache { .. } => {
            "the hub's cache has no directory: set HF_HUB_CACHE, HF_HOME or HOME".into()
        }
        error => error.to_string(),
    })
}

#[cfg(not(feature = "hub"))]
fn find(_: &Source) -> Result<Vec<PathBuf>, String> {
    Err("this program was built without the feature `hub`, so it cannot fetch anything".into())
}

/// Describes the files to copy, and their sources.
fn advice(source: &Source, data: &Path) -> String {
    let Source {
        dataset, config, ..
    } = source;
    let task = source.directory();
    let mut out = format!(
        "On a machine with a connection (pip install huggingface_hub):\n  hf download {dataset} --repo-type dataset --revision {REVISION} --include \"{config}/*\" --local-dir {task}\nThen copy"
    );
    for split in source.splits {
        let to = data.join(task).join(Source::file_name(split, 0, 1));
        out.push_str(&format!(
            "\n  {task}/{config}/{split}/0000.parquet to {}",
            text::path(&to)
        ));
    }
    out
}

/// Pairs the fetched files with their places in the data directory.
///
/// # Errors
/// When a file lies in none of the splits' folders.
fn targets(source: &Source, found: &[PathBuf], data: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut all = Vec::new();
    for split in source.splits {
        let folder = Path::new(source.config).join(split);
        let of_split = found.iter().filter(|path| {
            let parent = path.parent();
            parent.is_some_and(|parent| parent.ends_with(&folder))
        });
        let of_split: Vec<_> = of_split.collect();
        for (i, path) in of_split.iter().enumerate() {
            let name = Source::file_name(split, i, of_split.len());
            all.push(((*path).clone(), data.join(source.directory()).join(name)));
        }
    }
    if all.len() != found.len() {
        bail!(
            "{}: the hub sent files that were not requested",
            source.task
        );
    }
    Ok(all)
}

/// Copies a file atomically: the target is complete or missing.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(dir) = to.parent() {
        crate::file::create_dirs(dir)?;
    }
    let mut original = crate::file::open(from)?;
    let mut new = crate::file::NewFile::create(to)?;
    std::io::copy(&mut original, &mut new)?;
    new.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tasks::TASKS;

    /// Empty files in the right places are reported as damaged, not as missing.
    #[test]
    fn every_task_finds_its_documents_where_they_are_copied_to() {
        for task in TASKS {
            let tmp = tempfile::tempdir().unwrap();
            let source = source(task.name).unwrap();
            let dir = tmp.path().join(source.directory());
            std::fs::create_dir(&dir).unwrap();
            for split in source.splits {
                std::fs::write(dir.join(Source::file_name(split, 0, 1)), "").unwrap();
            }
            let error = format!("{:#}", (task.load)(tmp.path(), None).unwrap_err());
            assert!(error.contains("-00000-of-00001.parquet"), "{error}");
            assert!(!error.contains("looked for"), "{error}");
        }
    }

    #[test]
    fn an_unknown_task_is_answered_with_its_nearest_name() {
        let error = source("hellaswagg").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "unknown task hellaswagg; did you mean hellaswag? (there are: arc_easy, "
            ),
            "{error}"
        );
    }

    #[test]
    fn splits_of_several_files_are_numbered() {
        let mmlu = source("mmlu").unwrap();
        let cache = ["all/test/0000", "all/test/0001", "all/dev/0000"];
        let cache = cache.map(|name| PathBuf::from(format!("/c/{name}.parquet")));
        let to = targets(mmlu, &cache, Path::new("d")).unwrap();
        let to: Vec<_> = to.iter().map(|(_, to)| to.to_str().unwrap()).collect();
        assert_eq!(
            to,
            [
                "d/mmlu/test-00000-of-00002.parquet",
                "d/mmlu/test-00001-of-00002.parquet",
                "d/mmlu/dev-00000-of-00001.parquet"
            ]
        );
        assert!(targets(mmlu, &["/c/x/0000.parquet".into()], Path::new("d")).is_err());
    }
}
