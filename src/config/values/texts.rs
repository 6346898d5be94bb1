//! The texts that a run is trained and validated on.

use serde::{Deserialize, Serialize};

use crate::corpus::Source;

/// Prefix of texts that are built into the program: `builtin:tinyshakespeare`.
pub const BUILTIN: &str = "builtin:";
/// Prefix of models of the Hugging Face hub: `hf:owner/name`.
pub const HUB: &str = "hf:";
/// The names of the built-in texts.
pub const BUILTIN_TEXTS: [&str; 1] = ["tinyshakespeare"];

/// Whether a text in place of a path names something that is not a file.
pub fn is_name(text: &str) -> bool {
    [BUILTIN, HUB].iter().any(|start| text.starts_with(start))
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Several(Vec<String>),
}

/// The training texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrainTexts {
    One(String),
    Several(Vec<String>),
    /// Each window is drawn from one source, in proportion to its weight.
    Mixture(Vec<WeightedText>),
}

/// A source of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedText {
    pub path: String,
    /// Above 0; the sum of the weights is arbitrary.
    pub weight: f64,
}

impl Texts {
    /// Returns the paths.
    pub fn paths(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }

    pub(in crate::config) fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::One(path) => vec![path],
            Self::Several(paths) => paths.iter_mut().collect(),
        }
    }
}

impl TrainTexts {
    /// Returns the sources, in order.
    pub fn sources(&self) -> Vec<Source> {
        let source = |inputs: &[String], weight| Source {
            inputs: inputs.to_vec(),
            weight,
        };
        match self {
            Self::One(path) => vec![source(std::slice::from_ref(path), 1.0)],
            Self::Several(paths) => vec![source(paths, 1.0)],
            Self::Mixture(texts) => texts
                .iter()
                .map(|text| source(std::slice::from_ref(&text.path), text.weight))
                .collect(),
        }
    }

    pub(in crate::config) fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::One(path) => vec![path],
            Self::Several(paths) => paths.iter_mut().collect(),
            Self::Mixture(texts) => texts.iter_mut().map(|text| &mut text.path).collect(),
        }
    }
}
