//! Reads a config: text to keys with their places, overrides on top, then types, then [values](super::check).

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::keys;
use super::{Config, ConfigError, check, presets};
use crate::file;
use crate::text::{self, exact};

/// Most bytes of a config file.
const LARGEST_FILE: u64 = 1 << 20;

/// The source of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(PathBuf),
    /// The config of a run's directory, where a key that it lacks has the value that the run was trained with.
    Run(PathBuf),
    /// A preset that is built into the program.
    Text {
        name: String,
        text: String,
    },
}

impl Source {
    /// Returns the preset with this name, or the TOML file with this path.
    ///
    /// # Errors
    /// When it is neither; the message lists the presets.
    pub fn named(word: &str) -> Result<Self, ConfigError> {
        if let Some(preset) = presets().iter().find(|p| p.name == word) {
            return Ok(Self::Text {
                name: preset.name.into(),
                text: preset.text.into(),
            });
        }
        let path = exact::to_path(word).into_owned();
        if path.is_file() {
            return Ok(Self::Path(path));
        }
        if path.exists() {
            let what = if path.is_dir() {
                "a directory"
            } else {
                "not a regular file"
            };
            return Err(ConfigError::one(format!(
                "{word} is {what}; give a config file or the name of a preset"
            )));
        }
        if let Some(near) = near_file(&path) {
            let near = text::path(&near);
            return Err(ConfigError::one(format!(
                "no file {word}; did you mean {near}?"
            )));
        }
        let names: Vec<&str> = presets().iter().map(|p| p.name).collect();
        let hint = match keys::best(word, names.iter().copied(), 0.6) {
            Some(near) => format!("did you mean the preset {near}?"),
            None => format!("presets are {}", names.join(", ")),
        };
        Err(ConfigError::one(format!(
            "{word} is neither a config file nor a preset; {hint}"
        )))
    }

    /// Returns its name in messages.
    fn label(&self) -> String {
        match self {
            Self::Path(path) | Self::Run(path) => text::path(path),
            Self::Text { name, .. } => format!("preset {name}"),
        }
    }
}

/// A config that has passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// Absolute directory that relative paths in the config start from.
    pub base: PathBuf,
    /// The preset's name: the file's stem.
    pub name: String,
}

/// Reads, overrides (`section.key=value` each) and checks a config.
///
/// Variables in paths are expanded; paths of overrides start from the working directory, those of the file from the
/// file's (see [`resolve_paths`](super::resolve_paths)).
///
/// # Errors
/// Every problem, one a line, with file and line or the override it is about.
pub fn load(source: &Source, overrides: &[String]) -> Result<Loaded, ConfigError> {
    let cwd = std::env::current_dir().unwrap_or_default();
    load_with(source, overrides, &cwd, &|name| {
        let value = std::env::var_os(name)?;
        Some(exact::to_text(&value).into_owned())
    })
}

/// Loads a config like [`load`] but leaves variables in paths unexpanded, so that they need not be set and their values
/// are not revealed. The paths cannot be opened.
///
/// # Errors
/// As [`load`].
pub fn load_as_written(source: &Source) -> Result<Loaded, ConfigError> {
    let cwd = std::env::current_dir().unwrap_or_default();
    load_with(source, &[], &cwd, &|name| match name {
        "HOME" => std::env::var(name).ok(),
        name => Some(format!("${name}")),
    })
}

/// Loads a config like [`load`], with the given working directory and environment.
pub(super) fn load_with(
    source: &Source,
    overrides: &[String],
    cwd: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let label = source.label();
    let (text, base, name) = match source {
        Source::Text { name, text } => (text.clone(), cwd.to_path_buf(), name.clone()),
        Source::Path(path) | Source::Run(path) => {
            let text = file::read_text(path, LARGEST_FILE)
                .map_err(|e| ConfigError::one(format!("cannot read {label}: {e}")))?;
            let full = cwd.join(path);
            let base = full.parent().unwrap_or(cwd).to_path_buf();
            let stem = path.file_stem().unwrap_or_default();
            (text, base, stem.to_string_lossy().into_owned())
        }
    };
    let mut draft = Draft::read(&label, &text)?;
    if matches!(source, Source::Run(_)) {
        for (path, value) in keys::FORMER_DEFAULTS {
            draft.assume(path, value);
        }
    }
    for raw in overrides {
        draft.set(raw, cwd);
    }
    draft.expand_paths(env);
    draft.check_types();
    draft.require();
    let mut config = draft.build()?;
    config.spelled = std::mem::take(&mut draft.spelled);
    check::values(&config, &mut draft.places);
    draft.places.finish()?;
    Ok(Loaded { config, base, name })
}

/// Returns the file next to a missing one that has the most similar name, if one is similar.
fn near_file(path: &Path) -> Option<PathBuf> {
    let wanted = path.file_name()?.to_str()?;
    let parent = path.parent()?;
    let folder = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let names: Vec<String> = files
        .filter(|file| {
            file.path().extension().is_some_and(|e| e == "toml") && file.path().is_file()
        })
        .filter_map(|file| file.file_name().into_string().ok())
        .collect();
    let near = keys::best(wanted, names.iter().map(String::as_str), 0.8)?;
    Some(parent.join(near))
}
