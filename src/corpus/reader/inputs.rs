//! What the inputs of a config or a command line are: files, directories and patterns of shards.

use std::path::{Path, PathBuf};

use super::compressed::Packing;
use crate::corpus::CorpusError;
use crate::text::exact;

/// What an input is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Builtin,
    Text(Packing),
    Jsonl(Packing),
    Parquet,
    /// Token ids; the file's content tells the format.
    Tokens,
}

/// Tells an input's kind from its name.
///
/// # Errors
/// When the ending is not known, or it is a directory.
pub fn kind(name: &str) -> Result<Kind, CorpusError> {
    if name == "builtin:tinyshakespeare" {
        return Ok(Kind::Builtin);
    }
    let path = &*exact::to_path(name);
    if path.is_dir() {
        return Err(CorpusError::Directory { name: name.into() });
    }
    known(path).ok_or_else(|| CorpusError::UnknownKind { name: name.into() })
}

fn known(path: &Path) -> Option<Kind> {
    let ending = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
    let last = ending(path)?;
    let packing = match last.as_str() {
        "gz" => Packing::Gzip,
        "zst" => Packing::Zstd,
        _ => Packing::Plain,
    };
    let kind = match packing {
        Packing::Plain => last,
        _ => ending(Path::new(path.file_stem()?))?,
    };
    match (kind.as_str(), packing) {
        ("txt", _) => Some(Kind::Text(packing)),
        ("jsonl", _) => Some(Kind::Jsonl(packing)),
        ("parquet", Packing::Plain) => Some(Kind::Parquet),
        ("bin" | "npy", Packing::Plain) => Some(Kind::Tokens),
        _ => None,
    }
}

/// What matches in a directory whose path is not UTF-8, which glob cannot search: the pattern is the last name only.
fn matching(path: &Path) -> Result<Vec<PathBuf>, glob::PatternError> {
    let name = exact::to_text(path.file_name().unwrap_or_default());
    let pattern = glob::Pattern::new(&name)?;
    let entries = std::fs::read_dir(path.parent().unwrap_or(Path::new(".")));
    let paths = entries.into_iter().flatten().flatten().map(|e| e.path());
    let matches = |path: &PathBuf| {
        let name = path.file_name().map(exact::to_text);
        name.is_some_and(|name| pattern.matches(&name))
    };
    Ok(paths.filter(matches).collect())
}

/// The files that an input means, sorted: of a directory those of a known kind right in it, of a pattern (`*`, `?`, `[..]`)
/// those that match, else the input itself.
///
/// # Errors
/// When there are none, or texts and tokens are mixed.
pub fn expand(name: &str) -> Result<Vec<String>, CorpusError> {
    let path = &*exact::to_path(name);
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let mut files: Vec<String> = if path.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            if file.is_file() && known(&file).is_some() {
                files.push(exact::to_text(&file).into_owned());
            }
        }
        files
    } else if name.contains(['*', '?', '[']) && !path.exists() {
        let pattern = |e: glob::PatternError| CorpusError::Pattern {
            name: name.into(),
            what: e.to_string(),
        };
        let found = match path.to_str() {
            Some(name) => glob::glob(name)
                .map_err(pattern)?
                .filter_map(Result::ok)
                .collect(),
            None => matching(path).map_err(pattern)?,
        };
        let files = found.iter().filter(|p| p.is_file());
        files.map(|p| exact::to_text(p).into_owned()).collect()
    } else {
        return Ok(vec![name.into()]);
    };
    files.sort();
    if files.is_empty() {
        return Err(CorpusError::NoFiles { name: name.into() });
    }
    let mut tokens = Vec::new();
    for file in &files {
        tokens.push(kind(file)? == Kind::Tokens);
    }
    if tokens.contains(&true) && tokens.contains(&false) {
        return Err(CorpusError::Mixed { name: name.into() });
    }
    Ok(files)
}
