//! Reads models, other programs' and this one's, from a Hugging Face directory or a GGUF file.

use std::collections::HashSet;
use std::path::Path;

use super::arena::Param;
use super::config::DecoderConfig;
use super::decoder::Decoder;
use super::family;
use super::family::gguf::{self, Architecture, GgufError, Turn};
use super::files::ModelError;
use super::names::{Names, is_head};
use crate::file::{self, Dir};
use crate::tensors::{DType, Source, TensorError};
use crate::text;
use candle_core::Device;

const CONFIG: &str = "config.json";
/// Most bytes of a `config.json`.
const LARGEST_CONFIG: u64 = 16 << 20;

/// A model whose shape is known and checked against its tensors; the weights have not been read.
#[derive(Debug)]
pub struct Files {
    pub config: DecoderConfig,
    /// Positions of the config, if the window of a layer with sliding attention makes the context shorter.
    pub positions: Option<usize>,
    pub source: Source,
    params: Vec<Param>,
    /// The name in the file of each parameter's tensor, and its conversion.
    places: Vec<(String, Turn)>,
}

impl Files {
    /// Opens a directory with `config.json` and safetensors, or a GGUF file.
    ///
    /// # Errors
    /// When a file is missing or damaged, the architecture is not supported, or tensors are missing, unknown or of
    /// other shapes than in the config. Nothing large is allocated before that is known.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let source = Source::open(path)?;
        let Some(metadata) = source.gguf() else {
            return Self::of(path, read_config(path)?, source);
        };
        let config = gguf::config(&source, metadata).map_err(|error| match error {
            GgufError::Tensors(error) => error.into(),
            GgufError::Shape(error) => format(path, error.to_string()),
        })?;
        Self::of(path, (config, None), source)
    }

    /// Opens `config.json` and `model.safetensors` in an open directory, without following links.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(dir: &Dir) -> Result<Self, ModelError> {
        let source = Source::open_in(dir, super::files::WEIGHTS)?;
        let path = dir.path_of(CONFIG);
        let bytes = dir.read_bytes(CONFIG, LARGEST_CONFIG);
        let bytes = bytes.map_err(|source| ModelError::Io {
            path: path.clone(),
            source,
        })?;
        let config = parse_config(&path, &bytes)?;
        Self::of(dir.path(), config, source)
    }

    fn of(
        path: &Path,
        (config, positions): (DecoderConfig, Option<usize>),
        source: Source,
    ) -> Result<Self, ModelError> {
        // A damaged config may describe a model that no machine could hold.
        let (have, layers) = (source.count(), config.n_layer);
        if layers > have {
            let what =
                format!("it has {have} tensors, too few for the {layers} layers of its config");
            return Err(format(path, what));
        }
        let params = config.params();
        let places = places(&config, &source, &params).map_err(|what| format(path, what))?;
        let files = Self {
            config,
            positions,
            source,
            params,
            places,
        };
        files.check()?;
        Ok(files)
    }

    /// Returns each parameter that the file has, with the name of its tensor.
    pub fn tensor_names(&self) -> impl Iterator<Item = (&Param, &str)> {
        let all = self.params.iter().zip(&self.places);
        let there = all.filter(|(_, (_, turn))| *turn != Turn::Absent);
        there.map(|(p, (name, _))| (p, name.as_str()))
    }

    fn check(&self) -> Result<(), ModelError> {
        let fail = |what: String| Err(format(self.source.path(), what));
        for (p, (name, turn)) in self.params.iter().zip(&self.places) {
            if *turn == Turn::Absent {
                continue;
            }
            let Some(info) = self.source.info(name) else {
                return fail(format!("tensor {name} is missing"));
            };
            let want = turn.shape(&p.shape);
            if info.shape != want {
                let have = &info.shape;
                return fail(format!(
                    "tensor {name} has shape {have:?}, expected {want:?}"
                ));
            }
        }
        let used: HashSet<&str> = self.places.iter().map(|(name, _)| name.as_str()).collect();
        let left: Vec<&str> = self
            .source
            .names()
            .filter(|name| !used.contains(name) && !is_buffer(name))
            .collect();
        match left[..] {
            [] => {}
            [head] if self.config.tied_head && is_head(head) => self.check_tied_head(head)?,
            ["output.weight"] if self.config.tied_head => {}
            [first, ..] => {
                let first = text::clean(first);
                return fail(match left.len() {
                    1 => format!(
                        "tensor {first} has no place in the model that the config describes"
                    ),
                    n => format!(
                        "tensor {first} and {} more have no place in the model that the config describes",
                        n - 1
                    ),
                });
            }
        }
        Ok(())
    }

    /// Checks that a head next to a tied embedding equals it.
    fn check_tied_head(&self, head: &str) -> Result<(), ModelError> {
        let embedding = self.places[0].0.as_str();
        let p = &self.params[0];
        let (rows, row) = (p.shape[0], p.shape[1]);
        let same_shape = self.source.info(head).is_some_and(|i| i.shape == p.shape);
        let (mut a, mut b) = (vec![0.0; row], vec![0.0; row]);
        for r in 0..rows {
            if same_shape {
                self.source.read_rows_into(embedding, r..r + 1, &mut a)?;
                self.source.read_rows_into(head, r..r + 1, &mut b)?;
            }
            if !same_shape || a != b {
                let what = "lm_head.weight differs from the token embedding, although the config ties them; \
                            set tie_word_embeddings to false in config.json to read them as two, as transformers 5 does \
                            (transformers 4 drops lm_head.weight)";
                return Err(format(self.source.path(), what.into()));
            }
        }
        Ok(())
    }

    /// Whether the file has a head in addition to the embedding that the config ties it to.
    pub fn stores_tied_head(&self) -> bool {
        self.config.tied_head && self.source.names().any(is_head)
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// When a value is not finite or cannot be read.
    pub fn load(&self, device: &Device) -> Result<Decoder, ModelError> {
        let model = Decoder::zeros(self.config.clone(), device)?;
        self.load_into(&model)?;
        Ok(model)
    }

    /// Returns the type in which a parameter is stored; F32 for one that the file lacks.
    pub fn dtype(&self, stem: &str, layer: Option<usize>) -> DType {
        let place = index_of(&self.params, stem, layer).map(|i| &self.places[i].0);
        let info = place.ok().and_then(|name| self.source.info(name));
        info.map_or(DType::F32, |info| info.dtype)
    }

    /// Returns the parameters, in the order of [`DecoderConfig::params`].
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Fills `out` with the values of parameter `index`, or with its first rows where `out` is shorter.
    ///
    /// # Errors
    /// When a value is not finite or cannot be read.
    pub fn read(&self, index: usize, out: &mut [f32]) -> Result<(), TensorError> {
        let (p, (name, turn)) = (&self.params[index], &self.places[index]);
        if *turn == Turn::None {
            let row: usize = p.shape[1..].iter().product();
            return match out.len() == p.len() {
                true => self.source.read_into(name, out),
                false => self.source.read_rows_into(name, 0..out.len() / row, out),
            };
        }
        if *turn == Turn::Absent {
            out.fill(0.0);
            return Ok(());
        }
        let mut raw = vec![0.0; p.len()];
        self.source.read_into(name, &mut raw)?;
        turn.from_file(&raw, &p.shape, out);
        Ok(())
    }

    /// Fills `out` with one row of parameter `index`, whose layout in the file must be the model's (as for embeddings).
    ///
    /// # Errors
    /// When the row does not exist or cannot be read.
    pub fn read_row(&self, index: usize, row: usize, out: &mut [f32]) -> Result<(), ModelError> {
        let (name, turn) = &self.places[index];
        if *turn != Turn::None {
            let what = format!("tensor {} is not read by rows", text::clean(name));
            return Err(format(self.source.path(), what));
        }
        Ok(self.source.read_rows_into(name, row..row + 1, out)?)
    }
}

