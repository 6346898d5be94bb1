//! Families: the names and the order of their parameters, and their `config.json`. Training, surgery and the rank probe
//! know no family; the config, the exporter and what describes a model do.

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
    /// Every parameter in the order of its arena, with the family's names.
    pub fn params(&self) -> Vec<Param> {
        params(self)
    }

    /// Number of parameters (a tied head counts once).
    pub fn parameters(&self) -> u64 {
        self.params().iter().map(|p| p.len() as u64).sum()
    }
}

/// Every parameter in the order of its arena. Tensors whose products belong together lie side by side, weights first:
/// `q, k, v` and `gate, up` are one matrix each to the model.
pub fn params(config: &DecoderConfig) -> Vec<Param> {
    match config.family {
        Family::Gpt2 => gpt2::params(config),
        Family::Llama => llama::params(config),
    }
}

/// The biases that plain readers expect of a model like this: those it has, and the ones that come with them.
pub fn plain_biases(config: &DecoderConfig) -> Biases {
    let has = config.biases;
    match config.family {
        Family::Gpt2 => Biases::all(true),
        // Qwen2 alone has biases on queries, keys and values only.
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

/// Multiplies what makes the queries in `values`, which are parameter `p`'s, and so the attention scores: rotary
/// positions are linear.
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

/// Neighbouring tensors that are one matrix of queries, keys and values to the model.
pub(super) fn qkv_tensors(config: &DecoderConfig) -> usize {
    match config.family {
        Family::Gpt2 => 1,
        Family::Llama => 3,
    }
}

/// Neighbouring tensors that are the first matrix of the MLP.
pub(super) fn fc_tensors(config: &DecoderConfig) -> usize {
    match config.family {
        Family::Gpt2 => 1,
        Family::Llama => 2,
    }
}

/// How the weights of linear layers lie.
pub(super) fn layout(config: &DecoderConfig) -> Layout {
    match config.family {
        Family::Gpt2 => Layout::InOut,
        Family::Llama => Layout::OutIn,
    }
}

/// Sums of squares of what belongs to the queries and of what belongs to the keys in `values`, one layer's matrix of queries,
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

/// `model_type`s that are read.
pub const MODEL_TYPES: [&str; 6] = ["gpt2", "llama", "mistral", "qwen2", "olmo", "heirloom"];

/// Reads a `config.json`.
///
/// # Errors
/// When the model type is not known, or something in it would not be computed as its authors do.
pub fn from_json(json: &Value) -> Result<DecoderConfig, ConfigJsonError> {
    let json = json::Json::new(json)?;
    let model_type = json.text("model_type").unwrap_or("missing");
    // Written by this program for a model that plain readers would misread: the type it is a variation of stands below.
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

/// Writes a `config.json`. Plain readers are invited by the family's `model_type` only when they would read the model
/// right; otherwise the type is `heirloom`, so that they refuse.
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
