//! Weights in and out: a directory with `config.json` and `model.safetensors`, with Hugging Face's names.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use super::arena::Param;
use super::config::DecoderConfig;
use super::decoder::Decoder;
use super::family;
use crate::ops;

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {what}")]
    Format { path: PathBuf, what: String },
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The file that holds a model's tensors.
pub fn weights_file(dir: &Path) -> PathBuf {
    dir.join("model.safetensors")
}

/// Writes `config.json` and `model.safetensors`, each flushed to disk. `weights` are the arena's values, in the order of
/// `params` and without gaps.
pub fn save(
    config: &DecoderConfig,
    params: &[Param],
    weights: &[f32],
    dir: &Path,
) -> Result<(), ModelError> {
    let path = dir.join("config.json");
    let text = format!("{:#}\n", family::to_json(config));
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

/// Reads a GPT-2 directory: this program's own, or Hugging Face's with or without the `transformer.` prefix.
///
/// # Errors
/// When a file is missing or damaged, the family is another one, or tensors are missing or of other shapes.
pub fn load(dir: &Path, device: &Device) -> Result<Decoder, ModelError> {
    let config = read_config(&dir.join("config.json"))?;
    let path = weights_file(dir);
    let bytes = read(&path)?;
    let format = |what: String| ModelError::Format {
        path: path.clone(),
        what,
    };
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| format(format!("not a whole safetensors file ({e})")))?;
    // Before anything is allocated: a damaged config.json may speak of a model that no machine could hold.
    if config.n_layer > file.len() {
        return Err(format(format!(
            "it has {} tensors, too few for the {} layers of config.json",
            file.len(),
            config.n_layer
        )));
    }
    for p in config.params() {
        find(&file, &p, &path)?;
    }
    let model = Decoder::zeros(config, device)?;
    load_into(&file, &model.params, &model.weights.views, &path)?;
    Ok(model)
}

/// The file's tensor for a parameter, of the right shape and type.
fn find<'f>(
    file: &'f SafeTensors<'_>,
    p: &Param,
    path: &Path,
) -> Result<TensorView<'f>, ModelError> {
    let format = |what: String| ModelError::Format {
        path: path.into(),
        what,
    };
    let short = p.name.strip_prefix("transformer.").unwrap_or(&p.name);
    let tensor = file
        .tensor(&p.name)
        .or_else(|_| file.tensor(short))
        .map_err(|_| format(format!("tensor {} is missing", p.name)))?;
    if tensor.shape() != p.shape {
        return Err(format(format!(
            "tensor {} has shape {:?}, expected {:?}",
            p.name,
            tensor.shape(),
            p.shape
        )));
    }
    if tensor.dtype() != Dtype::F32 {
        return Err(format(format!(
            "tensor {} is {:?}; only F32 files are read so far",
            p.name,
            tensor.dtype()
        )));
    }
    Ok(tensor)
}

/// Fills `views` from the file's tensors of the same names and shapes.
pub fn load_into(
    file: &SafeTensors<'_>,
    params: &[Param],
    views: &[candle_core::Tensor],
    path: &Path,
) -> Result<(), ModelError> {
    for (p, view) in params.iter().zip(views) {
        let tensor = find(file, p, path)?;
        ops::write(view, &floats(tensor.data()))?;
    }
    Ok(())
}

/// Little-endian bytes as f32 values.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&w| f32::from_le_bytes(w)).collect()
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| ModelError::Io {
        path: path.into(),
        source,
    })
}

fn read_config(path: &Path) -> Result<DecoderConfig, ModelError> {
    let format = |what: String| ModelError::Format {
        path: path.into(),
        what,
    };
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let json: Value = serde_json::from_str(&text).map_err(|e| format(e.to_string()))?;
    family::from_json(&json).map_err(|e| format(e.to_string()))
}
