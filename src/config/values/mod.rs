//! The values of keys that are more than numbers and texts: words of the config as enums.
//!
//! They are made when a config is read, so that later code does not compare words. Each is written with the words it
//! was read from.

mod baseline;
mod choices;
mod layers;
mod texts;
mod tokenizer;

pub use baseline::{
    BaselineConfig, BaselineStart, BaselineSteps, Distill, ObjectiveChoice, Place, Teacher,
};
pub use choices::{
    INHERITABLE, MuonScale, OptimizerChoice, PARTS, PolicyMode, Schedule, ShardChoice,
};
pub(in crate::config) use layers::SPREAD;
pub use layers::{LayerChoice, LayerRange, Measure};
pub use texts::{BUILTIN, BUILTIN_TEXTS, HUB, Texts, TrainTexts, WeightedText, is_name};
pub use tokenizer::{TOKENIZERS, TokenizerChoice};
