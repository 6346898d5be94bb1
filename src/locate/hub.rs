//! Models of the Hugging Face hub in its standard cache: `models--OWNER--NAME/refs/REVISION` holds a commit, and
//! `snapshots/COMMIT` the files.

use std::path::{Path, PathBuf};

use super::LocateError;
use crate::run::file;
use crate::text;

/// The revision that is meant when none is named.
const MAIN: &str = "main";
/// Most bytes of a file that holds a commit.
const LARGEST_REF: u64 = 4 << 10;

/// Where the cache is, as the hub's own tools have it.
pub fn cache() -> Option<PathBuf> {
    let set = |key: &str| {
        std::env::var_os(key)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// The directory of `OWNER/NAME` or `OWNER/NAME@REVISION`.
pub fn cached(name: &str, cache: Option<&Path>) -> Result<PathBuf, LocateError> {
    let (model, revision) = name.split_once('@').unwrap_or((name, MAIN));
    let bad = || LocateError::HubName {
        name: text::clean(name).into_owned(),
    };
    let (owner, own) = model.split_once('/').ok_or_else(bad)?;
    // A revision may be a branch with a slash in its name.
    if ![owner, own]
        .into_iter()
        .chain(revision.split('/'))
        .all(is_part)
    {
        return Err(bad());
    }
    let cache = cache.ok_or_else(|| LocateError::NoCache { name: name.into() })?;
    let dir = cache.join(format!("models--{owner}--{own}"));
    let commit = file::read_text(&dir.join("refs").join(revision), LARGEST_REF);
    // What is no branch or tag may be a commit itself.
    let commit = commit.map_or_else(|_| revision.into(), |text| text.trim().to_string());
    let snapshot = dir.join("snapshots").join(&commit);
    if is_part(&commit) && snapshot.is_dir() {
        return Ok(snapshot);
    }
    Err(LocateError::NotCached {
        name: model.into(),
        revision: revision.into(),
        cache: cache.into(),
    })
}

/// Whether this is part of a name of the hub, and of no path that leads elsewhere.
fn is_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_the_hubs_tools_have_fetched_is_found() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("models--HuggingFaceTB--SmolLM2-135M");
        let snapshot = dir.join("snapshots/12fd25f77366fa6b3b4b768ec3050bf629380bac");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(dir.join("refs/pr")).unwrap();
        let commit = "12fd25f77366fa6b3b4b768ec3050bf629380bac";
        fs::write(dir.join("refs/main"), commit).unwrap();
        fs::write(dir.join("refs/pr/1"), commit).unwrap();
        fs::write(dir.join("refs/bad"), "../refs").unwrap();
        let find = |name: &str| cached(name, Some(tmp.path()));
        let name = "HuggingFaceTB/SmolLM2-135M";
        for revision in ["", "@main", "@pr/1", &format!("@{commit}")] {
            assert_eq!(find(&format!("{name}{revision}")).unwrap(), snapshot);
        }
        for (name, wanted) in [
            (
                "HuggingFaceTB/SmolLM2-135M@v2",
                "fetch it with `hf download HuggingFaceTB/SmolLM2-135M --revision v2`",
            ),
            (
                "HuggingFaceTB/SmolLM2-135M@bad",
                "is not in the hub's cache",
            ),
            (
                "openai-community/gpt2",
                "at revision main is not in the hub's cache",
            ),
            (
                "gpt2",
                "hf:gpt2 names no model of the hub; write hf:OWNER/NAME",
            ),
            ("../x", "names no model of the hub"),
            ("a/b@../main", "names no model of the hub"),
            ("a/b\u{1b}[2J", "hf:a/b names no model of the hub"),
            ("a/b/c", "names no model of the hub"),
        ] {
            let told = find(name).unwrap_err().to_string();
            assert!(told.contains(wanted), "{told}");
        }
        let told = cached("a/b", None).unwrap_err().to_string();
        assert!(told.contains("instead of hf:a/b"), "{told}");
    }
}
