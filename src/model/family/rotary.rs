//! Rotary positions in a `config.json`, in every spelling that transformers reads.

use serde_json::{Value, json};

use super::json::{ConfigJsonError, Json};
use crate::model::config::{Rope, RopeScaling};
use crate::text;

/// Base and scaling, as transformers 5 reads them:
///
/// - an object: `rope_scaling` if there is anything in it, or else `rope_parameters`; the other one is ignored;
/// - the type: its `rope_type`, or its `type`, or "default";
/// - theta: its `rope_theta`, or the one outside of it, or 10,000;
/// - the part of the channels: its `partial_rotary_factor`, or the one outside of it, or all;
/// - for Llama 3's: `original_max_position_embeddings` outside of it, or its own, or `max_position_embeddings`
///   (`positions`).
///
/// transformers 4 reads only `rope_scaling`, takes theta only from outside of it, and prefers `type` to `rope_type`.
/// Where versions disagree, this follows version 5.
pub fn rope(json: &Json, positions: usize) -> Result<Rope, ConfigJsonError> {
    let (name, value) = match (json.get("rope_scaling"), json.get("rope_parameters")) {
        (old, new) if is_empty(old) => ("rope_parameters", new),
        (old, _) => ("rope_scaling", old),
    };
    if !value.is_null() && !value.is_object() {
        return Err(ConfigJsonError::unknown(
            name,
            value,
            "it must be an object or null",
        ));
    }
    let nothing = json!({});
    let object = if value.is_null() { &nothing } else { value };
    let by_layer = object.as_object().and_then(|o| {
        let is_set = |value: &Value| {
            let keys = ["rope_type", "type", "rope_theta", "factor"];
            keys.iter().any(|key| !value[key].is_null())
        };
        let mut nested = o.iter().filter(|(_, value)| is_set(value));
        nested.next().map(|(key, _)| key)
    });
    if let Some(key) = by_layer {
        return Err(ConfigJsonError(
            text::clean(&format!(
                "{name} has parameters of its own for {key}; only one set for all layers is supported"
            ))
            .into_owned(),
        ));
    }
    let values = Json::new(object)?;
    let at = |key: &str| match values.has(key) {
        true => &values,
        false => json,
    };
    // With null, transformers does not scale.
    let theta = at("rope_theta");
    let default = (!theta.has("rope_theta")).then_some(10_000.0);
    let theta = theta.positive("rope_theta", default)?;
    at("partial_rotary_factor").only("partial_rotary_factor", 1.0.into())?;
    let kind = values.get(values.spelled(["rope_type", "type"]));
    let is_typed = values.has("rope_type") || values.has("type");
    let number = |key: &str| {
        let named = |ConfigJsonError(what)| ConfigJsonError(format!("{name}: {what}"));
        values.positive(key, None).map_err(named)
    };
    let scaling = match kind.as_str() {
        None if !is_typed => RopeScaling::None,
        Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear(number("factor")?),
        Some("llama3") => RopeScaling::Llama3 {
            factor: number("factor")?,
            low: number("low_freq_factor")?,
            high: number("high_freq_factor")?,
            original: {
                let key = "original_max_position_embeddings";
                let of = if json.has(key) { json } else { &values };
                of.positive(key, Some(positions as f64))?
            },
        },
        // This program's own type, for a GGUF file's table of factors.
        Some("heirloom") => match serde_json::from_value(object["factors"].clone()) {
            Ok(factors) => RopeScaling::Factors(factors),
            Err(_) => {
                return Err(ConfigJsonError(format!(
                    "{name}: factors must be a list of numbers"
                )));
            }
        },
        _ => {
            let shown = kind.as_str().map_or(kind.to_string(), str::to_string);
            return Err(ConfigJsonError::unknown(
                &format!("{name}: the type"),
                &shown,
                "default, linear and llama3 are supported",
            ));
        }
    };
    if let RopeScaling::Llama3 { low, high, .. } = scaling
        && low >= high
    {
        return Err(ConfigJsonError(format!(
            "{name}: low_freq_factor {low} must be below high_freq_factor {high}"
        )));
    }
    Ok(Rope { theta, scaling })
}

/// Whether Python treats a value as false: null, false, zero, and empty values.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}
