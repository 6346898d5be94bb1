//! The sections of a config, in the order of documents, each with its [declaration](super::declare).

mod baseline;
mod data;
mod dist;
mod growth;
mod inherit;
mod measure;
mod model;
mod notify;
mod policy;
mod reference;
mod train;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::Section;
use super::values::{BaselineConfig, TokenizerChoice};
use crate::corpus::TEXT_FIELD;

pub use baseline::BASELINE;
pub use data::DataConfig;
pub use dist::DistConfig;
pub use growth::{GrowConfig, MatchConfig};
pub use inherit::InheritConfig;
pub use measure::{EvalConfig, ProbeConfig};
pub use model::ModelConfig;
pub use notify::NotifyConfig;
pub use policy::{CheckpointConfig, ControlConfig, PolicyConfig};
pub use reference::{ReferenceConfig, ReferenceTrainConfig};
pub use train::TrainConfig;

/// A whole config, with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub model: ModelConfig,
    pub data: DataConfig,
    pub reference: ReferenceConfig,
    #[serde(default)]
    pub inherit: InheritConfig,
    pub train: TrainConfig,
    #[serde(default)]
    pub eval: EvalConfig,
    #[serde(default)]
    pub probe: ProbeConfig,
    #[serde(default)]
    pub grow: GrowConfig,
    #[serde(rename = "match", default)]
    pub matching: MatchConfig,
    #[serde(default)]
    pub policy: PolicyConfig,
    #[serde(default)]
    pub control: ControlConfig,
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    #[serde(default)]
    pub notify: NotifyConfig,
    #[serde(default)]
    pub dist: DistConfig,
    /// Models that are trained for comparison after the rounds and the controls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<BaselineConfig>,
    /// How paths with variables of the environment are written, by what they stand for here and now: files get the
    /// variables, and never their values.
    #[serde(skip)]
    pub(super) spelled: BTreeMap<String, String>,
}

/// The sections.
pub(super) const SECTIONS: [Section; 16] = [
    ModelConfig::SECTION,
    DataConfig::SECTION,
    ReferenceConfig::SECTION,
    ReferenceTrainConfig::SECTION,
    InheritConfig::SECTION,
    TrainConfig::SECTION,
    EvalConfig::SECTION,
    ProbeConfig::SECTION,
    GrowConfig::SECTION,
    MatchConfig::SECTION,
    policy::POLICY,
    ControlConfig::SECTION,
    baseline::SECTION,
    CheckpointConfig::SECTION,
    NotifyConfig::SECTION,
    DistConfig::SECTION,
];

impl Config {
    /// Returns where rows of JSON and Parquet have their text.
    pub fn text_field(&self) -> &str {
        self.data.text_field.as_deref().unwrap_or(TEXT_FIELD)
    }

    /// Returns the tokenizer: `data.tokenizer`, or its default.
    pub fn tokenizer(&self) -> &TokenizerChoice {
        match (&self.data.tokenizer, &self.reference.path) {
            (Some(choice), _) => choice,
            (None, Some(_)) => &TokenizerChoice::Reference,
            (None, None) => &TokenizerChoice::Byte,
        }
    }
}
