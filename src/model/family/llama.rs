//! Llama and models of the same design: `LlamaForCausalLM` (LLaMA 1 to 3, OpenLLaMA, TinyLlama, SmolLM2), Mistral,
//! Qwen2 and OLMo of Hugging Face's transformers.

use serde_json::{Value, json};

use super::json::{ConfigJsonError, Json};
use super::rotary::rope;
use super::windows::window;
use crate::model::arena::{Init, Param};
use crate::model::config::{Biases, DecoderConfig, Family, Mlp, Norms, Positions, RopeScaling};
use crate::model::part::Part;

/// Returns the parameters with Hugging Face's names. Weights are `[out, in]`.
pub fn params(s: &DecoderConfig) -> Vec<Param> {
    let (c, inner, att) = (s.n_embd, s.n_inner, s.attention_width());
    let kv = s.n_kv_head * s.head_size;
    let b = s.biases;
    let weighted = s.norm != Norms::Plain;
    let mut all = vec![Param::new(
        "model.embed_tokens.weight",
        &[s.vocab, c],
        Part::Embeddings,
        None,
        Init::Normal,
    )];
    for layer in 0..s.n_layer {
        let mut add = |there: bool, stem, shape: &[usize], part, init| {
            if there {
                all.push(Param::new(stem, shape, part, Some(layer), init));
            }
        };
        use Init::{Normal, One, Residual, Zero};
        use Part::{Attention, AttentionNorm, Mlp, MlpNorm};
        add(
            weighted,
            "model.layers.{}.input_layernorm.weight",
            &[c],
            AttentionNorm,
            One,
        );
        for (weight, n) in [
            ("model.layers.{}.self_attn.q_proj.weight", att),
            ("model.layers.{}.self_attn.k_proj.weight", kv),
            ("model.layers.{}.self_attn.v_proj.weight", kv),
        ] {
            add(true, weight, &[n, c], Attention, Normal);
        }
        for (bias, n) in [
            ("model.layers.{}.self_attn.q_proj.bias", att),
            ("model.layers.{}.self_attn.k_proj.bias", kv),
            ("model.layers.{}.self_attn.v_proj.bias", kv),
        ] {
            add(b.qkv, bias, &[n], Attention, Zero);
        }
        add(
            true,
            "model.layers.{}.self_attn.o_proj.weight",
            &[c, att],
            Attention,
            Residual,
        );
        add(
            b.attention_out,
            "model.layers.{}.self_attn.o_proj.bias",
            &[c],
            Attention,
            Zero,
        );
        add(
            weighted,
            "model.layers.{}.post_attention_layernorm.weight",
            &[c],
            MlpNorm,
            One,
        );
        for weight in [
            "model.layers.{}.mlp.gate_proj.weight",
            "model.layers.{}.mlp.up_proj.weight",
        ] {
            add(true, weight, &[inner, c], Mlp, Normal);
        }
        for bias in [
            "model.layers.{}.mlp.gate_proj.bias",
            "model.layers.{}.mlp.up_proj.bias",
        ] {
            add(b.mlp, bias, &[inner], Mlp, Zero);
        }
        add(
            true,
            "model.layers.{}.mlp.down_proj.weight",
            &[c, inner],
            Mlp,
            Residual,
        );
        add(b.mlp, "model.layers.{}.mlp.down_proj.bias", &[c], Mlp, Zero);
    }
    if weighted {
        all.push(Param::new(
            "model.norm.weight",
            &[c],
            Part::FinalNorm,
            None,
            Init::One,
        ));
    }
    if !s.tied_head {
        all.push(Param::new(
            "lm_head.weight",
            &[s.vocab, c],
            Part::Head,
            None,
            Init::Normal,
        ));
    }
    all
}

/// The defaults of transformers for keys that a `config.json` lacks.
struct Defaults {
    vocab: usize,
    n_inner: usize,
    /// `None`: the number of query heads.
    n_kv_head: Option<usize>,
    context_length: usize,
}

impl Defaults {
    /// Returns the defaults of the config class of a `model_type`, which are the same in transformers 4 and 5.
    fn of(model_type: &str) -> Self {
        let (vocab, n_inner, n_kv_head, context_length) = match model_type {
            "mistral" => (32_000, 14_336, Some(8), 131_072),
            "qwen2" => (151_936, 22_016, Some(32), 32_768),
            "olmo" => (50_304, 11_008, None, 2048),
            _ => (32_000, 11_008, None, 2048),
        };
        Self {
            vocab,
            n_inner,
            n_kv_head,
            context_length,
        }
    }
}

