//! Tests of valid config files, and of the message for every error.

mod baselines;
mod keys;
mod paths;
mod places;
mod reading;
mod values;

use std::path::Path;

use super::load::load_with;
use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "HEIRLOOM_DATA" => Some("/data".into()),
        "HOME" => Some("/home/me".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn text(text: &str) -> Source {
    Source::Text {
        name: "t".into(),
        text: text.into(),
    }
}

fn loaded(source: &Source, overrides: &[&str]) -> Result<Loaded, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    load_with(source, &overrides, Path::new("/work"), &env)
}

/// Returns the problems, without the `preset t` that all places in the file begin with.
fn problems(source: &str, overrides: &[&str]) -> Vec<String> {
    match loaded(&text(source), overrides) {
        Ok(_) => Vec::new(),
        Err(e) => e
            .problems
            .iter()
            .map(|p| p.strip_prefix("preset t").unwrap_or(p).to_string())
            .collect(),
    }
}

const GOOD: &str = "\
data.train = 'builtin:tinyshakespeare'
[reference.train]
steps = 100
[train]
steps = 50
batch_tokens = 1024
lr = 1e-3
";

fn one(path: &str) -> TrainTexts {
    TrainTexts::One(path.into())
}
