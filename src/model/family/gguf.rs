//! GGUF's architectures: shapes in the metadata, and the tensor names of llama.cpp's converter.

use crate::model::arena::Param;
use crate::model::config::{
    Biases, DecoderConfig, Family, Mlp, Norms, Positions, Rope, RopeScaling, Sizes,
};
use crate::tensors::gguf::Metadata;
use crate::tensors::{Source, TensorError};

use super::json::ConfigJsonError;

/// The architectures of llama.cpp that are read and written. Only the order of the rows of queries and keys depends on
/// the architecture, never which tensors exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and Mistral. Rotary positions turn neighbouring rows, so the rows of each head are interleaved.
    Llama,
    /// Rotary positions turn rows half a head apart, as in Hugging Face's files.
    Qwen2,
    /// No rotary positions.
    Gpt2,
}

impl Architecture {
    const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Gpt2];

    /// Returns the value of `general.architecture`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Gpt2 => "gpt2",
        }
    }

    /// Returns the architecture that a file names.
    ///
    /// # Errors
    /// When it names none, or an unsupported one.
    pub fn of(metadata: &Metadata) -> Result<Self, GgufError> {
        const KEY: &str = "general.architecture";
        let name = metadata.str(KEY)?;
        let found = Self::ALL.into_iter().find(|a| a.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            let known = format!("the architectures that are read are {known}");
            ConfigJsonError::unknown(KEY, &name, &known).into()
        })
    }
}

/// The conversion of a file's tensor to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    None,
    /// The file has no such tensor: zeros. llama.cpp treats missing biases as zero.
    Absent,
    /// `[out, in]` to GPT-2's `[in, out]`.
    Transpose,
    /// Rows of each head: pairs side by side (llama.cpp's rope) to pairs half a head apart.
    Halves {
        heads: usize,
    },
}