/// Reads the `config.json` of a `model_type` of this family. `is_own` when this program wrote it for a model that other
/// readers of the type would compute differently.
pub fn from_json(
    json: &Json,
    model_type: &str,
    is_own: bool,
) -> Result<DecoderConfig, ConfigJsonError> {
    let defaults = Defaults::of(model_type);
    let n_head = json.size("num_attention_heads", 32)?;
    let n_embd = json.size("hidden_size", 4096)?;
    let head_size = match json.maybe_size("head_dim")? {
        Some(size) => size,
        None if n_embd.is_multiple_of(n_head) => n_embd / n_head,
        None => {
            return Err(ConfigJsonError(format!(
                "num_attention_heads {n_head} does not divide hidden_size {n_embd}, and there is no head_dim"
            )));
        }
    };
    let activation = json.text("hidden_act").unwrap_or("silu");
    if !matches!(activation, "silu" | "swish") {
        return Err(ConfigJsonError::unknown(
            "hidden_act",
            &activation,
            "only silu is supported",
        ));
    }
    json.only("clip_qkv", Value::Null)?;
    let olmo = model_type == "olmo";
    let n_layer = json.layers("num_hidden_layers", 32)?;
    // Null means as many as query heads; the default applies only to a missing key.
    let n_kv_head = match json.maybe_size("num_key_value_heads")? {
        Some(n) => n,
        None if json.has("num_key_value_heads") => n_head,
        None => defaults.n_kv_head.unwrap_or(n_head),
    };
    let positions = json.size("max_position_embeddings", defaults.context_length)?;
    // For contexts within one window, sliding attention is plain causal attention.
    let window = window(json, model_type, n_layer)?.unwrap_or(positions);
    Ok(DecoderConfig {
        family: Family::Llama,
        n_layer,
        n_head,
        n_kv_head,
        head_size,
        n_embd,
        n_inner: json.size("intermediate_size", defaults.n_inner)?,
        context_length: positions.min(window),
        vocab: json.size("vocab_size", defaults.vocab)?,
        norm: if olmo { Norms::Plain } else { Norms::RmsNorm },
        norm_epsilon: if olmo {
            1e-5
        } else {
            json.positive("rms_norm_eps", Some(1e-6))?
        },
        positions: Positions::Rotary(rope(json, positions)?),
        mlp: Mlp::SwiGlu,
        biases: biases(json, model_type, is_own)?,
        tied_head: json.flag("tie_word_embeddings", false)?,
        attention_scales: vec![1.0; n_layer],
    })
}

/// Returns the biases of a `model_type`: Qwen2 and Mistral ignore the keys, and OLMo has no biases in the MLP.
fn biases(json: &Json, model_type: &str, is_own: bool) -> Result<Biases, ConfigJsonError> {
    let attention = is_own || matches!(model_type, "llama" | "olmo");
    let mlp = is_own || model_type == "llama";
    let attention = attention && json.flag("attention_bias", false)?;
    Ok(Biases {
        norms: false,
        qkv: attention || model_type == "qwen2",
        attention_out: attention,
        mlp: mlp && json.flag("mlp_bias", false)?,
    })
}

/// Returns the `model_type` whose readers compute this model, `config.json`, and whether they compute it correctly.
pub fn to_json(config: &DecoderConfig) -> (Value, bool) {
    let b = config.biases;
    let kind = match (config.norm, b.qkv, b.attention_out) {
        (Norms::Plain, ..) => "olmo",
        (_, true, false) => "qwen2",
        _ => "llama",
    };
    let architecture = match kind {
        "olmo" => "OlmoForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        _ => "LlamaForCausalLM",
    };
    let Positions::Rotary(rope) = &config.positions else {
        return (json!({ "model_type": kind }), false);
    };
    let mut json = json!({
        "model_type": kind,
        "architectures": [architecture],
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "head_dim": config.head_size,
        "hidden_size": config.n_embd,
        "intermediate_size": config.n_inner,
        "max_position_embeddings": config.context_length,
        "vocab_size": config.vocab,
        "hidden_act": "silu",
        "rope_theta": rope.theta,
        "rope_scaling": null,
        "tie_word_embeddings": config.tied_head,
        "attention_dropout": 0.0,
        "torch_dtype": "float32",
    });
    match kind {
        "olmo" => json["clip_qkv"] = Value::Null,
        _ => json["rms_norm_eps"] = config.norm_epsilon.into(),
    }
    match kind {
        "qwen2" => {
            json["use_sliding_window"] = false.into();
        }
        _ => json["attention_bias"] = b.attention_out.into(),
    }
    if kind == "llama" || b.mlp {
        json["mlp_bias"] = b.mlp.into();
    }
    let mut readable = config.attention_scales.iter().all(|&s| s == 1.0)
        && (kind == "llama" || !b.mlp)
        && (kind != "olmo" || config.head_size * config.n_head == config.n_embd);
    match &rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear(factor) => {
            json["rope_scaling"] =
                json!({"rope_type": "linear", "type": "linear", "factor": factor});
        }
        RopeScaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => {
            json["rope_scaling"] = json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": *original as u64,
            });
        }
        RopeScaling::Factors(factors) => {
            json["rope_scaling"] = json!({"rope_type": "heirloom", "factors": factors});
            readable = false;
        }
    }
    (json, readable)
}
