//! This program's own checkpoints: a directory with `config.json` and `model.safetensors`, with Hugging Face's names.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};

use super::arena::Param;
use super::config::DecoderConfig;
use super::family;
use crate::tensors::TensorError;
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
    #[error("the model that is taken from has no {0}")]
    NoParameter(String),
    #[error(transparent)]
    Tensors(#[from] TensorError),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The file that holds a model's tensors.
pub fn weights_file(dir: &Path) -> PathBuf {
    dir.join("model.safetensors")
}

/// Writes `config.json` and `model.safetensors`, each flushed to disk. `weights` are the arena's values, in the order of
/// `params` and without gaps; `end_of_text` is the id that ends a text, which a `tokenizer.json` does not tell.
pub fn save(
    config: &DecoderConfig,
    params: &[Param],
    weights: &[f32],
    end_of_text: Option<u32>,
    dir: &Path,
) -> Result<(), ModelError> {
    let path = dir.join("config.json");
    let mut json = family::to_json(config);
    if let Some(id) = end_of_text {
        json["eos_token_id"] = id.into();
    }
    let text = format!("{json:#}\n");
    write_synced(&path, text.as_bytes())?;
    save_tensors(
        &weights_file(dir),
        named("", params, weights),
        HashMap::from([("format".into(), "pt".into())]),
    )
}

/// A tensor by name: shape and values.
pub type Named<'v> = (String, &'v [usize], &'v [f32]);

/// The values of an arena under their parameters' names, with a prefix.
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

/// Writes f32 tensors as a safetensors file and flushes it to disk.
pub fn save_tensors<'v>(
    path: &Path,
    tensors: impl Iterator<Item = Named<'v>>,
    metadata: HashMap<String, String>,
) -> Result<(), ModelError> {
    let format = |e: &dyn std::fmt::Display| ModelError::Format {
        path: path.into(),
        what: e.to_string(),
    };
    let io = |source| ModelError::Io {
        path: path.into(),
        source,
    };
    // First of all with the permissions that the user's umask gives: the library below makes a private file.
    let file = fs::File::create(path).map_err(io)?;
    let permissions = file.metadata().map_err(io)?.permissions();
    let mut views = Vec::new();
    for (name, shape, values) in tensors {
        let bytes = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(|e| format(&e))?;
        views.push((name, view));
    }
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|e| match e {
        SafeTensorError::IoError(source) => io(source),
        other => format(&other),
    })?;
    fs::set_permissions(path, permissions).map_err(io)?;
    let file = fs::File::open(path).map_err(io)?;
    file.sync_all().map_err(io)
}

/// Writes a file and waits until the disk has it.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let io = |source| ModelError::Io {
        path: path.into(),
        source,
    };
    let mut file = fs::File::create(path).map_err(io)?;
    std::io::Write::write_all(&mut file, bytes).map_err(io)?;
    file.sync_all().map_err(io)
}
