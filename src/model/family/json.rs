//! Reads numbers and words of a `config.json`, with errors that name the key.

use serde_json::Value;

use crate::model::config::{DecoderConfig, Positions, Rope, RopeScaling};
use crate::text;

/// Largest width, context or vocabulary, so that products of two of them do not overflow.
const LARGEST: u64 = 1 << 24;
const MOST_LAYERS: u64 = 10_000;

/// Errors of a `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigJsonError(pub String);

impl ConfigJsonError {
    /// Makes an error for an unknown value of `key`.
    pub fn unknown(key: &str, value: &dyn std::fmt::Display, known: &str) -> Self {
        let text = format!("{key} is {value}; {known}");
        Self(text::clean(&text).into_owned())
    }
}

/// An object whose values are looked up by key.
pub struct Json<'v>(&'v Value);

impl<'v> Json<'v> {
    /// # Errors
    /// When it is not an object.
    pub fn new(value: &'v Value) -> Result<Self, ConfigJsonError> {
        match value.is_object() {
            true => Ok(Self(value)),
            false => Err(ConfigJsonError("it is not a JSON object".into())),
        }
    }

    /// Returns the value as it is; `Null` when absent.
    pub fn get(&self, key: &str) -> &'v Value {
        &self.0[key]
    }

    /// Whether the key exists, even with null.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    /// Returns the first of these keys with a value, or the last one.
    pub fn spelled<'k>(&self, keys: [&'k str; 2]) -> &'k str {
        match self.0[keys[0]].is_null() {
            false => keys[0],
            true => keys[1],
        }
    }

    pub fn text(&self, key: &str) -> Option<&'v str> {
        self.0[key].as_str()
    }

    /// Returns a word of this program's own section.
    pub fn own(&self, key: &str) -> Option<&'v str> {
        self.0["heirloom"][key].as_str()
    }

    /// Whether GPT-2's biases exist: only this program leaves them out.
    pub fn own_bias(&self) -> bool {
        self.0["heirloom"]["bias"].as_bool().unwrap_or(true)
    }

    pub fn attention_scales(&self) -> Option<Vec<f32>> {
        serde_json::from_value(self.0["heirloom"]["attention_scales"].clone()).ok()
    }

    /// Returns a size; `default` when absent or null.
    pub fn size(&self, key: &str, default: usize) -> Result<usize, ConfigJsonError> {
        Ok(self.bounded(key, LARGEST)?.unwrap_or(default))
    }

    /// Returns the number of layers; `default` when absent or null.
    pub fn layers(&self, key: &str, default: usize) -> Result<usize, ConfigJsonError> {
        Ok(self.bounded(key, MOST_LAYERS)?.unwrap_or(default))
    }

    /// Returns a size that may be absent or null.
    pub fn maybe_size(&self, key: &str) -> Result<Option<usize>, ConfigJsonError> {
        self.bounded(key, LARGEST)
    }

    fn bounded(&self, key: &str, most: u64) -> Result<Option<usize>, ConfigJsonError> {
        let value = &self.0[key];
        if value.is_null() {
            return Ok(None);
        }
        match value.as_u64() {
            Some(n) if (1..=most).contains(&n) => Ok(Some(n as usize)), // at most 2^24
            _ => Err(ConfigJsonError::unknown(
                key,
                value,
                &format!("it must be a number between 1 and {most}"),
            )),
        }
    }

    /// Returns a positive finite number.
    pub fn positive(&self, key: &str, default: Option<f64>) -> Result<f64, ConfigJsonError> {
        let value = &self.0[key];
        match (value.as_f64(), default) {
            (Some(x), _) if x.is_finite() && x > 0.0 => Ok(x),
            (None, Some(default)) if value.is_null() => Ok(default),
            (None, None) if !self.has(key) => Err(ConfigJsonError(format!("{key} is missing"))),
            _ => Err(ConfigJsonError::unknown(
                key,
                value,
                "it must be a number above 0",
            )),
        }
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigJsonError> {
        match &self.0[key] {
            Value::Null => Ok(default),
            Value::Bool(b) => Ok(*b),
            other => Err(ConfigJsonError::unknown(
                key,
                other,
                "it must be true or false",
            )),
        }
    }

    /// Refuses any value of `key` other than `wanted` (or absence). Numbers are compared by value: 1 equals 1.0.
    pub fn only(&self, key: &str, wanted: Value) -> Result<(), ConfigJsonError> {
        let value = &self.0[key];
        let is_same_number = wanted.is_number() && value.as_f64() == wanted.as_f64();
        match value.is_null() || *value == wanted || is_same_number {
            true => Ok(()),
            false => Err(ConfigJsonError::unknown(
                key,
                value,
                &format!("only {wanted} is supported"),
            )),
        }
    }
}

/// Checks that sizes fit each other.
pub fn check(config: &DecoderConfig) -> Result<(), ConfigJsonError> {
    let fail = |text: String| Err(ConfigJsonError(text));
    let (heads, kv) = (config.n_head, config.n_kv_head);
    if kv == 0 || !heads.is_multiple_of(kv) {
        return fail(format!(
            "{heads} heads cannot share {kv} key and value heads evenly"
        ));
    }
    if matches!(config.positions, Positions::Rotary(_)) && !config.head_size.is_multiple_of(2) {
        return fail(format!(
            "rotary positions need an even head size, it is {}",
            config.head_size
        ));
    }
    if let Positions::Rotary(Rope {
        scaling: RopeScaling::Factors(factors),
        ..
    }) = &config.positions
        && (factors.len() != config.head_size / 2
            || factors.iter().any(|f| !(f.is_finite() && *f > 0.0)))
    {
        return fail(format!(
            "rotary factors must be {} numbers above 0",
            config.head_size / 2
        ));
    }
    let scales = &config.attention_scales;
    if scales.len() != config.n_layer || scales.iter().any(|s| !s.is_finite()) {
        return fail(format!(
            "attention_scales must hold a finite number for each of the {} layers",
            config.n_layer
        ));
    }
    Ok(())
}