/// A source of parameters: a model in memory, or one on disk, of which only the requested parameters are read.
pub trait Weights {
    fn config(&self) -> &DecoderConfig;

    /// Reads all weights into a model of this shape.
    ///
    /// # Errors
    /// When a parameter is missing or cannot be read, or a value is not finite.
    fn load_into(&self, model: &Decoder) -> Result<(), ModelError> {
        for (i, p) in model.params.iter().enumerate() {
            let read = |out: &mut [f32]| self.parameter(p.stem, p.layer, out);
            model.weights.fill(i, read)??;
        }
        Ok(())
    }

    /// Fills `out` with the parameter of this stem in `layer` (or outside the layers).
    ///
    /// # Errors
    /// When the parameter is missing or cannot be read.
    fn parameter(
        &self,
        stem: &str,
        layer: Option<usize>,
        out: &mut [f32],
    ) -> Result<(), ModelError>;

    /// Fills `out` with rows of such a parameter, along its first dimension, starting with row `first`.
    ///
    /// # Errors
    /// When the parameter or a row is missing, or cannot be read.
    fn rows(
        &self,
        stem: &str,
        layer: Option<usize>,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), ModelError>;
}

impl Weights for Decoder {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn parameter(
        &self,
        stem: &str,
        layer: Option<usize>,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        let i = index_of(&self.params, stem, layer)?;
        out.copy_from_slice(&self.weights.read(i)?);
        Ok(())
    }

