//! Through a model layer by layer, with one layer's weights in memory at a time: a model that fits no memory whole can still be
//! looked into.

use candle_core::Tensor;

use super::config::Positions;
use super::decoder::Decoder;
use super::files::ModelError;
use super::read::Files;
use super::workspace::{Mode, Workspace};
use crate::ops::{self, AttentionShape};

/// A layer at work on some of the windows.
pub struct Seen<'a> {
    pub layer: usize,
    /// The first of these windows, and how many there are; further ones in `qkv` are padding.
    pub first: usize,
    pub windows: usize,
    /// Queries, keys and values, `[B T, (H + 2K) D]`, turned by their positions.
    pub qkv: &'a Tensor,
    pub shape: AttentionShape,
}

/// Takes windows of `time` tokens, `ids[N T]`, through all layers of a model on the CPU, `batch` at a time, and shows each
/// layer's attention input to `each`. Memory: one layer's weights in f32, the residual stream `N T C`, and activations of `batch` windows.
///
/// Returns each layer's block influence, 1 - the mean over all tokens of the cosine similarity of a block's input and output
/// (Men et al., "ShortGPT", arXiv 2403.03853).
///
/// # Errors
/// When weights cannot be read, a token is none of the model's, or `each` fails.
pub fn walk<E: From<ModelError>>(
    files: &Files,
    ids: &[u32],
    time: usize,
    batch: usize,
    each: &mut dyn FnMut(Seen<'_>) -> Result<(), E>,
) -> Result<Vec<f64>, E> {
    let windows = ids.len() / time.max(1);
    let mut walk = Walk::begin(files, ids, time, batch)?;
    let mut influences = Vec::with_capacity(files.config.n_layer);
    for layer in 0..files.config.n_layer {
        walk.load(files, layer)?;
        let mut similar = 0.0;
        for first in (0..windows).step_by(batch) {
            let n = batch.min(windows - first);
            similar += walk.step(first, n)?;
            let shape = walk.model.shape_of(0, batch, time);
            each(Seen {
                layer,
                first,
                windows: n,
                qkv: &walk.ws.layer(0).qkv,
                shape,
            })?;
        }
        influences.push(1.0 - similar / (windows * time) as f64);
    }
    Ok(influences)
}

struct Walk {
    /// A model of one layer, which is each of them in turn. What lies outside its layer is never used.
    model: Decoder,
    ws: Workspace,
    /// The residual stream of all windows, filled up to whole batches.
    stream: Vec<f32>,
}

impl Walk {
    /// The embeddings of all windows.
    fn begin(files: &Files, ids: &[u32], time: usize, batch: usize) -> Result<Self, ModelError> {
        let config = &files.config;
        let cpu = candle_core::Device::Cpu;
        // Embeddings are looked up in the file: here a vocabulary of one takes their place.
        let mut one = config.with_layers(vec![1.0]);
        one.vocab = 1;
        let model = Decoder::zeros(one, &cpu)?;
        let ws = Workspace::new(&model.config, batch, time, Mode::Forward, &cpu)?;
        let c = config.n_embd;
        let rows = (ids.len() / time).next_multiple_of(batch) * time;
        let mut stream = vec![0f32; rows * c];
        for (row, &id) in stream.chunks_exact_mut(c).zip(ids) {
            files.read_row(0, id as usize, row)?;
        }
        if matches!(config.positions, Positions::Learned) {
            let mut positions = vec![0f32; time * c];
            files.read(1, &mut positions)?;
            for window in stream.chunks_exact_mut(time * c) {
                for (x, p) in window.iter_mut().zip(&positions) {
                    *x += p;
                }
            }
        }
        Ok(Self { model, ws, stream })
    }

    /// Becomes layer `layer`.
    fn load(&mut self, files: &Files, layer: usize) -> Result<(), ModelError> {
        let of = |wanted: usize| move |p: &super::arena::Param| p.layer == Some(wanted);
        let all = files.params().iter().enumerate();
        let theirs = all.filter(|(_, p)| of(layer)(p)).map(|(i, _)| i);
        let own = self.model.params.iter().enumerate();
        let own = own.filter(|(_, p)| of(0)(p)).map(|(i, _)| i);
        for (own, theirs) in own.zip(theirs) {
            let view = &self.model.weights.views[own];
            ops::fill(view, |out| files.read(theirs, out))??;
        }
        self.model.config.attention_scales[0] = files.config.attention_scales[layer];
        Ok(())
    }

    /// Takes a batch through the layer. Returns the sum over its first `n` windows' tokens of the cosine similarities.
    fn step(&mut self, first: usize, n: usize) -> Result<f64, ModelError> {
        let (c, time, batch) = (self.model.config.n_embd, self.ws.time, self.ws.batch);
        let part = first * time * c..(first + batch) * time * c;
        let stream = &mut self.stream[part];
        ops::write(self.ws.x(0), stream)?;
        let (x, out, buffers) = (self.ws.x(0), self.ws.x(1), self.ws.layer(0));
        self.model.block(0, x, out, buffers, &self.ws)?;
        let after = ops::read(out)?;
        let rows = stream.chunks_exact(c).zip(after.chunks_exact(c));
        let similar = rows.take(n * time).map(|(a, b)| cosine(a, b)).sum();
        stream.copy_from_slice(&after);
        Ok(similar)
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let both = a.iter().zip(b);
        both.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 1.0 }
}
