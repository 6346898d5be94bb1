//! Walks through a model layer by layer, with one layer's weights in memory at a time, so that models larger than
//! memory can be analysed.

use super::config::{DecoderConfig, Positions};
use super::decoder::Decoder;
use super::files::ModelError;
use super::format::{Format, Mode};
use super::influence::similarity;
use super::memory::memory_bytes;
use super::read::Files;
use super::workspace::Workspace;
use crate::ops;

/// The attention of a layer on some of the windows.
pub struct Seen<'a> {
    pub layer: usize,
    /// The first of these windows, and their number.
    pub first: usize,
    pub windows: usize,
    /// Whether the layer has no further windows.
    pub last: bool,
    /// Their attention matrices, `[windows, H, T, T]`.
    pub attention: &'a [f32],
}

/// Runs windows of `time` tokens, `ids[N T]`, through all layers of a model on the CPU, `batch` at a time, and calls
/// `each` with each layer's attention. Memory: one layer's weights in f32, the residual stream `N T C`, and activations
/// of `batch` windows with one layer's attention.
///
/// Returns each layer's block influence, 1 - the mean over all tokens of the cosine similarity of a block's input and output
/// (Men et al., "ShortGPT", arXiv 2403.03853).
///
/// # Errors
/// When weights cannot be read, a token is not in the vocabulary, or `each` fails.
pub fn walk<E: From<ModelError>>(
    files: &Files,
    ids: &[u32],
    time: usize,
    batch: usize,
    each: &mut dyn FnMut(Seen<'_>) -> Result<(), E>,
) -> Result<Vec<f64>, E> {
    let windows = ids.len() / time.max(1);
    let heads = files.config.n_head;
    let probs = ops::zeros((batch, heads, time, time), &candle_core::Device::Cpu);
    let probs = probs.map_err(ModelError::from)?;
    let mut walk = Walk::begin(files, ids, time, batch)?;
    let mut influences = Vec::with_capacity(files.config.n_layer);
    for layer in 0..files.config.n_layer {
        walk.load(files, layer)?;
        let mut similar = 0.0;
        for first in (0..windows).step_by(batch) {
            let n = batch.min(windows - first);
            similar += walk.step(first, n)?;
            let shape = walk.model.shape_of(0, batch, time);
            let qkv = &walk.ws.layer(0).qkv;
            ops::attention_probs(&probs, qkv, shape).map_err(ModelError::from)?;
            let attention = ops::read(&probs).map_err(ModelError::from)?;
            each(Seen {
                layer,
                first,
                windows: n,
                last: first + n == windows,
                attention: &attention[..n * heads * time * time],
            })?;
        }
        influences.push(1.0 - similar / (windows * time) as f64);
    }
    Ok(influences)
}

/// Returns a bound of the bytes that [`walk`] needs for `windows` of `time` tokens, `batch` at a time, and a decomposition of the
/// attention. Resident pages of memory-mapped files are not counted, since the system can reclaim them.
pub fn bytes(config: &DecoderConfig, windows: usize, time: usize, batch: usize) -> u64 {
    let mut one = config.with_layers(vec![1.0]);
    one.vocab = 1;
    let rows = windows.next_multiple_of(batch) * time;
    // Attention is held as a tensor and as a copy for `each`.
    let attention = 2 * batch * config.n_head * time * time;
    4 * (rows * config.n_embd + attention) as u64
        + memory_bytes(&one, batch, time, Mode::Forward, Format::PLAIN)
}

struct Walk {
    /// A model of one layer, which becomes each layer in turn. Its parameters outside the layer are never used.
    model: Decoder,
    ws: Workspace,
    /// The residual stream of all windows, padded to complete batches.
    stream: Vec<f32>,
}

impl Walk {
    /// Reads the embeddings of all windows.
    fn begin(files: &Files, ids: &[u32], time: usize, batch: usize) -> Result<Self, ModelError> {
        let config = &files.config;
        let cpu = candle_core::Device::Cpu;
        // Embeddings are read from the file, so a vocabulary of one row is enough here.
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

    /// Loads layer `layer`.
    fn load(&mut self, files: &Files, layer: usize) -> Result<(), ModelError> {
        let of = |wanted: usize| move |p: &super::arena::Param| p.layer == Some(wanted);
        let all = files.params().iter().enumerate();
        let theirs = all.filter(|(_, p)| of(layer)(p)).map(|(i, _)| i);
        let own = self.model.params.iter().enumerate();
        let own = own.filter(|(_, p)| of(0)(p)).map(|(i, _)| i);
        for (own, theirs) in own.zip(theirs) {
            let weights = &self.model.weights;
            weights.fill(own, |out| files.read(theirs, out))??;
        }
        self.model.config.attention_scales[0] = files.config.attention_scales[layer];
        Ok(())
    }

    /// Runs a batch through the layer. Returns the sum over its first `n` windows' tokens of the cosine similarities.
    fn step(&mut self, first: usize, n: usize) -> Result<f64, ModelError> {
        let (c, time, batch) = (self.model.config.n_embd, self.ws.time, self.ws.batch);
        let part = first * time * c..(first + batch) * time * c;
        let stream = &mut self.stream[part];
        ops::write(self.ws.x(0), stream)?;
        let (x, out, buffers) = (self.ws.x(0), self.ws.x(1), self.ws.layer(0));
        self.model.block(0, x, out, buffers, &self.ws)?;
        let after = ops::read(out)?;
        let seen = n * time * c;
        let similar = similarity(&stream[..seen], &after[..seen], c);
        stream.copy_from_slice(&after);
        Ok(similar)
    }
}
