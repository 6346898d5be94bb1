//! This program's own checkpoints: a directory with `config.json` and `model.safetensors`, with Hugging Face's names.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::arena::Param;
use super::config::DecoderConfig;
use super::family;
use crate::file::Dir;
use crate::tensors::{
    DType, Spec, TensorError, save_safetensors, stream_safetensors, write_safetensors,
};
use crate::text;

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{}: {source}", text::path(path))]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {what}", text::path(path))]
    Format { path: PathBuf, what: String },
    #[error("the source model has no {0}")]
    NoParameter(String),
    #[error(transparent)]
    Tensors(#[from] TensorError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The file that holds a model's tensors.
pub const WEIGHTS: &str = "model.safetensors";

/// Writes `config.json` and `model.safetensors`, which must not exist yet, each flushed to disk. `weights` are the
/// arena's values, in the order of `params` and without gaps; `end_of_text` is the id that ends a text, which a
/// `tokenizer.json` does not contain.
pub fn save(
    config: &DecoderConfig,
    params: &[Param],
    weights: &[f32],
    end_of_text: Option<u32>,
    dir: &Dir,
) -> Result<(), ModelError> {
    save_config(config, end_of_text, DType::F32, dir)?;
    save_tensors(
        dir,
        WEIGHTS,
        named("", params, weights),
        &[("format", "pt")],
    )
}

/// Writes a model as [`save`] does, each parameter as the type that `dtypes` has for it: F32, F16 or BF16.
///
/// # Errors
/// As [`save`], and when a value does not fit its type.
pub fn save_as(
    config: &DecoderConfig,
    params: &[Param],
    weights: &[f32],
    dtypes: &[DType],
    end_of_text: Option<u32>,
    dir: &Dir,
) -> Result<(), ModelError> {
    if dtypes.iter().all(|&dtype| dtype == DType::F32) {
        return save(config, params, weights, end_of_text, dir);
    }
    let first = dtypes.first().copied().unwrap_or(DType::F32);
    let of_all = match dtypes.iter().all(|&dtype| dtype == first) {
        true => first,
        false => DType::F32,
    };
    save_config(config, end_of_text, of_all, dir)?;
    let values: HashMap<String, &[f32]> = named("", params, weights)
        .map(|(name, _, values)| (name, values))
        .collect();
    let specs: Vec<Spec> = params
        .iter()
        .zip(dtypes)
        .map(|(p, &dtype)| Spec {
            name: p.name.clone(),
            shape: p.shape.clone(),
            dtype,
        })
        .collect();
    save_safetensors(dir, &specs, u64::MAX, |spec, out| {
        if let Some(values) = values.get(&spec.name) {
            out.copy_from_slice(values);
        }
        Ok(())
    })
}

fn save_config(
    config: &DecoderConfig,
    end_of_text: Option<u32>,
    dtype: DType,
    dir: &Dir,
) -> Result<(), ModelError> {
    let mut json = family::to_json(config);
    if let Some(id) = end_of_text {
        json["eos_token_id"] = id.into();
    }
    json["torch_dtype"] = dtype.torch_name().into();
    write_synced(dir, "config.json", format!("{json:#}\n").as_bytes())
}

/// A tensor by name: shape and values.
pub type Named<'v> = (String, &'v [usize], &'v [f32]);

/// Returns the values of an arena under their parameters' names, with a prefix.
pub fn named<'v>(
    prefix: &'v str,
    params: &'v [Param],
    mut values: &'v [f32],
) -> impl Iterator<Item = Named<'v>> {
    params.iter().map(move |p| {
        let (own, rest) = values.split_at(p.len());
        values = rest;
        (format!("{prefix}{}", p.name), p.shape.as_slice(), own)
    })
}

/// Writes f32 tensors as a new safetensors file and flushes it to disk.
pub fn save_tensors<'v>(
    dir: &Dir,
    name: &str,
    tensors: impl Iterator<Item = Named<'v>>,
    metadata: &[(&str, &str)],
) -> Result<(), ModelError> {
    let tensors = tensors.map(|(name, shape, values)| {
        let spec = spec(name, shape);
        (spec, bytemuck::cast_slice(values))
    });
    into_file(dir, name, |file, path| {
        Ok(write_safetensors(file, path, Some(metadata), tensors)?)
    })
}

/// Writes a file as [`save_tensors`] does, of tensors that need not be in memory together: `give` is called once for each tensor
/// with its index in the list, and provides its values in one or more pieces.
///
/// # Errors
/// When writing fails, or `give` does.
pub fn stream_tensors<E: From<ModelError> + From<TensorError>>(
    dir: &Dir,
    name: &str,
    tensors: &[(String, &[usize])],
    mut give: impl FnMut(usize, &mut dyn FnMut(&[f32]) -> Result<(), TensorError>) -> Result<(), E>,
) -> Result<(), E> {
    let specs = tensors
        .iter()
        .map(|(name, shape)| spec(name.clone(), shape));
    let specs: Vec<Spec> = specs.collect();
    into_file(dir, name, |file, path| {
        stream_safetensors(file, path, Some(&[]), &specs, |i, write| {
            give(i, &mut |values| write(bytemuck::cast_slice(values)))
        })
    })
}

fn spec(name: String, shape: &[usize]) -> Spec {
    Spec {
        name,
        shape: shape.into(),
        dtype: DType::F32,
    }
}

/// Creates a file, has it written, and flushes it to disk.
fn into_file<E: From<ModelError>>(
    dir: &Dir,
    name: &str,
    write: impl FnOnce(&File, &Path) -> Result<(), E>,
) -> Result<(), E> {
    let path = dir.path_of(name);
    let io = |source| ModelError::Io {
        path: path.clone(),
        source,
    };
    let file = dir.create_file(name).map_err(io)?;
    write(&file, &path)?;
    Ok(file.sync_all().map_err(io)?)
}

/// Writes a new file and waits until it is on the disk.
pub fn write_synced(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), ModelError> {
    let io = |source| ModelError::Io {
        path: dir.path_of(name),
        source,
    };
    let mut file = dir.create_file(name).map_err(io)?;
    std::io::Write::write_all(&mut file, bytes).map_err(io)?;
    file.sync_all().map_err(io)
}
