//! Finds a task's files under a data directory, by their names.
//!
//! The names are those of the original releases (`piqa/valid.jsonl`, `ARC-Easy-Test.jsonl`) and of Hugging Face exports
//! (`piqa/plain_text/validation-00000-of-00001.parquet`, `validation/0000.parquet`, and folders of the hub's cache). Names are
//! compared by their letters and digits only, in any case. What is found does not depend on the order of directory entries.

use std::path::{Path, PathBuf};

use super::DataError;
use crate::text;

/// The format of a file, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    Jsonl,
    Json,
    Parquet,
    Tsv,
    Csv,
    Text,
}

impl Format {
    /// Returns the format of a file, which may be packed.
    pub fn of(file: &Path) -> Option<Self> {
        Some(parse(file.file_name()?.to_str()?)?.format)
    }
}

/// Where a task's documents may lie.
#[derive(Debug)]
pub struct Places {
    pub task: &'static str,
    /// Names of the folder with its data, the best first.
    pub folders: &'static [&'static str],
    /// Folders within it that hold the part which the task uses, where a folder has several parts.
    pub parts: &'static [&'static str],
    /// Names of the split, the best first.
    pub splits: &'static [&'static str],
    pub formats: &'static [Format],
}

/// The formats of rows.
pub const ROWS: &[Format] = &[Format::Jsonl, Format::Json, Format::Parquet];

/// Levels below the data directory that are searched for a task's folder.
const LEVELS: usize = 2;

/// Folders of an export that show nothing about its content.
const NEUTRAL: [&str; 3] = ["data", "plain_text", "default"];

/// A task's files.
pub type Files = Vec<PathBuf>;

impl Places {
    /// Finds the files of the best split: one, or several that are parts (shards) of one.
    ///
    /// # Errors
    /// When `data` is not a directory or has no such files, naming what was looked for; when shards are missing.
    pub fn find(&self, data: &Path) -> Result<Files, DataError> {
        if !data.is_dir() {
            let path = data.into();
            return Err(DataError::NoDirectory { path });
        }
        let folders = self.folders(data)?;
        for split in self.splits {
            for (folder, directories) in &folders {
                for directory in directories {
                    if let Some(files) = self.in_directory(directory, folder, split, true)? {
                        return Ok(files);
                    }
                }
            }
            for folder in self.names() {
                if let Some(files) = self.in_directory(data, folder, split, false)? {
                    return Ok(files);
                }
            }
        }
        Err(self.not_found(data))
    }

