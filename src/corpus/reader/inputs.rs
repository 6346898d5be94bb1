//! The inputs of a config or a command line: files, directories and patterns of shards.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::content::{self, Packing};
use crate::corpus::CorpusError;
use crate::text::{self, exact};

/// The kind of an input, by its name. Whether and how a text is packed depends on its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Builtin,
    Text(Packing),
    /// A row on each line.
    Jsonl(Packing),
    /// Rows in an array, or one after the other.
    Json(Packing),
    Parquet,
    /// Token ids; the format depends on the file's content.
    Tokens,
}

/// Returns an input's kind, by its name.
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
    if let Some(kind) = known(path) {
        return Ok(kind);
    }
    let unknown = CorpusError::UnknownKind { name: name.into() };
    Err(content::foreign_ending(path).unwrap_or(unknown))
}

/// Returns how a file is packed, by its name.
pub fn packing(path: &Path) -> Packing {
    match ending(path).as_deref() {
        Some("gz") => Packing::Gzip,
        Some("zst") => Packing::Zstd,
        _ => Packing::Plain,
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn known(path: &Path) -> Option<Kind> {
    let last = ending(path)?;
    let packing = packing(path);
    let kind = match packing {
        Packing::Plain => last,
        _ => ending(Path::new(path.file_stem()?))?,
    };
    match (kind.as_str(), packing) {
        ("txt", _) => Some(Kind::Text(packing)),
        ("jsonl" | "ndjson", _) => Some(Kind::Jsonl(packing)),
        ("json", _) => Some(Kind::Json(packing)),
        ("parquet", Packing::Plain) => Some(Kind::Parquet),
        ("bin" | "npy", Packing::Plain) => Some(Kind::Tokens),
        _ => None,
    }
}

/// Descriptions of a data set, which are stored with its texts (those that `datasets` ignores).
const DESCRIPTIONS: [&str; 4] = [
    "config.json",
    "dataset_dict.json",
    "dataset_info.json",
    "dataset_infos.json",
];

/// The files that an input refers to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// The files, in the order in which they are read.
    pub files: Vec<String>,
    /// Files of a known kind in the directory whose names begin with a dot, which are skipped.
    pub hidden: usize,
    /// Files in the directory that are packed in an unsupported way.
    pub packed: Vec<PathBuf>,
    /// `.json` files in the directory that are not read, because files of another kind are.
    pub json: Vec<PathBuf>,
}

impl Found {
    /// Returns a line for each kind of files left out of an input of this name, with the reason.
    pub fn left_out(&self, name: &str) -> Vec<String> {
        let mut lines: Vec<String> = self
            .packed
            .iter()
            .map(|path| left_out_packed(path))
            .collect();
        let name = text::clean(name);
        let are = |n: usize, what: &str| match n {
            1 => format!("1 {what} file is"),
            n => format!("{n} {what} files are"),
        };
        if self.hidden > 0 {
            lines.push(format!("{name}: {} not read", are(self.hidden, "hidden")));
        }
        if !self.json.is_empty() {
            let names = self.json.iter().filter_map(|path| path.file_name());
            let names: Vec<_> = names.map(|name| exact::to_text(name)).collect();
            lines.push(format!(
                "{name}: {} not read, as files of another kind lie there; if they hold texts, name them: {}",
                are(self.json.len(), ".json"),
                text::cut(&text::clean(&names.join(", ")), 200)
            ));
        }
        lines
    }
}

fn left_out_packed(path: &Path) -> String {
    format!(
        "{}: not read, it is packed in a way that heirloom does not unpack",
        text::path(path)
    )
}

/// Matches in a directory whose path is not UTF-8, which glob cannot search: only the last name is a pattern.
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

/// Finds the files that an input means, sorted: of a directory those of a known kind right in it, of a pattern (`*`, `?`,
/// `[..]`) those that match, else the input itself. Names that begin with a dot are hidden, as in a shell: a directory or a
/// pattern does not mean them, unless the pattern has the dot.
///
/// # Errors
/// When no file matches, or texts and tokens are mixed.
pub fn find(name: &str) -> Result<Found, CorpusError> {
    let path = &*exact::to_path(name);
    let mut found = if path.is_dir() {
        in_directory(path)?
    } else if name.contains(['*', '?', '[']) && !path.exists() {
        let pattern = |e: glob::PatternError| CorpusError::Pattern {
            name: name.into(),
            what: e.to_string(),
        };
        let paths = match path.to_str() {
            Some(name) => glob::glob(name)
                .map_err(pattern)?
                .filter_map(Result::ok)
                .collect(),
            None => matching(path).map_err(pattern)?,
        };
        Found {
            files: to_names(
                paths
                    .into_iter()
                    .filter(|p| p.is_file() && !is_hidden(p, path) && !is_sidecar(p))
                    .collect(),
            ),
            ..Found::default()
        }
    } else {
        return Ok(Found {
            files: vec![name.into()],
            ..Found::default()
        });
    };
    found.files.sort();
    if found.files.is_empty() {
        let packed = found.packed.first();
        let packed = packed.and_then(|path| content::foreign_ending(path));
        return Err(packed.unwrap_or(CorpusError::NoFiles { name: name.into() }));
    }
    let mut tokens = Vec::new();
    for file in &found.files {
        tokens.push(kind(file)? == Kind::Tokens);
    }
    if tokens.contains(&true) && tokens.contains(&false) {
        return Err(CorpusError::Mixed { name: name.into() });
    }
    Ok(found)
}

/// Whether a pattern matches a path here but not in a shell: a name begins with a dot where the pattern has no dot.
/// (The corresponding option of `glob` also leaves out names that the pattern spells with the dot, and needs names in
/// UTF-8.)
fn is_hidden(path: &Path, pattern: &Path) -> bool {
    let names = |path: &Path| -> Vec<OsString> {
        let names = path.components().filter(|c| *c != Component::CurDir);
        names.map(|c| c.as_os_str().to_owned()).collect()
    };
    let begins = |name: &OsString| name.as_encoded_bytes().starts_with(b".");
    let (path, pattern) = (names(path), names(pattern));
    let wild = |name: &OsString| name.as_encoded_bytes().iter().any(|b| b"*?[".contains(b));
    let first = pattern.iter().position(wild).unwrap_or(pattern.len());
    let several = pattern.iter().any(|name| name == "**");
    match several {
        false => path
            .iter()
            .zip(&pattern)
            .any(|(name, part)| begins(name) && !begins(part)),
        // The number of names that it stands for is unknown.
        true => path.iter().skip(first).any(begins) && !pattern.iter().skip(first).any(begins),
    }
}

fn in_directory(path: &Path) -> Result<Found, CorpusError> {
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let (mut found, mut files, mut json) = (Found::default(), Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path).map_err(read)? {
        let file = entry.map_err(read)?.path();
        let name = file.file_name().unwrap_or_default();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !file.is_file() {
            continue;
        }
        match known(&file) {
            Some(_) if hidden => found.hidden += 1,
            Some(Kind::Json(_)) if DESCRIPTIONS.iter().any(|d| name == *d) => {}
            Some(Kind::Json(_)) => json.push(file),
            Some(_) => files.push(file),
            None if !hidden && content::foreign_ending(&file).is_some() => found.packed.push(file),
            None => {}
        }
    }
    // Next to texts or tokens of another kind, .json files usually describe these.
    found.packed.sort();
    json.retain(|path| !is_sidecar(path));
    json.sort();
    found.files = match files.is_empty() {
        true => to_names(json),
        false => {
            found.json = json;
            to_names(files)
        }
    };
    Ok(found)
}

/// Returns whether a file is what `data prepare` writes next to a token file.
fn is_sidecar(path: &Path) -> bool {
    let tokens = path.with_extension("");
    let json = path.extension().is_some_and(|e| e == "json");
    json && known(&tokens) == Some(Kind::Tokens) && tokens.exists()
}

fn to_names(files: Vec<PathBuf>) -> Vec<String> {
    let names = files.iter().map(|path| exact::to_text(path).into_owned());
    names.collect()
}