/// Errors of a file's metadata.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error(transparent)]
    Tensors(#[from] TensorError),
    #[error(transparent)]
    Shape(#[from] ConfigJsonError),
}

/// Largest accepted size; a larger one is treated as damage.
const LARGEST: usize = 1 << 24;
const MOST_LAYERS: usize = 10_000;

/// Returns the shape that a GGUF file describes.
///
/// # Errors
/// When the architecture is not known, a key is missing, or sizes do not fit each other.
pub fn config(source: &Source, metadata: &Metadata) -> Result<DecoderConfig, GgufError> {
    let architecture = Architecture::of(metadata)?;
    let arch = architecture.name();
    let key = |name: &str| format!("{arch}.{name}");
    let bounded = |name: &str, most: usize| -> Result<usize, GgufError> {
        let key = key(name);
        let n = metadata.usize(&key)?;
        match (1..=most).contains(&n) {
            true => Ok(n),
            false => Err(
                ConfigJsonError(format!("{key} is {n}; it must be between 1 and {most}")).into(),
            ),
        }
    };
    let size = |name: &str| bounded(name, LARGEST);
    let n_head = size("attention.head_count")?;
    let n_embd = size("embedding_length")?;
    let rows = source
        .info("token_embd.weight")
        .and_then(|info| info.shape.first());
    let vocab = rows
        .copied()
        .filter(|v| (1..=LARGEST).contains(v))
        .ok_or_else(|| ConfigJsonError("there is no token_embd.weight with a vocabulary".into()))?;
    if !n_embd.is_multiple_of(n_head) && metadata.get(&key("attention.key_length")).is_none() {
        return Err(
            ConfigJsonError(format!("{n_head} heads do not divide a width of {n_embd}")).into(),
        );
    }
    let sizes = Sizes {
        n_layer: bounded("block_count", MOST_LAYERS)?,
        n_head,
        n_embd,
        context_length: size("context_length")?,
        vocab,
    };
    let config = if architecture == Architecture::Gpt2 {
        DecoderConfig {
            n_inner: size("feed_forward_length")?,
            norm_epsilon: f64::from(metadata.f32(&key("attention.layer_norm_epsilon"))?),
            tied_head: source.info("output.weight").is_none() || same_as_embedding(source)?,
            ..DecoderConfig::gpt2(sizes, true)
        }
    } else {
        llama(source, metadata, architecture, sizes)?
    };
    super::json::check(&config)?;
    Ok(config)
}

fn llama(
    source: &Source,
    metadata: &Metadata,
    architecture: Architecture,
    sizes: Sizes,
) -> Result<DecoderConfig, GgufError> {
    let arch = architecture.name();
    let key = |name: &str| format!("{arch}.{name}");
    let has = |tensor: &str| source.info(tensor).is_some();
    // In llama.cpp each bias of each layer is optional.
    let any = |modules: &[&str]| {
        let bias = |module: &&str| {
            (0..sizes.n_layer).any(|layer| has(&format!("blk.{layer}.{module}.bias")))
        };
        modules.iter().any(bias)
    };
    let optional = |name: &str| -> Result<Option<usize>, GgufError> {
        let key = key(name);
        let n = metadata.optional(&key, Metadata::usize)?;
        match n {
            Some(n) if !(1..=LARGEST).contains(&n) => Err(ConfigJsonError(format!(
                "{key} is {n}; it must be between 1 and {LARGEST}"
            ))
            .into()),
            n => Ok(n),
        }
    };
    let head_size = optional("attention.key_length")?.unwrap_or(sizes.n_embd / sizes.n_head);
    for (name, want) in [
        ("attention.value_length", head_size),
        ("rope.dimension_count", head_size),
    ] {
        if let Some(n) = optional(name)?
            && n != want
        {
            return Err(ConfigJsonError(format!(
                "{} is {n}; only the head size, {want}, is supported",
                key(name)
            ))
            .into());
        }
    }
    if has("blk.0.ffn_gate_inp.weight") {
        return Err(ConfigJsonError("mixtures of experts are not supported".into()).into());
    }
    let theta = metadata.optional(&key("rope.freq_base"), Metadata::f32)?;
    let rope = Rope {
        theta: theta.map_or(10_000.0, f64::from),
        scaling: scaling(source, metadata, architecture, head_size)?,
    };
    if rope.theta < 1.0 {
        return Err(ConfigJsonError(format!("rope.freq_base is {}", rope.theta)).into());
    }
    let feed = optional("feed_forward_length")?
        .ok_or_else(|| ConfigJsonError(format!("{} is missing", key("feed_forward_length"))))?;
    Ok(DecoderConfig {
        family: Family::Llama,
        n_kv_head: optional("attention.head_count_kv")?.unwrap_or(sizes.n_head),
        head_size,
        n_inner: feed,
        norm: Norms::RmsNorm,
        norm_epsilon: f64::from(metadata.f32(&key("attention.layer_norm_rms_epsilon"))?),
        positions: Positions::Rotary(rope),
        mlp: Mlp::SwiGlu,
        biases: Biases {
            norms: false,
            qkv: any(&["attn_q", "attn_k", "attn_v"]),
            attention_out: any(&["attn_output"]),
            mlp: any(&["ffn_gate", "ffn_up", "ffn_down"]),
        },
        tied_head: !has("output.weight"),
        ..DecoderConfig::llama(sizes)
    })
}

/// Rotary scaling: the type, which is "linear" where it is missing, and a factor, multiplied with Llama 3's as a tensor of
/// divisors. Only llama.cpp's llama has a place for the tensor.
fn scaling(
    source: &Source,
    metadata: &Metadata,
    architecture: Architecture,
    head_size: usize,
) -> Result<RopeScaling, GgufError> {
    const FACTORS: &str = "rope_freqs.weight";
    let key = |name: &str| format!("{}.rope.{name}", architecture.name());
    let word = key("scaling.type");
    let by = match metadata.optional(&word, Metadata::str)? {
        None | Some("linear") => linear(metadata, [key("scaling.factor"), key("scale_linear")])?,
        Some("none") => 1.0,
        Some(other) => {
            let known = "none, linear and Llama 3's are supported";
            return Err(ConfigJsonError::unknown(&word, &other, known).into());
        }
    };
    let Some(info) = source.info(FACTORS) else {
        return Ok(match by == 1.0 {
            true => RopeScaling::None,
            false => RopeScaling::Linear(f64::from(by)),
        });
    };
    if architecture != Architecture::Llama {
        let what = format!(
            "{FACTORS} has no place in the {} architecture, whose readers leave it out; remove the tensor, or write \
             the file as llama",
            architecture.name()
        );
        return Err(ConfigJsonError(what).into());
    }
    let mut factors = vec![0.0; info.len().min(LARGEST)];
    if factors.len() != head_size / 2 {
        return Err(ConfigJsonError(format!(
            "{FACTORS} has {} numbers, heads of {head_size} channels need {}",
            info.len(),
            head_size / 2
        ))
        .into());
    }
    source.read_into(FACTORS, &mut factors)?;
    factors.iter_mut().for_each(|factor| *factor *= by);
    Ok(RopeScaling::Factors(factors))
}

/// Returns the factor of linear scaling: that of the first key that exists; 1 without a key, and for 0.
fn linear(metadata: &Metadata, keys: [String; 2]) -> Result<f32, GgufError> {
    for key in keys {
        match metadata.optional(&key, Metadata::f32)? {
            None => {}
            Some(0.0) => return Ok(1.0),
            Some(by) if by > 0.0 && by.is_finite() => return Ok(by),
            Some(by) => {
                return Err(ConfigJsonError(format!("{key} is {by}; it must be above 0")).into());
            }
        }
    }
    Ok(1.0)
}

/// Whether `output.weight` repeats the token embedding, as GPT-2 files have it.
fn same_as_embedding(source: &Source) -> Result<bool, TensorError> {
    let (a, b) = ("token_embd.weight", "output.weight");
    let (Some(info), Some(other)) = (source.info(a), source.info(b)) else {
        return Ok(false);
    };
    if info.shape != other.shape || info.shape.len() != 2 {
        return Ok(false);
    }
    let (rows, row) = (info.shape[0], info.row());
    let (mut x, mut y) = (vec![0.0; row], vec![0.0; row]);
    for r in 0..rows {
        source.read_rows_into(a, r..r + 1, &mut x)?;
        source.read_rows_into(b, r..r + 1, &mut y)?;
        if x != y {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the name that a file of an architecture has for a parameter, and its conversion.
pub fn place(architecture: Architecture, config: &DecoderConfig, p: &Param) -> (String, Turn) {
    let stem = p
        .stem
        .trim_start_matches("transformer.")
        .trim_start_matches("model.");
    let (module, kind) = stem.rsplit_once('.').unwrap_or((stem, "weight"));
    let module = module
        .trim_start_matches("h.{}.")
        .trim_start_matches("layers.{}.");
    let name = match module {
        "wte" | "embed_tokens" => "token_embd",
        "wpe" => "position_embd",
        "ln_f" | "norm" => "output_norm",
        "lm_head" => "output",
        "ln_1" | "input_layernorm" => "attn_norm",
        "attn.c_attn" => "attn_qkv",
        "attn.c_proj" | "self_attn.o_proj" => "attn_output",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "ln_2" | "post_attention_layernorm" => "ffn_norm",
        "mlp.c_fc" | "mlp.up_proj" => "ffn_up",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.c_proj" | "mlp.down_proj" => "ffn_down",
        other => other,
    };
    let name = match p.layer {
        Some(layer) => format!("blk.{layer}.{name}.{kind}"),
        None => format!("{name}.{kind}"),
    };
    let turn = match (architecture, module) {
        (Architecture::Gpt2, "attn.c_attn" | "attn.c_proj" | "mlp.c_fc" | "mlp.c_proj")
            if p.shape.len() == 2 =>
        {
            Turn::Transpose
        }
        (Architecture::Llama, "self_attn.q_proj") => Turn::Halves {
            heads: config.n_head,
        },
        (Architecture::Llama, "self_attn.k_proj") => Turn::Halves {
            heads: config.n_kv_head,
        },
        _ => Turn::None,
    };
    (name, turn)
}

impl Turn {
    /// Returns a parameter's shape in the file.
    pub fn shape(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Self::Transpose => shape.iter().rev().copied().collect(),
            Self::None | Self::Absent | Self::Halves { .. } => shape.to_vec(),
        }
    }

    /// Converts a file's values to those of a parameter with this `shape`.
    pub fn from_file(self, values: &[f32], shape: &[usize], out: &mut [f32]) {
        match self {
            Self::None => out.copy_from_slice(values),
            Self::Absent => out.fill(0.0),
            Self::Transpose => transpose(values, shape[1], shape[0], out),
            Self::Halves { heads } => halves(values, shape, heads, out, false),
        }
    }

    /// Converts a parameter's values to the file's.
    pub fn to_file(self, values: &[f32], shape: &[usize], out: &mut [f32]) {
        match self {
            Self::None | Self::Absent => out.copy_from_slice(values),
            Self::Transpose => transpose(values, shape[0], shape[1], out),
            Self::Halves { heads } => halves(values, shape, heads, out, true),
        }
    }
}

/// Computes `out[columns, rows]` from `values[rows, columns]`.
fn transpose(values: &[f32], rows: usize, columns: usize, out: &mut [f32]) {
    for (r, row) in values.chunks_exact(columns).enumerate() {
        for (c, v) in row.iter().enumerate() {
            out[c * rows + r] = *v;
        }
    }
}

/// Reorders rows: `(head, j, half)` of the file are `(head, half, j)` of the model.
fn halves(values: &[f32], shape: &[usize], heads: usize, out: &mut [f32], to_file: bool) {
    let row: usize = shape[1..].iter().product();
    let d = shape[0] / heads;
    for head in 0..heads {
        for half in 0..2 {
            for j in 0..d / 2 {
                let file = (head * d + 2 * j + half) * row;
                let model = (head * d + half * (d / 2) + j) * row;
                let (from, to) = match to_file {
                    true => (model, file),
                    false => (file, model),
                };
                out[to..to + row].copy_from_slice(&values[from..from + row]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_for_a_file_turns_back() {
        let shape = [8, 3];
        let values: Vec<f32> = (0u8..24).map(f32::from).collect();
        for turn in [Turn::None, Turn::Transpose, Turn::Halves { heads: 2 }] {
            let (mut file, mut back) = (vec![0.0; 24], vec![0.0; 24]);
            turn.to_file(&values, &shape, &mut file);
            turn.from_file(&file, &shape, &mut back);
            assert_eq!(back, values, "{turn:?}");
        }
        // llama.cpp's order within a head of 4: rows 0, 2, 1, 3.
        let mut file = vec![0.0; 24];
        Turn::Halves { heads: 2 }.to_file(&values, &shape, &mut file);
        let rows: Vec<f32> = file.iter().step_by(3).map(|v| v / 3.0).collect();
        assert_eq!(rows, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