    /// Returns the names that the task's folder may have: those of its data sets, and its own.
    fn names(&self) -> Vec<&'static str> {
        let own = [self.task].into_iter();
        let own = own.filter(|own| self.folders.iter().all(|name| key(name) != key(own)));
        self.folders.iter().copied().chain(own).collect()
    }

    /// Returns the directories of the task under `data`, by the order of the folders' names: for each the folder's name, and
    /// the directories that may hold its files.
    pub fn folders(&self, data: &Path) -> Result<Vec<(&'static str, Vec<PathBuf>)>, DataError> {
        let mut all = vec![data.to_path_buf()];
        let mut level = all.clone();
        for _ in 0..LEVELS {
            let mut below = Vec::new();
            for directory in &level {
                below.append(&mut directories(directory)?);
            }
            all.extend(below.iter().cloned());
            level = below;
        }
        // The name of `.`.
        let own = data.canonicalize();
        let own = own.as_deref().unwrap_or(data);
        let named = |d: &PathBuf, name| is_named(d, name) || d == data && is_named(own, name);
        let mut folders = Vec::new();
        for name in self.names() {
            for directory in all.iter().filter(|d| named(d, name)) {
                folders.push((name, self.within(directory)?));
            }
        }
        Ok(folders)
    }

    /// Returns the directories in a task's folder that may hold its files, the best first.
    fn within(&self, folder: &Path) -> Result<Vec<PathBuf>, DataError> {
        let mut tops = vec![folder.to_path_buf()];
        // The hub's cache: snapshots/<commit>/...
        for snapshots in child(folder, "snapshots")? {
            tops.append(&mut directories(&snapshots)?);
        }
        let mut bases = Vec::new();
        for top in tops {
            bases.push(top.clone());
            for name in NEUTRAL {
                bases.append(&mut child(&top, name)?);
            }
        }
        let mut within = Vec::new();
        for base in &bases {
            for part in self.parts {
                within.append(&mut child(base, part)?);
            }
        }
        within.append(&mut bases);
        Ok(within)
    }

    /// Finds the files of a split in a directory that is in the task's folder.
    ///
    /// # Errors
    /// When it cannot be read, or shards are missing.
    pub fn split(&self, directory: &Path, split: &str) -> Result<Option<Files>, DataError> {
        let folder = self.folders.first().copied().unwrap_or_default();
        self.in_directory(directory, folder, split, true)
    }

    /// Finds the files of a split in a directory. Outside of the task's folder (`inside` is false) a file's name must have
    /// the folder's name.
    fn in_directory(
        &self,
        directory: &Path,
        folder: &str,
        split: &str,
        inside: bool,
    ) -> Result<Option<Files>, DataError> {
        let named = key(&format!("{folder}{split}"));
        let mut wanted = vec![named, key(folder)];
        if inside {
            wanted.insert(0, key(split));
        }
        let mut found = files(directory)?;
        for below in child(directory, split)?.iter().filter(|_| inside) {
            // validation/0000.parquet
            let numbered = |f: &&Found| f.stem.bytes().all(|b| b.is_ascii_digit());
            for file in files(below)?.iter().filter(numbered) {
                let shard = file.stem.parse().ok().map(|i| (i, None));
                let (stem, path) = (split.into(), file.path.clone());
                found.push(Found {
                    stem,
                    shard,
                    path,
                    ..*file
                });
            }
            let sharded = files(below)?.into_iter().filter(|f| f.shard.is_some());
            found.extend(sharded);
        }
        found.retain(|f| self.formats.contains(&f.format));
        for wanted in wanted {
            let found = found.iter().filter(|f| key(&f.stem) == wanted);
            let mut found: Vec<&Found> = found.collect();
            found.sort_by_key(|f| (f.format, f.packed, f.shard, &f.path));
            let Some(first) = found.first() else { continue };
            let Some((_, of)) = first.shard else {
                return Ok(Some(vec![first.path.clone()]));
            };
            let alike = |f: &&&Found| {
                let of_them = |f: &Found| f.shard.map(|(_, of)| of);
                let directory = |f: &Found| f.path.parent().map(Path::to_path_buf);
                f.format == first.format
                    && f.packed == first.packed
                    && of_them(f) == of_them(first)
                    && directory(f) == directory(first)
            };
            let shards: Vec<&&Found> = found.iter().filter(alike).collect();
            let have = |i: &usize| shards.iter().any(|f| f.shard.map(|(i, _)| i) == Some(*i));
            if let Some(missing) = (0..of.unwrap_or(shards.len())).find(|i| !have(i)) {
                return Err(DataError::File {
                    path: first.path.clone(),
                    what: format!("part {missing} of its split is missing; copy all parts"),
                });
            }
            return Ok(Some(shards.iter().map(|f| f.path.clone()).collect()));
        }
        Ok(None)
    }

    pub fn not_found(&self, data: &Path) -> DataError {
        let endings: Vec<&str> = self.formats.iter().map(|f| f.ending()).collect();
        let mut looked_for = format!(
            "{} with the ending {} (also .gz, .zst) in a folder named {}, up to {LEVELS} levels below",
            any_of(self.splits),
            any_of(&endings),
            any_of(&self.names()),
        );
        if !self.parts.is_empty() {
            looked_for += &format!(" (in it also in {})", any_of(self.parts));
        }
        if let ([folder, ..], [split, ..]) = (&self.names()[..], self.splits) {
            looked_for += &format!(", and for {folder}_{split} in the directory itself");
        }
        DataError::NotFound {
            task: self.task,
            data: data.into(),
            looked_for,
        }
    }
}

