//! Every buffer of a forward and backward pass, allocated once.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::config::{DecoderConfig, Mlp, Positions};
use crate::ops::{self, Compute};

/// Most elements of a piece of logits in f32: bounds the head's scratch (64 MiB) however large the vocabulary is. Each piece
/// costs a pass over the weights and their gradients. In bf16 no row of logits exists, and nothing touches this memory.
const CHUNK_ELEMENTS: usize = 16 << 20;

/// What a workspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Keeps every layer's activations for the backward pass.
    Train,
    /// Keeps every layer's input; the backward pass makes the other activations again (Chen et al., "Training deep nets
    /// with sublinear memory cost", arXiv 1604.06174).
    Recompute,
    /// Layers share one set of buffers.
    Forward,
}

impl Mode {
    /// Of how many layers activations are kept, and how many residual streams between them.
    fn kept(self, n_layer: usize) -> (usize, usize) {
        match self {
            Self::Train => (n_layer, n_layer + 1),
            Self::Recompute => (1, n_layer + 1),
            Self::Forward => (1, 2),
        }
    }
}

/// Activations of one block, M = B T rows.
#[derive(Debug)]
pub struct LayerBuffers {
    pub norm_1: Tensor,
    pub stats_1: Tensor,
    pub qkv: Tensor,
    pub att: Tensor,
    pub lse: Tensor,
    pub x_mid: Tensor,
    pub norm_2: Tensor,
    pub stats_2: Tensor,
    pub fc: Tensor,
    pub act: Tensor,
}

/// Gradients of activations, shared by all blocks.
#[derive(Debug)]
pub struct BackwardBuffers {
    /// Gradient on the residual stream, `[M, C]`.
    pub dx: Tensor,
    pub d_norm: Tensor,
    /// As wide as the heads; the same memory as `d_norm` when that is as wide.
    pub d_att: Tensor,
    pub d_qkv: Tensor,
    pub d_fc: Tensor,
    /// As wide as the MLP's second input; the same memory as `d_fc` in an MLP without a gate.
    pub d_act: Tensor,
}

/// Buffers for batches of `batch` windows of `time` tokens.
#[derive(Debug)]
pub struct Workspace {
    pub batch: usize,
    pub time: usize,
    pub mode: Mode,
    /// What products are computed with; f32 unless [set](Self::with_compute).
    pub compute: Compute,
    /// Token ids, `u32[B, T]`.
    pub inputs: Tensor,
    pub targets: Tensor,
    /// Loss of each token in nats, `[B T]`.
    pub losses: Tensor,
    pub(super) x_final: Tensor,
    pub(super) stats_final: Tensor,
    pub(super) chunk: Tensor,
    /// Cosines and sines of rotary positions, `[T, D]`.
    pub(super) rope: Option<Tensor>,
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
        config: &DecoderConfig,
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
        let (att, qkv) = (config.attention_width(), config.qkv_width());
        let (fc, inner) = (config.fc_width(), config.n_inner);
        let zeros = |shape: &[usize]| ops::zeros(shape, device);
        let ids = || Tensor::zeros((batch, time), DType::U32, device);
        let (n_layers, n_xs) = mode.kept(config.n_layer);
        let layer = |_| -> Result<LayerBuffers> {
            Ok(LayerBuffers {
                norm_1: zeros(&[m, c])?,
                stats_1: zeros(&[2, m])?,
                qkv: zeros(&[m, qkv])?,
                att: zeros(&[m, att])?,
                lse: zeros(&[batch, h, time])?,
                x_mid: zeros(&[m, c])?,
                norm_2: zeros(&[m, c])?,
                stats_2: zeros(&[2, m])?,
                fc: zeros(&[m, fc])?,
                act: zeros(&[m, inner])?,
            })
        };
        let backward = match mode {
            Mode::Forward => None,
            Mode::Train | Mode::Recompute => {
                let d_norm = zeros(&[m, c])?;
                let d_fc = zeros(&[m, fc])?;
                Some(BackwardBuffers {
                    dx: zeros(&[m, c])?,
                    d_att: if att == c {
                        d_norm.clone()
                    } else {
                        zeros(&[m, att])?
                    },
                    d_norm,
                    d_qkv: zeros(&[m, qkv])?,
                    d_act: match config.mlp {
                        Mlp::Gelu | Mlp::GeluErf => d_fc.clone(),
                        Mlp::SwiGlu => zeros(&[m, inner])?,
                    },
                    d_fc,
                })
            }
        };
        let rope = match &config.positions {
            Positions::Learned => None,
            Positions::Rotary(rope) => {
                let table = rope.table(config.head_size, time);
                Some(Tensor::from_vec(table, (time, config.head_size), device)?)
            }
        };
        Ok(Self {
            batch,
            time,
            mode,
            compute: Compute::F32,
            inputs: ids()?,
            targets: ids()?,
            losses: zeros(&[m])?,
            x_final: zeros(&[m, c])?,
            stats_final: zeros(&[2, m])?,
            chunk: zeros(&[chunk_rows(m, config.vocab), config.vocab])?,
            xs: (0..n_xs).map(|_| zeros(&[m, c])).collect::<Result<_>>()?,
            layers: (0..n_layers).map(layer).collect::<Result<_>>()?,
            rope,
            backward,
        })
    }

    /// The same buffers for passes with products in `compute`.
    pub fn with_compute(self, compute: Compute) -> Self {
        Self { compute, ..self }
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

/// Bytes a pass needs: parameters, activations, the head's scratch, and for training gradients of both and two moments.
pub fn memory_bytes(config: &DecoderConfig, batch: usize, time: usize, mode: Mode) -> u64 {
    let forward = config.parameters() + activations(config, batch, time, mode);
    if mode == Mode::Forward {
        return 4 * forward;
    }
    let (m, c) = ((batch * time) as u64, config.n_embd as u64);
    let mut back = m * (2 * c + config.qkv_width() as u64 + config.fc_width() as u64);
    if config.attention_width() != config.n_embd {
        back += m * config.attention_width() as u64;
    }
    if config.fc_width() != config.n_inner {
        back += m * config.n_inner as u64;
    }
    4 * (forward + 3 * config.parameters() + back)
}

/// Elements of the buffers of a forward pass.
fn activations(config: &DecoderConfig, batch: usize, time: usize, mode: Mode) -> u64 {
    let (layers, xs) = mode.kept(config.n_layer);
    let (m, c) = ((batch * time) as u64, config.n_embd as u64);
    let attention = (config.qkv_width() + config.attention_width() + config.n_head) as u64;
    let mlp = (config.fc_width() + config.n_inner) as u64;
    let per_layer = m * (3 * c + 4 + attention + mlp);
    let shared = m * (c + 5) + m * c * xs as u64;
    let chunk = (chunk_rows(batch * time, config.vocab) * config.vocab) as u64;
    per_layer * layers as u64 + shared + chunk
}
