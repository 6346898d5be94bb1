//! Every buffer of a forward and backward pass, allocated once.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::config::{DecoderConfig, Mlp, Positions};
use crate::ops::{self, Compute};

/// Most elements of a piece of logits in f32: bounds the head's scratch (64 MiB) however large the vocabulary is. Each piece
/// costs a pass over the weights and their gradients. In bf16 no row of logits exists, and nothing touches this memory.
const CHUNK_ELEMENTS: usize = 16 << 20;

/// The same on a GPU, whose products want many rows.
const CHUNK_ELEMENTS_GPU: usize = 1 << 29;

/// What a model's tensors are kept as. On the CPU everything is f32, and operands of products are rounded on the way. On a
/// GPU, activations and their gradients are bf16 with [`Compute::Bf16`], and so is a copy of the weights; the residual
/// stream, weights, gradients of weights and moments stay f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    /// What products are computed with.
    pub compute: Compute,
    pub gpu: bool,
}

impl Format {
    /// f32 on the CPU.
    pub const PLAIN: Self = Self {
        compute: Compute::F32,
        gpu: false,
    };

    /// What `device` keeps when products are computed with `compute`.
    pub fn on(device: &Device, compute: Compute) -> Self {
        Self {
            compute,
            gpu: device.is_cuda(),
        }
    }

    fn half(self) -> bool {
        self.gpu && self.compute == Compute::Bf16
    }

    /// Type of activations and their gradients.
    fn activation(self) -> DType {
        match self.half() {
            true => DType::BF16,
            false => DType::F32,
        }
    }

    /// Rows of logits that exist at once, and elements from one to the next.
    fn chunk(self, m: usize, vocab: usize) -> (usize, usize) {
        let (most, stride) = match self.gpu {
            // Rows begin where wide accesses may.
            true => (CHUNK_ELEMENTS_GPU, vocab.next_multiple_of(64)),
            false => (CHUNK_ELEMENTS, vocab),
        };
        ((most / stride).clamp(1, m), stride)
    }
}

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
    /// The same in bf16, where products need it so.
    pub dx_rounded: Option<Tensor>,
    pub d_norm: Tensor,
    /// As wide as the heads; the same memory as `d_norm` when that is as wide.
    pub d_att: Tensor,
    pub d_qkv: Tensor,
    pub d_fc: Tensor,
    /// As wide as the MLP's second input; the same memory as `d_fc` in an MLP without a gate.
    pub d_act: Tensor,
}

impl BackwardBuffers {
    /// Gradient on the residual stream as products take it.
    pub fn dy(&self) -> &Tensor {
        self.dx_rounded.as_ref().unwrap_or(&self.dx)
    }
}

