//! GPT-2 (Radford et al., 2019) and models of the same design (Cerebras-GPT): Hugging Face's `GPT2LMHeadModel`.

use serde_json::{Value, json};

use super::json::{ConfigJsonError, Json};
use crate::model::arena::{Init, Param};
use crate::model::config::{DecoderConfig, Mlp, Sizes};
use crate::model::part::Part;

/// Returns the parameters with Hugging Face's names. Weights are `[in, out]` (Conv1D).
pub fn params(s: &DecoderConfig) -> Vec<Param> {
    let (c, inner) = (s.n_embd, s.n_inner);
    let b = s.biases;
    let mut all = vec![
        Param::new(
            "transformer.wte.weight",
            &[s.vocab, c],
            Part::Embeddings,
            None,
            Init::Normal,
        ),
        Param::new(
            "transformer.wpe.weight",
            &[s.context_length, c],
            Part::Positions,
            None,
            Init::Normal,
        ),
    ];
    for layer in 0..s.n_layer {
        let mut add = |there: bool, stem, shape: &[usize], part, init| {
            if there {
                all.push(Param::new(stem, shape, part, Some(layer), init));
            }
        };
        use Init::{Normal, One, Residual, Zero};
        use Part::{Attention, AttentionNorm, Mlp, MlpNorm};
        add(
            true,
            "transformer.h.{}.ln_1.weight",
            &[c],
            AttentionNorm,
            One,
        );
        add(
            b.norms,
            "transformer.h.{}.ln_1.bias",
            &[c],
            AttentionNorm,
            Zero,
        );
        add(
            true,
            "transformer.h.{}.attn.c_attn.weight",
            &[c, 3 * c],
            Attention,
            Normal,
        );
        add(
            b.qkv,
            "transformer.h.{}.attn.c_attn.bias",
            &[3 * c],
            Attention,
            Zero,
        );
        add(
            true,
            "transformer.h.{}.attn.c_proj.weight",
            &[c, c],
            Attention,
            Residual,
        );
        add(
            b.attention_out,
            "transformer.h.{}.attn.c_proj.bias",
            &[c],
            Attention,
            Zero,
        );
        add(true, "transformer.h.{}.ln_2.weight", &[c], MlpNorm, One);
        add(b.norms, "transformer.h.{}.ln_2.bias", &[c], MlpNorm, Zero);
        add(
            true,
            "transformer.h.{}.mlp.c_fc.weight",
            &[c, inner],
            Mlp,
            Normal,
        );
        add(b.mlp, "transformer.h.{}.mlp.c_fc.bias", &[inner], Mlp, Zero);
        add(
            true,
            "transformer.h.{}.mlp.c_proj.weight",
            &[inner, c],
            Mlp,
            Residual,
        );
        add(b.mlp, "transformer.h.{}.mlp.c_proj.bias", &[c], Mlp, Zero);
    }
    let mut last = |there: bool, stem, init| {
        if there {
            all.push(Param::new(stem, &[c], Part::FinalNorm, None, init));
        }
    };
    last(true, "transformer.ln_f.weight", Init::One);
    last(b.norms, "transformer.ln_f.bias", Init::Zero);
    if !s.tied_head {
        let shape = [s.vocab, c];
        all.push(Param::new(
            "lm_head.weight",
            &shape,
            Part::Head,
            None,
            Init::Normal,
        ));
    }
    all
}

/// Reads GPT-2's `config.json`. Names of other families for sizes have precedence, as in transformers
/// (`attribute_map`); absent keys have the defaults of its `GPT2Config`.
pub fn from_json(json: &Json) -> Result<DecoderConfig, ConfigJsonError> {
    let heads = json.spelled(["num_attention_heads", "n_head"]);
    let width = json.spelled(["hidden_size", "n_embd"]);
    let sizes = Sizes {
        n_layer: json.layers(json.spelled(["num_hidden_layers", "n_layer"]), 12)?,
        n_head: json.size(heads, 12)?,
        n_embd: json.size(width, 768)?,
        context_length: json.size(
            json.spelled(["max_position_embeddings", "n_positions"]),
            1024,
        )?,
        vocab: json.size("vocab_size", 50_257)?,
    };
    if !sizes.n_embd.is_multiple_of(sizes.n_head) {
        return Err(ConfigJsonError(format!(
            "{heads} {} does not divide {width} {}",
            sizes.n_head, sizes.n_embd
        )));
    }
    let mlp = match json.text("activation_function").unwrap_or("gelu_new") {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" | "gelu_python_tanh" => {
            Mlp::Gelu
        }
        "gelu" | "gelu_python" => Mlp::GeluErf,
        other => {
            return Err(ConfigJsonError::unknown(
                "activation_function",
                &other,
                "gelu_new and gelu are supported",
            ));
        }
    };
    json.only("scale_attn_weights", true.into())?;
    json.only("add_cross_attention", false.into())?;
    let mut config = DecoderConfig {
        mlp,
        n_inner: json.maybe_size("n_inner")?.unwrap_or(4 * sizes.n_embd),
        norm_epsilon: json.positive("layer_norm_epsilon", Some(1e-5))?,
        tied_head: json.flag("tie_word_embeddings", true)?,
        ..DecoderConfig::gpt2(sizes, json.own_bias())
    };
    if json.flag("scale_attn_by_inverse_layer_idx", false)? {
        config.attention_scales = inverse_layer_scales(config.n_layer);
    }
    Ok(config)
}

/// Returns the factors of attention scores with `scale_attn_by_inverse_layer_idx`.
pub fn inverse_layer_scales(n_layer: usize) -> Vec<f32> {
    (1..=n_layer).map(|i| 1.0 / i as f32).collect()
}

/// Returns GPT-2's `config.json`, and whether other readers compute the model correctly: with biases, and with
/// attention scales that they support.
pub fn to_json(config: &DecoderConfig) -> (Value, bool) {
    let plain = config.attention_scales.iter().all(|&s| s == 1.0);
    let by_layer = config.attention_scales == inverse_layer_scales(config.n_layer);
    let readable = config.biases.qkv && (plain || by_layer);
    let activation = match config.mlp {
        Mlp::GeluErf => "gelu",
        Mlp::Gelu | Mlp::SwiGlu => "gelu_new",
    };
    let mut json = json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.context_length,
        "n_ctx": config.context_length,
        "vocab_size": config.vocab,
        "activation_function": activation,
        "layer_norm_epsilon": config.norm_epsilon,
        "scale_attn_weights": true,
        "scale_attn_by_inverse_layer_idx": by_layer && !plain,
        "tie_word_embeddings": config.tied_head,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "torch_dtype": "float32",
    });
    if config.n_inner != 4 * config.n_embd {
        json["n_inner"] = config.n_inner.into();
    }
    (json, readable)
}
