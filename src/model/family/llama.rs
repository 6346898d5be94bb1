//! Llama and what is built like it: `LlamaForCausalLM` (LLaMA 1 to 3, OpenLLaMA, TinyLlama, SmolLM2), Mistral, Qwen2 and
//! OLMo of Hugging Face's transformers.

use serde_json::{Value, json};

use super::json::{ConfigJsonError, Json};
use crate::model::arena::{Init, Param};
use crate::model::config::{
    Biases, DecoderConfig, Family, Mlp, Norms, Part, Positions, Rope, RopeScaling,
};

/// Parameters with Hugging Face's names. Weights are `[out, in]`.
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
        use Part::{Attention, Mlp, Norms};
        add(
            weighted,
            "model.layers.{}.input_layernorm.weight",
            &[c],
            Norms,
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
            Norms,
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

/// Reads the `config.json` of a `model_type` of this family.
pub fn from_json(json: &Json, model_type: &str) -> Result<DecoderConfig, ConfigJsonError> {
    let n_head = json.size("num_attention_heads")?;
    let n_embd = json.size("hidden_size")?;
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
    json.only("partial_rotary_factor", 1.0.into())?;
    json.only("clip_qkv", Value::Null)?;
    let olmo = model_type == "olmo";
    let attention_bias = json.flag("attention_bias", false)?;
    let biases = Biases {
        norms: false,
        qkv: attention_bias || model_type == "qwen2",
        attention_out: attention_bias,
        mlp: json.flag("mlp_bias", false)?,
    };
    let mut context_length = json.size("max_position_embeddings")?;
    // Within one window, sliding attention is plain causal attention.
    let slides = model_type == "mistral" || json.flag("use_sliding_window", false)?;
    if let (true, Some(window)) = (slides, json.maybe_size("sliding_window")?) {
        context_length = context_length.min(window);
    }
    let n_layer = json.layers("num_hidden_layers")?;
    Ok(DecoderConfig {
        family: Family::Llama,
        n_layer,
        n_head,
        n_kv_head: json.maybe_size("num_key_value_heads")?.unwrap_or(n_head),
        head_size,
        n_embd,
        n_inner: json.size("intermediate_size")?,
        context_length,
        vocab: json.size("vocab_size")?,
        norm: if olmo { Norms::Plain } else { Norms::RmsNorm },
        norm_epsilon: if olmo {
            1e-5
        } else {
            json.positive("rms_norm_eps", Some(1e-6))?
        },
        positions: Positions::Rotary(rope(json)?),
        mlp: Mlp::SwiGlu,
        biases,
        tied_head: json.flag("tie_word_embeddings", false)?,
        attention_scales: vec![1.0; n_layer],
    })
}

/// Base and scaling, in the older form (`rope_theta`, `rope_scaling`) or nested under `rope_parameters`.
fn rope(json: &Json) -> Result<Rope, ConfigJsonError> {
    let nested = json.get("rope_parameters");
    let old = json.get("rope_scaling");
    let scaling = match (nested.is_object(), old.is_object()) {
        (true, _) => nested,
        (false, true) => old,
        (false, false) => &Value::Null,
    };
    let theta = match nested["rope_theta"].is_null() {
        false => Json::new(nested)?.positive("rope_theta", None)?,
        true => json.positive("rope_theta", Some(10_000.0))?,
    };
    if scaling.is_null() {
        return Ok(Rope {
            theta,
            scaling: RopeScaling::None,
        });
    }
    let values = Json::new(scaling)?;
    values.only("partial_rotary_factor", 1.0.into())?;
    let kind = values
        .text("rope_type")
        .or_else(|| values.text("type"))
        .unwrap_or("default");
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear(values.positive("factor", None)?),
        "llama3" => RopeScaling::Llama3 {
            factor: values.positive("factor", None)?,
            low: values.positive("low_freq_factor", None)?,
            high: values.positive("high_freq_factor", None)?,
            original: values.positive("original_max_position_embeddings", None)?,
        },
        // This program's own, for a GGUF file's table of factors.
        "heirloom" => match serde_json::from_value(scaling["factors"].clone()) {
            Ok(factors) => RopeScaling::Factors(factors),
            Err(_) => {
                return Err(ConfigJsonError(
                    "rope_scaling: factors is no list of numbers".into(),
                ));
            }
        },
        other => {
            return Err(ConfigJsonError::unknown(
                "rope_scaling",
                &other,
                "default, linear and llama3 are supported",
            ));
        }
    };
    if let RopeScaling::Llama3 { low, high, .. } = scaling
        && low >= high
    {
        return Err(ConfigJsonError(format!(
            "rope_scaling: low_freq_factor {low} must be below high_freq_factor {high}"
        )));
    }
    Ok(Rope { theta, scaling })
}

/// The `model_type` whose plain readers compute this model, `config.json`, and whether they read it right.
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
    if kind == "llama" {
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
