//! Sliding windows in a `config.json`: layers that attend only to the last tokens.

use serde_json::Value;

use super::json::{ConfigJsonError, Json};

/// Returns the window of the layers with sliding attention, in tokens; `None` if no layer has it. As in transformers, these are the
/// layers of Mistral and Qwen2 that `layer_types` names; without that key, all layers of Mistral, and those of Qwen2 from
/// `max_window_layers` on. Mistral's window applies unless it is null, Qwen2's only with `use_sliding_window`. Other families do
/// not have windows.
pub fn window(
    json: &Json,
    model_type: &str,
    n_layer: usize,
) -> Result<Option<usize>, ConfigJsonError> {
    let is_on = match model_type {
        "mistral" => true,
        "qwen2" => json.flag("use_sliding_window", false)?,
        _ => return Ok(None),
    };
    let window = match json.has("sliding_window") {
        _ if !is_on => None,
        true => json.maybe_size("sliding_window")?,
        false => Some(4096),
    };
    let key = "max_window_layers";
    let slides = match (json.get("layer_types"), json.get(key)) {
        (Value::Null, _) if model_type == "mistral" => true,
        (Value::Null, first) => match first.as_u64() {
            Some(first) => first < n_layer as u64,
            None if !json.has(key) => n_layer > 28,
            None => {
                let known = "it must be a number of layers";
                return Err(ConfigJsonError::unknown(key, first, known));
            }
        },
        (types, _) => {
            let slides = named_window(types, n_layer)?;
            if slides && window.is_none() {
                return Err(ConfigJsonError(
                    "layer_types has sliding_attention, without a window: sliding_window is null, or \
                     use_sliding_window is not true"
                        .into(),
                ));
            }
            slides
        }
    };
    Ok(window.filter(|_| slides))
}

/// Whether `layer_types` names a layer with sliding attention.
fn named_window(types: &Value, n_layer: usize) -> Result<bool, ConfigJsonError> {
    let known = "only full_attention and sliding_attention are supported";
    let Some(list) = types.as_array() else {
        return Err(ConfigJsonError::unknown("layer_types", types, known));
    };
    let is_known = |kind: &&Value| {
        matches!(
            kind.as_str(),
            Some("full_attention" | "attention" | "sliding_attention")
        )
    };
    if let Some(other) = list.iter().find(|kind| !is_known(kind)) {
        return Err(ConfigJsonError::unknown("layer_types", other, known));
    }
    if list.len() != n_layer {
        return Err(ConfigJsonError(format!(
            "layer_types has {} entries for {n_layer} layers",
            list.len()
        )));
    }
    Ok(list.iter().any(|kind| kind == "sliding_attention"))
}
