//! Completes the name of a preset or the path of a config.

use std::path::Path;

use crate::config;
use crate::text::{exact, sanitize};

/// Most entries of a directory that are read, and most candidates.
const MOST_ENTRIES: usize = 10_000;
const MOST: usize = 200;

/// Returns the completions of `typed`: presets, then folders and TOML files, each in alphabetical order.
pub fn candidates(typed: &str) -> Vec<String> {
    let presets = config::presets().iter().map(|p| p.name.to_string());
    let mut all: Vec<String> = presets.filter(|name| name.starts_with(typed)).collect();
    all.extend(paths(typed));
    all.truncate(MOST);
    all
}

/// Returns the paths; a folder ends with a slash.
fn paths(typed: &str) -> Vec<String> {
    let at = typed.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, begin) = typed.split_at(at);
    let place = match folder {
        "" => Path::new(".").into(),
        folder => exact::to_path(folder),
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in entries.take(MOST_ENTRIES).flatten() {
        let name = exact::to_text(&entry.file_name()).into_owned();
        let hidden = name.starts_with('.') && !begin.starts_with('.');
        // A name that a terminal cannot show is left out, because it could not be recognised.
        if hidden || !name.starts_with(begin) || sanitize(&name) != name {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            all.push(format!("{folder}{name}/"));
        } else if path.extension().is_some_and(|end| end == "toml") {
            all.push(format!("{folder}{name}"));
        }
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_folders_and_toml_files_are_offered() {
        let tmp = tempfile::tempdir().unwrap();
        let place = tmp.path().to_str().unwrap();
        for name in [
            "b.toml",
            "a.toml",
            "a.txt",
            ".hidden.toml",
            "odd\u{1b}[2J.toml",
        ] {
            std::fs::write(tmp.path().join(name), "").unwrap();
        }
        std::fs::create_dir(tmp.path().join("runs")).unwrap();
        let under = |typed: &str| -> Vec<String> {
            let all = candidates(&format!("{place}/{typed}"));
            let cut = |path: &String| path.strip_prefix(&format!("{place}/")).unwrap().into();
            all.iter().map(cut).collect()
        };
        assert_eq!(under(""), ["a.toml", "b.toml", "runs/"]);
        assert_eq!(under("b"), ["b.toml"]);
        assert_eq!(under(".h"), [".hidden.toml"]);
        assert_eq!(candidates("tin"), ["tiny"]);
        assert!(candidates("").len() >= 2 && candidates("")[..2] == ["tiny", "books"]);
        assert_eq!(candidates("/nowhere/at/all"), [""; 0]);
    }
}
