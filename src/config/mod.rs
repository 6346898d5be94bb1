//! The config of a run, in TOML.
//!
//! Flags have precedence over the config, and the config over defaults. [`load`] reads, overrides and checks; messages name file and
//! line.
//!
//! Each key is declared once: `sections` declare it with the macro of `declare`, from which follow the fields of
//! [`Config`], the table of all [`keys`], the `document` printed from it, and the checks of single values (`rules`).
//! `values` are the types of keys, which `kind` names; `key` has the other facts about a key. [`load`](mod@load) reads
//! text and overrides into a `draft`, with the `types` that keys require; [`check`](mod@check) checks values together,
//! `baselines` the entries of `[[baseline]]`, [`resume`] what a resume may change; `variables` expands paths, `places` records
//! where a key was given, `nearest` finds suggestions for misspelled words.

mod baselines;
mod check;
mod declare;
mod document;
mod draft;
mod key;
pub mod keys;
mod kind;
mod load;
mod nearest;
mod places;
pub mod resume;
mod rules;
mod sections;
#[cfg(test)]
mod tests;
mod types;
mod values;
mod variables;

use std::path::Path;

pub use check::check;
pub use document::keys_markdown;
pub use load::{Loaded, Source, load, load_as_written};
pub use sections::*;
pub use types::nearest_layers;
pub use values::*;

use crate::text::{self, exact};

/// The problems of a config, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl ConfigError {
    fn one(problem: String) -> Self {
        Self {
            // Names and values come from outside, so they are sanitised for terminals.
            problems: vec![text::clean(&problem).into_owned()],
        }
    }
}

/// A config that is built into the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    pub summary: &'static str,
    pub text: &'static str,
}

/// Returns the presets; the first one is the best to begin with.
pub fn presets() -> &'static [Preset] {
    &[
        Preset {
            name: "tiny",
            summary: "8 layers, built-in Shakespeare, byte tokens: minutes on a CPU",
            text: include_str!("../../configs/tiny.toml"),
        },
        Preset {
            name: "books",
            summary: "12 layers on a text of your own, GPT-2 tokens: hours on a CPU",
            text: include_str!("../../configs/books.toml"),
        },
    ]
}

/// Returns everything in a config that names a file.
fn paths(config: &mut Config) -> impl Iterator<Item = &mut String> {
    let data = &mut config.data;
    let val = data.val.as_mut().map_or(Vec::new(), Texts::paths_mut);
    let tokenizer = match &mut data.tokenizer {
        Some(TokenizerChoice::Path(path)) => Some(path),
        _ => None,
    };
    let all = data.train.paths_mut().into_iter().chain(val);
    let models = config.reference.path.as_mut();
    let teachers = config
        .baseline
        .iter_mut()
        .filter_map(|b| b.objective.teacher_mut());
    all.chain(tokenizer)
        .chain(models)
        .chain(teachers)
        .chain(config.eval.data.as_mut())
}

/// Makes the paths of data and reference absolute, so that the config can be used from anywhere. `base` is the
/// directory that relative ones start from ([`Loaded::base`]).
pub fn resolve_paths(config: &mut Config, base: &Path) {
    let mut spelled = std::mem::take(&mut config.spelled);
    for path in paths(config) {
        if !is_name(path) {
            let joined = base.join(exact::to_path(path));
            // This fails only for an empty path, which a checked config does not have.
            let full = std::path::absolute(&joined).unwrap_or(joined);
            let full = exact::to_text(&full).into_owned();
            if let Some(written) = spelled.get(path) {
                let written = match exact::to_path(path).is_absolute() {
                    true => written.clone(),
                    false => format!("{}/{written}", escaped(&exact::to_text(base))),
                };
                spelled.insert(full.clone(), written);
            }
            *path = full;
        }
    }
    config.spelled = spelled;
}

/// Escapes a path so that nothing in it is read as a variable.
fn escaped(path: &str) -> String {
    path.replace('$', "$$")
}

/// Returns the config as TOML that [`load`] reads back to an equal config, headed by the program's version. Variables
/// of the environment are written under their names.
pub fn to_toml(config: &Config) -> String {
    let mut config = config.clone();
    let spelled = std::mem::take(&mut config.spelled);
    for path in paths(&mut config) {
        *path = match spelled.get(path) {
            Some(written) => written.clone(),
            None if is_name(path) => continue,
            // A `$` would be read as the start of a variable's name.
            None => escaped(path),
        };
    }
    // TOML's integers end at i64::MAX; only a seed may be near it, and `check` refuses larger ones.
    config.train.seed = config.train.seed.min(i64::MAX as u64);
    let version = env!("CARGO_PKG_VERSION");
    let body = toml::to_string(&config).unwrap_or_else(|e| format!("# cannot be written: {e}\n"));
    format!("# The resolved config of a run, written by heirloom {version}.\n\n{body}")
}
