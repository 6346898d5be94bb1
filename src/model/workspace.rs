//! Every buffer of a forward and backward pass, allocated once.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::config::Gpt2Config;

/// Most elements of a piece of logits: bounds the head's scratch however large the vocabulary is.
const CHUNK_ELEMENTS: usize = 4 << 20;

/// What a workspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Keeps every layer's activations for the backward pass.
    Train,
    /// Layers share one set of buffers.
    Forward,
}

/// Activations of one block, M = B T rows.
#[derive(Debug)]
pub struct LayerBuffers {
    pub ln_1: Tensor,
    pub stats_1: Tensor,
    pub qkv: Tensor,
    pub att: Tensor,
    pub lse: Tensor,
    pub x_mid: Tensor,
    pub ln_2: Tensor,
    pub stats_2: Tensor,
    pub fc: Tensor,
    pub gelu: Tensor,
}

/// Gradients of activations, shared by all blocks.
#[derive(Debug)]
pub struct BackwardBuffers {
    /// Gradient on the residual stream, `[M, C]`.
    pub dx: Tensor,
    pub d_norm: Tensor,
    pub d_qkv: Tensor,
    pub d_fc: Tensor,
}

/// Buffers for batches of `batch` windows of `time` tokens.
#[derive(Debug)]
pub struct Workspace {
    pub batch: usize,
    pub time: usize,
    /// Token ids, `u32[B, T]`.
    pub inputs: Tensor,
    pub targets: Tensor,
    /// Loss of each token in nats, `[B T]`.
    pub losses: Tensor,
    pub(super) x_final: Tensor,
    pub(super) stats_final: Tensor,
    pub(super) chunk: Tensor,
    xs: Vec<Tensor>,
    layers: Vec<LayerBuffers>,
    backward: Option<BackwardBuffers>,
}

impl Workspace {
    /// Allocates the buffers.
    ///
    /// # Errors
    /// When `batch` or `time` is zero, or `time` is longer than the model's context.
    pub fn new(
        config: &Gpt2Config,
        batch: usize,
        time: usize,
        mode: Mode,
        device: &Device,
    ) -> Result<Self> {
        if batch == 0 || time == 0 || time > config.context_length {
            bail!(
                "windows of {time} tokens, {batch} at a time, do not fit a context of {}",
                config.context_length
            );
        }
        let (m, c, h) = (batch * time, config.n_embd, config.n_head);
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, device);
        let ids = || Tensor::zeros((batch, time), DType::U32, device);
        let (n_layers, n_xs) = match mode {
            Mode::Train => (config.n_layer, config.n_layer + 1),
            Mode::Forward => (1, 2),
        };
        let layer = |_| -> Result<LayerBuffers> {
            Ok(LayerBuffers {
                ln_1: zeros(&[m, c])?,
                stats_1: zeros(&[2, m])?,
                qkv: zeros(&[m, 3 * c])?,
                att: zeros(&[m, c])?,
                lse: zeros(&[batch, h, time])?,
                x_mid: zeros(&[m, c])?,
                ln_2: zeros(&[m, c])?,
                stats_2: zeros(&[2, m])?,
                fc: zeros(&[m, 4 * c])?,
                gelu: zeros(&[m, 4 * c])?,
            })
        };
        let backward = match mode {
            Mode::Forward => None,
            Mode::Train => Some(BackwardBuffers {
                dx: zeros(&[m, c])?,
                d_norm: zeros(&[m, c])?,
                d_qkv: zeros(&[m, 3 * c])?,
                d_fc: zeros(&[m, 4 * c])?,
            }),
        };
        Ok(Self {
            batch,
            time,
            inputs: ids()?,
            targets: ids()?,
            losses: zeros(&[m])?,
            x_final: zeros(&[m, c])?,
            stats_final: zeros(&[2, m])?,
            chunk: zeros(&[chunk_rows(m, config.vocab), config.vocab])?,
            xs: (0..n_xs).map(|_| zeros(&[m, c])).collect::<Result<_>>()?,
            layers: (0..n_layers).map(layer).collect::<Result<_>>()?,
            backward,
        })
    }

    /// The residual stream before layer `i` (after the last one for `i = n_layer`).
    pub(super) fn x(&self, i: usize) -> &Tensor {
        &self.xs[i % self.xs.len()]
    }

    pub(super) fn layer(&self, i: usize) -> &LayerBuffers {
        &self.layers[i % self.layers.len()]
    }

    pub(super) fn backward(&self) -> Result<&BackwardBuffers> {
        match &self.backward {
            Some(b) => Ok(b),
            None => bail!("this workspace was made for forward passes only"),
        }
    }
}

fn chunk_rows(m: usize, vocab: usize) -> usize {
    (CHUNK_ELEMENTS / vocab).clamp(1, m)
}

/// Bytes a training step needs: parameters, gradients, two moments, activations and their gradients, the head's scratch.
pub fn memory_bytes(config: &Gpt2Config, batch: usize, time: usize) -> u64 {
    let (m, c) = ((batch * time) as u64, config.n_embd as u64);
    let per_layer = m * (16 * c + 4 + config.n_head as u64);
    let shared = m * (11 * c + 3) + m * c * (config.n_layer as u64 + 1);
    let chunk = (chunk_rows(batch * time, config.vocab) * config.vocab) as u64;
    4 * (4 * config.parameters() + per_layer * config.n_layer as u64 + shared + chunk)
}
