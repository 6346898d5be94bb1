//! A GGUF file with the metadata and the tensors that llama.cpp's converter would write.

use super::ExportError;
use super::gguf_tokenizer;
use super::job::{Job, fill_and_report};
use super::plain::Plain;
use super::subject::Subject;
use crate::model::family::gguf::{Architecture, Turn, place};
use crate::model::{DecoderConfig, Family, Mlp, Norms, Param, Positions, Rope, RopeScaling};
use crate::tensors::gguf::{Value, save as save_gguf, stored_as};
use crate::tensors::{DType, Output, Spec};

/// Llama 3's scaling, as divisors of the frequencies.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Writes the file.
///
/// # Errors
/// As [`super::export`].
pub fn save(subject: &Subject, plain: &mut Plain, job: Job) -> Result<(), ExportError> {
    let architecture = architecture(&plain.config).map_err(|why| ExportError::Form(why.into()))?;
    let mut metadata = shape_metadata(&plain.config, architecture.name(), &subject.name, job.dtype);
    let vocab = plain.config.vocab;
    metadata.extend(gguf_tokenizer::metadata(
        &subject.tokens,
        subject.files.source.path(),
        vocab,
        architecture,
        &mut plain.changes,
    )?);
    if job.dtype != DType::F32 {
        plain
            .changes
            .push(format!("The matrices are rounded to {}.", job.dtype));
    }
    let factors = rope_factors(&plain.config);
    let (mut specs, mut tensors) = (Vec::new(), Vec::new());
    if let Some(factors) = &factors {
        specs.push(Spec {
            name: ROPE_FACTORS.into(),
            shape: vec![factors.len()],
            dtype: DType::F32,
        });
        tensors.push(None);
    }
    for (index, p) in plain.params.iter().enumerate() {
        let (name, turn) = place(architecture, &plain.config, p);
        specs.push(Spec {
            shape: turn.shape(&p.shape),
            dtype: stored(&name, p, job.dtype),
            name,
        });
        tensors.push(Some((index, turn)));
    }
    let wide = |spec: &&Spec| spec.shape.len() > 1 && stored_as(spec) != spec.dtype;
    if let Some(first) = specs.iter().find(wide) {
        plain.changes.push(format!(
            "{} tensors, {} the first, are stored as F16: the length of their rows is not a multiple of the block size {}.",
            specs.iter().filter(wide).count(),
            first.name,
            job.dtype
        ));
    }
    let output = Output::file(&job.target, job.replace)?;
    let mut written = 0;
    let mut tensors = tensors.into_iter();
    let progress = job.progress;
    let mut raw = Vec::new();
    let path = output.temporary();
    save_gguf(output.content(), &path, &metadata, &specs, |spec, out| {
        let tensor = tensors.next();
        fill_and_report(spec, out, &mut written, progress, |out| {
            match (tensor, &factors) {
                (Some(Some((index, turn))), _) => {
                    turned(plain, subject, index, turn, &mut raw, out)
                }
                (_, Some(factors)) => {
                    out.copy_from_slice(factors);
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    })?;
    Ok(output.commit()?)
}

/// Returns a parameter's values in the file's order; `raw` is a buffer that is used again for each parameter.
fn turned(
    plain: &Plain,
    subject: &Subject,
    index: usize,
    turn: Turn,
    raw: &mut Vec<f32>,
    out: &mut [f32],
) -> Result<(), ExportError> {
    if turn == Turn::None {
        return Ok(plain.fill(&subject.files, index, out)?);
    }
    raw.resize(out.len(), 0.0);
    plain.fill(&subject.files, index, raw)?;
    turn.to_file(raw, &plain.params[index].shape, out);
    Ok(())
}

/// Vectors and positions stay in 32 bits, as llama.cpp's converter keeps them.
fn stored(name: &str, p: &Param, dtype: DType) -> DType {
    match p.shape.len() < 2 || name.starts_with("position_embd") {
        true => DType::F32,
        false => dtype,
    }
}

/// Returns the architecture of llama.cpp that computes this model, or the part of it that llama.cpp cannot express.
fn architecture(config: &DecoderConfig) -> Result<Architecture, &'static str> {
    let only_qkv = config.biases.qkv && !config.biases.attention_out;
    let factors = rope_factors(config).is_some();
    match config.family {
        Family::Gpt2 if config.mlp == Mlp::GeluErf => Err(
            "llama.cpp's gpt2 computes GELU with the tanh approximation, this model without it; use --format hf",
        ),
        Family::Gpt2 => Ok(Architecture::Gpt2),
        Family::Llama if config.norm == Norms::Plain => Err(
            "its norms have no weights (OLMo), which the llama architecture of GGUF needs; use --format hf",
        ),
        // llama.cpp's qwen2 cannot express Llama 3's scaling; its llama can express these biases.
        Family::Llama if only_qkv && !factors => Ok(Architecture::Qwen2),
        Family::Llama => Ok(Architecture::Llama),
    }
}

/// Returns the divisors of the rotary frequencies if metadata keys (a scaling's name and a factor) cannot express them.
fn rope_factors(config: &DecoderConfig) -> Option<Vec<f32>> {
    let Positions::Rotary(rope) = &config.positions else {
        return None;
    };
    match &rope.scaling {
        RopeScaling::Factors(factors) => Some(factors.clone()),
        RopeScaling::Llama3 { .. } => Some(rope.divisors(config.head_size)),
        RopeScaling::None | RopeScaling::Linear(_) => None,
    }
}

/// The number of ggml's file types for the type that most matrices are stored in.
fn file_type(dtype: DType) -> u32 {
    match dtype {
        DType::F16 => 1,
        DType::Q8_0 => 7,
        _ => 0,
    }
}

/// The keys that name the shape, in the converter's order.
fn shape_metadata(
    config: &DecoderConfig,
    architecture: &str,
    name: &str,
    dtype: DType,
) -> Vec<(String, Value)> {
    let mut all = vec![
        (
            "general.architecture".into(),
            Value::Str(architecture.into()),
        ),
        ("general.type".into(), Value::Str("model".into())),
        ("general.name".into(), Value::Str(name.into())),
    ];
    let mut put = |key: &str, value| all.push((format!("{architecture}.{key}"), value));
    let size = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX)); // at most 2^24
    put("block_count", size(config.n_layer));
    put("context_length", size(config.context_length));
    put("embedding_length", size(config.n_embd));
    put("feed_forward_length", size(config.n_inner));
    put("attention.head_count", size(config.n_head));
    let epsilon = Value::F32(config.norm_epsilon as f32);
    match &config.positions {
        Positions::Learned => put("attention.layer_norm_epsilon", epsilon),
        Positions::Rotary(Rope { theta, scaling }) => {
            put("attention.head_count_kv", size(config.n_kv_head));
            put("attention.layer_norm_rms_epsilon", epsilon);
            put("attention.key_length", size(config.head_size));
            put("attention.value_length", size(config.head_size));
            put("rope.dimension_count", size(config.head_size));
            put("rope.freq_base", Value::F32(*theta as f32));
            if let RopeScaling::Linear(factor) = scaling {
                put("rope.scaling.type", Value::Str("linear".into()));
                put("rope.scaling.factor", Value::F32(*factor as f32));
            }
        }
    }
    put("vocab_size", size(config.vocab));
    all.push(("general.file_type".into(), Value::U32(file_type(dtype))));
    all
}
