//! Fetches files of a data set of the hub.

use std::path::{Path, PathBuf};

use super::{Hub, is_offline};
use crate::locate::hub::{self, HubError, Name};

/// Most files of one data set; the tasks' have one or two.
const MOST_FILES: usize = 1000;

/// Returns the Parquet files in `folders` of a data set, in the order of the folders. Files that the cache lacks are
/// fetched. With `HF_HUB_OFFLINE`, or when the hub does not answer, those of the cache are used if every folder is there.
pub(in crate::locate) fn dataset(
    name: &str,
    revision: &str,
    folders: &[String],
    cache: Option<&Path>,
) -> Result<Vec<PathBuf>, HubError> {
    let wanted = Name::of_dataset(name, revision);
    let cache = cache.ok_or_else(|| HubError::NoCache { name: name.into() })?;
    let kept = || {
        let snapshot = wanted.cached(cache).ok()?;
        let all = folders
            .iter()
            .map(|folder| in_folder(&snapshot.join(folder)));
        Some(all.collect::<Option<Vec<_>>>()?.concat())
    };
    if is_offline() {
        return kept().ok_or_else(|| HubError::Offline {
            name: name.into(),
            revision: revision.into(),
            cache: cache.into(),
        });
    }
    let hub = Hub::new(wanted, cache)?;
    match hub.ask() {
        Ok(info) => {
            let listed = info.siblings.iter().map(|s| s.rfilename.as_str());
            let names = hub.choose(listed.collect(), folders)?;
            let dir = wanted.dir(&hub.cache);
            let snapshot = dir.join("snapshots").join(&info.sha);
            for name in &names {
                if !snapshot.join(name).is_file() {
                    hub.bring_file(&dir, &info.sha, name)?;
                }
            }
            hub.point(&dir, &info.sha)?;
            Ok(names.iter().map(|name| snapshot.join(name)).collect())
        }
        Err(error @ (HubError::Unreachable { .. } | HubError::Refused { .. })) => {
            kept().ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// Returns the Parquet files of a folder of a snapshot, in the order of their names; `None` without any.
fn in_folder(dir: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "parquet") && path.is_file())
        .collect();
    files.sort_unstable();
    (!files.is_empty()).then_some(files)
}

impl Hub<'_> {
    /// Returns the names of the Parquet files in the folders. Names become paths: only those that stay in the snapshot are used.
    fn choose(&self, mut listed: Vec<&str>, folders: &[String]) -> Result<Vec<String>, HubError> {
        listed.sort_unstable();
        let mut names = Vec::new();
        for folder in folders {
            let before = names.len();
            let is_wanted = |name: &&str| {
                let rest = name.strip_prefix(folder.as_str());
                let file = rest.and_then(|rest| rest.strip_prefix('/'));
                file.is_some_and(|file| hub::is_part(file) && file.ends_with(".parquet"))
            };
            let found = listed.iter().copied().filter(is_wanted);
            names.extend(found.map(str::to_string));
            if names.len() == before {
                return Err(self.refused(&format!("it has no Parquet files in {folder}")));
            }
        }
        if names.len() > MOST_FILES {
            return Err(self.refused(&format!("it has more than {MOST_FILES} files")));
        }
        Ok(names)
    }
}