impl Format {
    fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => ".jsonl",
            Self::Json => ".json",
            Self::Parquet => ".parquet",
            Self::Tsv => ".tsv",
            Self::Csv => ".csv",
            Self::Text => ".txt",
        }
    }
}

fn any_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).into(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

/// Letters and digits of a name, in lower case.
fn key(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Whether a directory has a name, or that of a hub's data set with the name (`datasets--baber--piqa`, `baber___piqa`).
fn is_named(directory: &Path, name: &str) -> bool {
    let Some(own) = directory.file_name().and_then(|own| own.to_str()) else {
        return false;
    };
    let last = own.rsplit("--").next().unwrap_or(own);
    let last = last.rsplit("___").next().unwrap_or(last);
    key(last) == key(name)
}

/// Returns the directories in a directory, sorted; hidden ones are left out.
pub fn directories(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = entries(directory)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// Returns the directories of a name in a directory.
pub fn child(directory: &Path, name: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut found = directories(directory)?;
    let own = |path: &Path| path.file_name()?.to_str().map(key);
    found.retain(|path| own(path).as_deref() == Some(&key(name)));
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = |source| DataError::Read {
        path: directory.into(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(read)? {
        let entry = entry.map_err(read)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// A file whose name has a known ending.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    path: PathBuf,
    /// Its name without endings and the number of its part.
    stem: String,
    format: Format,
    /// 0: not packed.
    packed: u8,
    /// Its number and how many there are.
    shard: Option<(usize, Option<usize>)>,
}

fn files(directory: &Path) -> Result<Vec<Found>, DataError> {
    let mut found = Vec::new();
    for path in entries(directory)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(parsed) = name.and_then(parse) else {
            continue;
        };
        if path.is_file() {
            found.push(Found { path, ..parsed });
        }
    }
    Ok(found)
}

/// Reads a file's name: `validation-00000-of-00003.jsonl.gz`.
fn parse(name: &str) -> Option<Found> {
    let lower = name.to_ascii_lowercase();
    let (rest, packed) = match (lower.strip_suffix(".gz"), lower.strip_suffix(".zst")) {
        (Some(rest), _) => (rest, 1),
        (_, Some(rest)) => (rest, 2),
        _ => (lower.as_str(), 0),
    };
    let (stem, ending) = rest.rsplit_once('.')?;
    let format = match ending {
        "jsonl" | "ndjson" => Format::Jsonl,
        "json" => Format::Json,
        // Parquet packs its own columns.
        "parquet" if packed == 0 => Format::Parquet,
        "tsv" => Format::Tsv,
        "csv" => Format::Csv,
        "txt" | "raw" | "tokens" => Format::Text,
        _ => return None,
    };
    let (stem, shard) = match shard(stem) {
        Some((stem, i, of)) => (stem, Some((i, Some(of)))),
        None => (stem, None),
    };
    Some(Found {
        path: PathBuf::new(),
        stem: stem.into(),
        format,
        packed,
        shard,
    })
}

/// Splits `validation-00000-of-00003` into its name, number and count.
fn shard(stem: &str) -> Option<(&str, usize, usize)> {
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    Some((name, number.parse().ok()?, of.parse().ok()?))
}

/// Returns the tables (`.csv`) in a directory, sorted, with the stems of their names.
///
/// # Errors
/// When it cannot be read.
pub fn tables(directory: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut found = files(directory)?;
    found.retain(|f| f.format == Format::Csv);
    Ok(found.into_iter().map(|f| (f.stem, f.path)).collect())
}

/// Returns the names of files, for a message.
pub fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| text::path(file)).collect();
    names.join(", ")
}