    fn rows(
        &self,
        stem: &str,
        layer: Option<usize>,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        let i = index_of(&self.params, stem, layer)?;
        copy_rows(&self.weights.read(i)?, &self.params[i], first, out)
    }
}

impl Weights for Files {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn parameter(
        &self,
        stem: &str,
        layer: Option<usize>,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        let i = index_of(&self.params, stem, layer)?;
        Ok(self.read(i, out)?)
    }

    fn rows(
        &self,
        stem: &str,
        layer: Option<usize>,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        let i = index_of(&self.params, stem, layer)?;
        let (p, (name, turn)) = (&self.params[i], &self.places[i]);
        if *turn == Turn::None {
            let rows = first..first.saturating_add(out.len() / row_of(p));
            return Ok(self.source.read_rows_into(name, rows, out)?);
        }
        // The file's layout differs from the model's.
        let mut all = vec![0.0; p.len()];
        self.read(i, &mut all)?;
        copy_rows(&all, p, first, out)
    }
}

/// Returns the number of elements of a row of a parameter.
fn row_of(p: &Param) -> usize {
    p.shape[1..].iter().product()
}

/// Copies rows from all values of a parameter.
fn copy_rows(all: &[f32], p: &Param, first: usize, out: &mut [f32]) -> Result<(), ModelError> {
    let from = first.saturating_mul(row_of(p));
    let rows = all.get(from..from.saturating_add(out.len()));
    let rows = rows.ok_or_else(|| ModelError::NoParameter(format!("{} row {first}", p.name)))?;
    out.copy_from_slice(rows);
    Ok(())
}

fn index_of(params: &[Param], stem: &str, layer: Option<usize>) -> Result<usize, ModelError> {
    let found = params
        .iter()
        .position(|p| p.layer == layer && p.stem == stem);
    found.ok_or_else(|| ModelError::NoParameter(stem.into()))
}

/// Reads a complete model: [`Files::open`] and [`Files::load`].
///
/// # Errors
/// When one of them fails.
pub fn load(path: &Path, device: &Device) -> Result<Decoder, ModelError> {
    Files::open(path)?.load(device)
}

/// Returns the name in the file of each parameter's tensor, and its conversion.
fn places(
    config: &DecoderConfig,
    source: &Source,
    params: &[Param],
) -> Result<Vec<(String, Turn)>, String> {
    if let Some(metadata) = source.gguf() {
        let architecture = Architecture::of(metadata).map_err(|e| e.to_string())?;
        let place = |p| gguf_place(architecture, config, source, p);
        return Ok(params.iter().map(place).collect());
    }
    let names = Names::of(source);
    let place = |p| Ok((names.find(p, config.tied_head)?.to_string(), Turn::None));
    params.iter().map(place).collect()
}

/// Returns the name of a parameter's tensor in a GGUF file, and its conversion. A bias may be absent.
fn gguf_place(
    architecture: Architecture,
    config: &DecoderConfig,
    source: &Source,
    p: &Param,
) -> (String, Turn) {
    let (name, turn) = gguf::place(architecture, config, p);
    let absent = name.ends_with(".bias") && source.info(&name).is_none();
    (name, if absent { Turn::Absent } else { turn })
}

/// Whether a tensor is not a parameter but a causal mask or a table of angles, which some files contain.
fn is_buffer(name: &str) -> bool {
    [
        ".attn.bias",
        ".attn.masked_bias",
        "rotary_emb.inv_freq",
        "rope_freqs.weight",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

fn format(path: &Path, what: String) -> ModelError {
    ModelError::Format {
        path: path.into(),
        what,
    }
}

fn read_config(dir: &Path) -> Result<(DecoderConfig, Option<usize>), ModelError> {
    // The config may also stand next to a single safetensors file.
    let dir = match dir.is_dir() {
        true => dir,
        false => dir.parent().unwrap_or(dir),
    };
    let path = dir.join(CONFIG);
    let text = file::read_text(&path, LARGEST_CONFIG).map_err(|source| ModelError::Io {
        path: path.clone(),
        source,
    })?;
    parse_config(&path, text.as_bytes())
}

/// Parses the shape, and the positions that the config has beyond the context.
fn parse_config(path: &Path, bytes: &[u8]) -> Result<(DecoderConfig, Option<usize>), ModelError> {
    let json = text::python_json(bytes).map_err(|e| format(path, e.to_string()))?;
    let config = family::from_json(&json).map_err(|e| format(path, e.to_string()))?;
    let positions = json["max_position_embeddings"].as_u64();
    let positions = positions.and_then(|n| usize::try_from(n).ok());
    let positions = positions.filter(|&n| n > config.context_length);
    Ok((config, positions))
}