/// Buffers for batches of `batch` windows of `time` tokens.
#[derive(Debug)]
pub struct Workspace {
    pub batch: usize,
    pub time: usize,
    pub mode: Mode,
    /// What products are computed with.
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
    /// Allocates the buffers, for products in f32.
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
        Self::computing(config, batch, time, mode, Compute::F32, device)
    }

    /// Allocates the buffers, for products in `compute`.
    ///
    /// # Errors
    /// When `batch` or `time` is zero, or `time` is longer than the model's context.
    pub fn computing(
        config: &DecoderConfig,
        batch: usize,
        time: usize,
        mode: Mode,
        compute: Compute,
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
        let format = Format::on(device, compute);
        let zeros = |shape: &[usize]| ops::zeros(shape, device);
        let acts = |shape: &[usize]| match format.activation() {
            DType::F32 => ops::zeros(shape, device),
            half => ops::zeros_of(shape, half, device),
        };
        let ids = || Tensor::zeros((batch, time), DType::U32, device);
        let (n_layers, n_xs) = mode.kept(config.n_layer);
        let layer = |_| -> Result<LayerBuffers> {
            Ok(LayerBuffers {
                norm_1: acts(&[m, c])?,
                stats_1: zeros(&[2, m])?,
                qkv: acts(&[m, qkv])?,
                att: acts(&[m, att])?,
                lse: zeros(&[batch, h, time])?,
                x_mid: zeros(&[m, c])?,
                norm_2: acts(&[m, c])?,
                stats_2: zeros(&[2, m])?,
                fc: acts(&[m, fc])?,
                act: acts(&[m, inner])?,
            })
        };
        let backward = match mode {
            Mode::Forward => None,
            Mode::Train | Mode::Recompute => {
                let d_norm = acts(&[m, c])?;
                let d_fc = acts(&[m, fc])?;
                let rounded = format.half().then(|| acts(&[m, c]));
                Some(BackwardBuffers {
                    dx: zeros(&[m, c])?,
                    dx_rounded: rounded.transpose()?,
                    d_att: if att == c {
                        d_norm.clone()
                    } else {
                        acts(&[m, att])?
                    },
                    d_norm,
                    d_qkv: acts(&[m, qkv])?,
                    d_act: match config.mlp {
                        Mlp::Gelu | Mlp::GeluErf => d_fc.clone(),
                        Mlp::SwiGlu => acts(&[m, inner])?,
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
        let chunk = format.chunk(m, config.vocab);
        Ok(Self {
            batch,
            time,
            mode,
            compute,
            inputs: ids()?,
            targets: ids()?,
            losses: zeros(&[m])?,
            x_final: acts(&[m, c])?,
            stats_final: zeros(&[2, m])?,
            chunk: acts(&[chunk.0, chunk.1])?,
            xs: (0..n_xs).map(|_| zeros(&[m, c])).collect::<Result<_>>()?,
            layers: (0..n_layers).map(layer).collect::<Result<_>>()?,
            rope,
            backward,
        })
    }

    /// The residual stream before layer `i` (after the last one for `i = n_layer`).
    pub fn x(&self, i: usize) -> &Tensor {
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

/// Bytes a pass needs: parameters, activations, the head's scratch, and for training gradients of both and two moments.
pub fn memory_bytes(
    config: &DecoderConfig,
    batch: usize,
    time: usize,
    mode: Mode,
    format: Format,
) -> u64 {
    let (m, c) = ((batch * time) as u64, config.n_embd as u64);
    let (whole, act) = (4, format.activation().size_in_bytes() as u64);
    let (layers, xs) = mode.kept(config.n_layer);
    let (layers, xs) = (layers as u64, xs as u64);
    let (att, qkv) = (config.attention_width() as u64, config.qkv_width() as u64);
    let (fc, inner) = (config.fc_width() as u64, config.n_inner as u64);
    // Of each layer: norms, qkv, attention and MLP; the stream in the middle and statistics. Then what all share.
    let acts = layers * (2 * c + qkv + att + fc + inner) + c;
    let wholes = layers * (c + 4 + config.n_head as u64) + xs * c + 5;
    let (rows, stride) = format.chunk(batch * time, config.vocab);
    let mut bytes = m * (act * acts + whole * wholes) + act * (rows * stride) as u64;
    let copies = if mode == Mode::Forward { 1 } else { 4 };
    bytes += whole * copies * config.parameters();
    if format.gpu {
        // The copy in bf16.
        bytes += 2 * config.parameters();
    }
    if mode != Mode::Forward {
        let d_att = if att == c { 0 } else { att };
        let d_act = if fc == inner { 0 } else { inner };
        let rounded = if format.half() { c } else { 0 };
        bytes += m * (whole * c + act * (c + qkv + fc + d_att + d_act + rounded));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    /// What an H200 had allocated at most in `heirloom bench train --device cuda --preset gpt2-124m --batch 32 --dtype bf16`
    /// (docs/gpu.md), cuBLASLt's workspace and partial sums included.
    #[test]
    fn memory_on_a_gpu_is_what_was_measured() {
        const MEASURED: f64 = 14.96e9;
        let config = DecoderConfig::gpt2(
            Sizes {
                n_layer: 12,
                n_head: 12,
                n_embd: 768,
                context_length: 1024,
                vocab: 50304,
            },
            true,
        );
        let format = Format {
            compute: Compute::Bf16,
            gpu: true,
        };
        let bytes = memory_bytes(&config, 32, 1024, Mode::Train, format) as f64;
        assert!((0.98..1.0).contains(&(bytes / MEASURED)), "{bytes:.3e}");
        // On the CPU everything is f32.
        let cpu = memory_bytes(&config, 32, 1024, Mode::Train, Format::PLAIN) as f64;
        assert!(cpu > 1.5 * bytes);
        let again = memory_bytes(&config, 32, 1024, Mode::Recompute, format) as f64;
        assert!(again < 0.6 * bytes);
    }
}
