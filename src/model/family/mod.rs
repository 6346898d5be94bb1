//! Families: the names and the order of their parameters, and their `config.json`. Training, surgery and the rank probe
//! do not depend on families; the config, the exporter and descriptions of a model do.

pub mod gguf;
pub mod gpt2;
pub mod json;
pub mod llama;
mod rotary;
#[cfg(test)]
mod tests;
mod windows;

use serde_json::Value;

use super::arena::Param;
use super::config::{Biases, DecoderConfig, Family, Norms};
use crate::ops::Layout;

pub use json::ConfigJsonError;

impl DecoderConfig {
    /// Returns every parameter in the order of its arena, with the family's names.
    pub fn params(&self) -> Vec<Param> {
        params(self)
    }

    /// Returns the number of parameters (a tied head counts once).
    pub fn parameters(&self) -> u64 {
        self.params().iter().map(|p| p.len() as u64).sum()
    }
}

/// Returns every parameter in the order of its arena. Tensors whose products belong together are neighbours, weights
/// first: the model reads `q, k, v` and `gate, up` as one matrix each.
pub fn params(config: &DecoderConfig) -> Vec<Param> {
    match config.family {
        Family::Gpt2 => gpt2::params(config),
        Family::Llama => llama::params(config),
    }
}

/// Returns the biases that other readers expect of such a model: its own, and those that readers always expect together with them.
pub fn plain_biases(config: &DecoderConfig) -> Biases {
    let has = config.biases;
    match config.family {
        Family::Gpt2 => Biases::all(true),
        // Only Qwen2 has biases on queries, keys and values without other biases.
        Family::Llama => {
            let all = has.attention_out || has.qkv && (has.mlp || config.norm == Norms::Plain);
            Biases {
                qkv: has.qkv || all,
                attention_out: all,
                ..has
            }
        }
    }
}

/// Scales the part of `values`, which are parameter `p`'s, that makes the queries, and thereby the attention scores:
/// rotary positions are linear.
pub fn scale_queries(config: &DecoderConfig, p: &Param, values: &mut [f32], by: f32) {
    let module = p.stem.rsplit_once('.').map_or(p.stem, |(module, _)| module);
    let (row, queries) = match p.shape.last() {
        // `[in, q k v]`, or the bias.
        Some(&row) if module.ends_with("attn.c_attn") => (row, config.attention_width()),
        Some(&row) if module.ends_with("self_attn.q_proj") => (row, row),
        _ => return,
    };
    for row in values.chunks_mut(row) {
        row[..queries].iter_mut().for_each(|v| *v *= by);
    }
}

/// Returns the number of equally wide parts that a row of parameter `p` holds: queries, keys and values in GPT-2's `c_attn`
/// (weight `[in, q k v]` and bias `[q k v]`), one in all other parameters.
pub fn row_parts(p: &Param) -> usize {
    match p.stem.contains("attn.c_attn.") {
        true => 3,
        false => 1,
    }
}

/// Returns the number of neighbouring tensors that the model reads as one matrix of queries, keys and values.
pub(super) fn qkv_tensors(config: &DecoderConfig) -> usize {
    match config.family {
        Family::Gpt2 => 1,
        Family::Llama => 3,
    }
}

/// Returns the number of neighbouring tensors that the model reads as the first matrix of the MLP.
pub(super) fn fc_tensors(config: &DecoderConfig) -> usize {
    match config.family {
        Family::Gpt2 => 1,
        Family::Llama => 2,
    }
}

/// Returns the memory order of the weights of linear layers.
pub(super) fn layout(config: &DecoderConfig) -> Layout {
    match config.family {
        Family::Gpt2 => Layout::InOut,
        Family::Llama => Layout::OutIn,
    }
}

/// Returns the columns of each matrix in a tensor of several adjacent ones: queries, keys and values.
pub(super) fn columns(config: &DecoderConfig, p: &Param) -> Option<Vec<usize>> {
    let is_qkv = config.family == Family::Gpt2 && p.stem.ends_with("attn.c_attn.weight");
    let kv = config.n_kv_head * config.head_size;
    is_qkv.then(|| vec![config.attention_width(), kv, kv])
}

/// Returns the sums of squares of the queries' part and of the keys' part of `values`, one layer's matrix of queries,
/// keys and values.
pub(super) fn query_key_squares(config: &DecoderConfig, values: &[f32]) -> (f64, f64) {
    let q = config.attention_width();
    let k = config.n_kv_head * config.head_size;
    let squares = |all: &mut dyn Iterator<Item = &f32>| -> f64 {
        all.map(|&x| f64::from(x) * f64::from(x)).sum()
    };
    match layout(config) {
        // The queries' columns, then the keys'.
        Layout::InOut => {
            let rows = || values.chunks_exact(config.qkv_width());
            (
                squares(&mut rows().flat_map(|row| &row[..q])),
                squares(&mut rows().flat_map(|row| &row[q..q + k])),
            )
        }
        // The queries' rows, then the keys'.
        Layout::OutIn => {
            let (of_q, rest) = values.split_at(q * config.n_embd);
            (
                squares(&mut of_q.iter()),
                squares(&mut rest[..k * config.n_embd].iter()),
            )
        }
    }
}

/// The supported values of `model_type`.
pub const MODEL_TYPES: [&str; 6] = ["gpt2", "llama", "mistral", "qwen2", "olmo", "heirloom"];

/// Reads a `config.json`.
///
/// # Errors
/// When the model type is unknown, or a setting would not be computed as its authors define it.
pub fn from_json(json: &Value) -> Result<DecoderConfig, ConfigJsonError> {
    let json = json::Json::new(json)?;
    let model_type = json.text("model_type").unwrap_or("missing");
    // Written by this program for a model that other readers would compute differently: the key below names the type it
    // is a variation of.
    let of = match model_type {
        "heirloom" => json.own("model_type").unwrap_or("gpt2"),
        other => other,
    };
    let mut config = match of {
        "gpt2" => gpt2::from_json(&json)?,
        "llama" | "mistral" | "qwen2" | "olmo" => {
            llama::from_json(&json, of, model_type == "heirloom")?
        }
        other => {
            return Err(ConfigJsonError(format!(
                "model_type is {other:?}; the types that are read are {}",
                MODEL_TYPES[..5].join(", ")
            )));
        }
    };
    if let Some(scales) = json.attention_scales() {
        config.attention_scales = scales;
    }
    json::check(&config)?;
    Ok(config)
}

/// Writes a `config.json`. It has the family's `model_type` only if other readers would compute the model correctly;
/// otherwise the type is `heirloom`, so that they refuse it.
pub fn to_json(config: &DecoderConfig) -> Value {
    let (mut json, readable) = match config.family {
        Family::Gpt2 => gpt2::to_json(config),
        Family::Llama => llama::to_json(config),
    };
    let of = json["model_type"].take();
    json["model_type"] = if readable {
        of.clone()
    } else {
        "heirloom".into()
    };
    let mut own = serde_json::json!({ "attention_scales": config.attention_scales });
    if config.family == Family::Gpt2 {
        own["bias"] = config.biases.qkv.into();
    }
    if !readable {
        own["model_type"] = of;
    }
    json["heirloom"] = own;
    json
}
