//! Opens the tokenizer of a model.

use std::path::Path;

use anyhow::{Context, Result};

use crate::corpus::{GgufVocabulary, Tokenizer};
use crate::tensors::gguf::Metadata;
use crate::tensors::{Source, TensorError};

/// Opens a directory's `tokenizer.json`, the one next to a safetensors file, or a GGUF file's vocabulary.
///
/// # Errors
/// When the tokenizer is missing or cannot be used.
pub fn tokenizer(model: &Path) -> Result<Tokenizer> {
    const ADVICE: &str = "the model has no tokenizer; name one: \"gpt2\", \"byte\" or the path of its tokenizer.json";
    if model.is_dir() {
        return Tokenizer::from_dir(model).context(ADVICE);
    }
    let source = Source::open(model)?;
    match source.gguf() {
        Some(metadata) => Ok(Tokenizer::from_gguf(
            &vocabulary(metadata).context(ADVICE)?,
        )?),
        None => {
            let dir = model.parent().unwrap_or(Path::new("."));
            Tokenizer::from_dir(dir).context(ADVICE)
        }
    }
}

/// The key of a complete `tokenizer.json`, from GGUF's specification.
pub const HUGGING_FACE: &str = "tokenizer.huggingface.json";

/// Reads a GGUF file's vocabulary, `tokenizer.ggml.*`, and `tokenizer.huggingface.json`.
///
/// # Errors
/// When a key is missing or of another type.
pub fn vocabulary(m: &Metadata) -> Result<GgufVocabulary, TensorError> {
    const PREFIX: &str = "tokenizer.ggml.";
    let key = |name: &str| format!("{PREFIX}{name}");
    let id = |name: &str| m.optional(&key(name), Metadata::u32);
    // These tokens only end generated text, so errors in them are ignored.
    let ends = ["eot_token_id", "eom_token_id"].map(|name| id(name).ok().flatten());
    let hugging_face = m.optional(HUGGING_FACE, Metadata::str)?;
    let flag = |name: &str| m.optional(&key(name), Metadata::bool);
    Ok(GgufVocabulary {
        model: m.str(&key("model"))?.into(),
        pre: m.optional(&key("pre"), Metadata::str)?.map(Into::into),
        tokens: m.strs(&key("tokens"))?.to_vec(),
        scores: m
            .optional(&key("scores"), Metadata::f32s)?
            .unwrap_or_default()
            .to_vec(),
        token_types: m
            .optional(&key("token_type"), Metadata::i32s)?
            .unwrap_or_default(),
        merges: m
            .optional(&key("merges"), Metadata::strs)?
            .unwrap_or_default()
            .to_vec(),
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        other_ends: ends.into_iter().flatten().collect(),
        unknown: id("unknown_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        hugging_face: hugging_face.map(Into::into),
    })
}
