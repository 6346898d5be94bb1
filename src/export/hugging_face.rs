//! A directory as Hugging Face's transformers reads it, without any code of the model's own.

use serde_json::{Value, json};

use super::job::{Job, fill_and_report};
use super::plain::{Plain, misread};
use super::subject::Subject;
use super::tokens::Special;
use super::{ExportError, card};
use crate::file::Dir;
use crate::model::{DecoderConfig, Positions, family, write_synced};
use crate::tensors::{DType, Output, Spec, save_safetensors};

/// Writes the directory.
///
/// # Errors
/// As [`super::export`].
pub fn save(subject: &Subject, plain: &mut Plain, job: Job) -> Result<(), ExportError> {
    let config = config_json(&plain.config, job.dtype, &subject.tokens.special)?;
    if job.dtype != DType::F32 {
        let kind = job.dtype.torch_name();
        plain
            .changes
            .push(format!("The weights are rounded to {kind}."));
    }
    if let Some(was) = &subject.model_type
        && config["model_type"] != **was
        && was != "heirloom"
    {
        plain.changes.push(format!(
            "The model type {was} is written as {}, which computes the same.",
            config["model_type"].as_str().unwrap_or("another")
        ));
    }
    if let Some(ids) = subject.tokens.ids.filter(|&ids| ids > plain.config.vocab) {
        plain.changes.push(format!(
            "The tokenizer has {ids} ids, the model {} rows: texts with the tokens beyond cannot be computed.",
            plain.config.vocab
        ));
    }
    let output = Output::directory(&job.target, job.replace)?;
    let dir = output.content();
    write_json(dir, "config.json", &config)?;
    subject
        .tokens
        .write(&plain.config, dir, &mut plain.changes)?;
    if subject.tokens.file("generation_config.json").is_none() {
        let generation = with_ids(json!({}), &subject.tokens.special);
        write_json(dir, "generation_config.json", &generation)?;
    }
    let card = card::text(subject, plain, &job.target, job.dtype);
    write_synced(dir, "README.md", card.as_bytes())?;
    let specs: Vec<Spec> = plain.params.iter().map(|p| spec(p, job.dtype)).collect();
    let (mut written, mut next) = (0, 0);
    let progress = job.progress;
    // Of one type, so the tensors come in the list's order.
    save_safetensors(dir, &specs, job.shard_bytes, |spec, out| {
        let index = next;
        next += 1;
        fill_and_report(spec, out, &mut written, progress, |out| {
            Ok(plain.fill(&subject.files, index, out)?)
        })
    })?;
    Ok(output.commit()?)
}

fn spec(p: &crate::model::Param, dtype: DType) -> Spec {
    Spec {
        name: p.name.clone(),
        shape: p.shape.clone(),
        dtype,
    }
}

/// Returns `config.json` without anything that only this program knows.
fn config_json(
    config: &DecoderConfig,
    dtype: DType,
    special: &Special,
) -> Result<Value, ExportError> {
    let mut json = family::to_json(&tidy(config));
    let misread = misread(config).or_else(|| {
        let own = json["model_type"] == "heirloom";
        own.then_some("no model type of transformers computes it")
    });
    if let Some(why) = misread {
        return Err(ExportError::Form(why.into()));
    }
    if let Some(keys) = json.as_object_mut() {
        keys.shift_remove("heirloom");
    }
    // The older name and the newer one.
    for key in ["torch_dtype", "dtype"] {
        json[key] = dtype.torch_name().into();
    }
    json["use_cache"] = true.into();
    Ok(with_ids(json, special))
}

/// Returns the shape with numbers that were 32-bit floats rounded to as few digits as those need.
fn tidy(config: &DecoderConfig) -> DecoderConfig {
    let short = |x: f64| match f64::from(x as f32) == x {
        true => (x as f32).to_string().parse().unwrap_or(x),
        false => x,
    };
    let mut config = config.clone();
    config.norm_epsilon = short(config.norm_epsilon);
    if let Positions::Rotary(rope) = &mut config.positions {
        rope.theta = short(rope.theta);
    }
    config
}

/// The ids of special tokens, null for missing ones: transformers would take its own instead.
fn with_ids(mut json: Value, special: &Special) -> Value {
    for (key, id) in [
        ("bos_token_id", special.bos),
        ("eos_token_id", special.eos),
        ("pad_token_id", special.pad),
    ] {
        json[key] = id.into();
    }
    json
}

fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

fn write_json(dir: &Dir, name: &str, json: &Value) -> Result<(), ExportError> {
    Ok(write_synced(dir, name, pretty(json).as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    #[test]
    fn what_came_through_32_bits_is_written_as_short_as_it_was_meant() {
        let sizes = Sizes {
            n_layer: 1,
            n_head: 1,
            n_embd: 8,
            context_length: 8,
            vocab: 8,
        };
        let config = DecoderConfig {
            norm_epsilon: f64::from(1e-5f32),
            ..DecoderConfig::llama(sizes)
        };
        let json = config_json(&config, DType::Bf16, &Special::default()).unwrap();
        assert_eq!(json["rms_norm_eps"], 1e-5);
        assert_eq!(json["dtype"], "bfloat16");
        assert!(json["bos_token_id"].is_null() && json.get("bos_token_id").is_some());
        assert!(json.get("heirloom").is_none());
    }
}
