//! All buffers of a forward and backward pass, allocated once.
//!
//! Training, evaluation and probes never run at the same time, so a forward pass of another batch size borrows the
//! memory of the training pass ([`Workspace::forward_view`]). The total size is computed in [`super::memory`].

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::config::{DecoderConfig, Mlp, Positions};
use super::format::{Format, Mode};
use crate::ops::{self, Branch, Precision};

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
    /// A bf16 copy of `dx`, if products need bf16 and `dx` is f32.
    pub dx_rounded: Option<Tensor>,
    pub d_norm: Tensor,
    /// As wide as all heads; shares the memory of `d_norm` if that has the same width.
    pub d_att: Tensor,
    pub d_qkv: Tensor,
    pub d_fc: Tensor,
    /// As wide as the MLP's second input; shares the memory of `d_fc` in an MLP without a gate.
    pub d_act: Tensor,
}

impl BackwardBuffers {
    /// Returns the gradient on the residual stream in the type that products read.
    pub fn dy(&self) -> &Tensor {
        self.dx_rounded.as_ref().unwrap_or(&self.dx)
    }
}

/// Flat buffers that every kind of pass needs, for up to `rows` rows. A pass with fewer rows uses views of their beginnings.
#[derive(Debug)]
struct Room {
    rows: usize,
    format: Format,
    layer: LayerBuffers,
    xs: [Tensor; 2],
    x_final: Tensor,
    stats_final: Tensor,
    losses: Tensor,
    inputs: Tensor,
    targets: Tensor,
    chunk: Tensor,
}

/// The assignment of a pass's rows to texts.
#[derive(Debug)]
pub(super) struct Ragged {
    pub(super) branches: Vec<Branch>,
    /// Position of each of the M rows in its text.
    pub(super) positions: Vec<u32>,
}

/// Buffers for batches of `batch` windows of `time` tokens.
#[derive(Debug)]
pub struct Workspace {
    pub batch: usize,
    pub time: usize,
    pub mode: Mode,
    /// Precision of products.
    pub compute: Precision,
    vocab: usize,
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
    /// The texts of the rows, if these are not windows of one length.
    pub(super) ragged: Option<Ragged>,
    xs: Vec<Tensor>,
    layers: Vec<LayerBuffers>,
    backward: Option<BackwardBuffers>,
    room: Arc<Room>,
}

/// Returns the beginning of a flat buffer in the given shape.
fn view(flat: &Tensor, shape: &[usize]) -> Result<Tensor> {
    flat.narrow(0, 0, shape.iter().product())?.reshape(shape)
}

impl Room {
    fn new(
        config: &DecoderConfig,
        rows: usize,
        mode: Mode,
        format: Format,
        device: &Device,
    ) -> Result<Self> {
        let (c, h) = (config.n_embd, config.n_head);
        let zeros = |width: usize| ops::zeros(rows * width, device);
        let acts = |width: usize| activations(&[rows * width], format, device);
        let ids = || ops::zeros_of(rows, DType::U32, device);
        let (chunk, stride) = mode.chunk(format, rows, config.vocab);
        Ok(Self {
            rows,
            format,
            layer: LayerBuffers {
                norm_1: acts(c)?,
                stats_1: zeros(2)?,
                qkv: acts(config.qkv_width())?,
                att: acts(config.attention_width())?,
                lse: zeros(h)?,
                x_mid: zeros(c)?,
                norm_2: acts(c)?,
                stats_2: zeros(2)?,
                fc: acts(config.fc_width())?,
                act: acts(config.n_inner)?,
            },
            xs: [zeros(c)?, zeros(c)?],
            x_final: acts(c)?,
            stats_final: zeros(2)?,
            losses: zeros(1)?,
            inputs: ids()?,
            targets: ids()?,
            // Always f32, because evaluations must not round logits.
            chunk: ops::zeros(chunk * stride, device)?,
        })
    }

    /// Returns a layer's buffers for `batch` windows of `time` tokens.
    fn layer(&self, config: &DecoderConfig, batch: usize, time: usize) -> Result<LayerBuffers> {
        let (m, c, all) = (batch * time, config.n_embd, &self.layer);
        Ok(LayerBuffers {
            norm_1: view(&all.norm_1, &[m, c])?,
            stats_1: view(&all.stats_1, &[2, m])?,
            qkv: view(&all.qkv, &[m, config.qkv_width()])?,
            att: view(&all.att, &[m, config.attention_width()])?,
            lse: view(&all.lse, &[batch, config.n_head, time])?,
            x_mid: view(&all.x_mid, &[m, c])?,
            norm_2: view(&all.norm_2, &[m, c])?,
            stats_2: view(&all.stats_2, &[2, m])?,
            fc: view(&all.fc, &[m, config.fc_width()])?,
            act: view(&all.act, &[m, config.n_inner])?,
        })
    }
}

/// Makes a tensor of zeros in the type of activations.
pub(super) fn activations(shape: &[usize], format: Format, device: &Device) -> Result<Tensor> {
    buffer(shape, format.activation(), device)
}

fn buffer(shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    match dtype {
        DType::F32 => ops::zeros(shape, device),
        half => ops::zeros_of(shape, half, device),
    }
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
        Self::computing(config, batch, time, mode, Precision::F32, device)
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
        compute: Precision,
        device: &Device,
    ) -> Result<Self> {
        let format = Format::on(device, compute);
        Self::with_room(config, (batch, time), mode, format, 0, device)
    }

    /// Allocates the buffers with memory for forward passes of up to `rows` rows (B T), in a format that need not be the device's
    /// own.
    ///
    /// # Errors
    /// As [`Self::computing`].
    pub fn with_room(
        config: &DecoderConfig,
        (batch, time): (usize, usize),
        mode: Mode,
        format: Format,
        rows: usize,
        device: &Device,
    ) -> Result<Self> {
        let room = Room::new(config, rows.max(batch * time), mode, format, device)?;
        Self::within(Arc::new(room), config, (batch, time), mode, format.compute)
    }

    /// Returns a workspace for forward passes over `batch` windows of `time` tokens in this workspace's memory. The
    /// next pass of either overwrites the memory.
    ///
    /// # Errors
    /// When the memory has fewer rows, or activations have another type with `compute`.
    pub fn forward_view(
        &self,
        config: &DecoderConfig,
        batch: usize,
        time: usize,
        compute: Precision,
    ) -> Result<Self> {
        let room = Arc::clone(&self.room);
        let format = Format {
            compute,
            ..room.format
        };
        if batch * time > room.rows || format.activation() != room.format.activation() {
            bail!(
                "a forward pass of {batch} x {time} tokens does not fit a workspace of {} rows",
                room.rows
            );
        }
        Self::within(room, config, (batch, time), Mode::Forward, compute)
    }

    /// Returns the number of rows of the vocabulary for which the head computes logits.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Returns the largest number of rows of a forward pass in this workspace's memory.
    pub fn rows(&self) -> usize {
        self.room.rows
    }

    fn within(
        room: Arc<Room>,
        config: &DecoderConfig,
        (batch, time): (usize, usize),
        mode: Mode,
        compute: Precision,
    ) -> Result<Self> {
        if batch == 0 || time == 0 || time > config.context_length {
            bail!(
                "windows of {time} tokens, {batch} at a time, do not fit a context of {}",
                config.context_length
            );
        }
        let device = &room.losses.device().clone();
        let rope = match &config.positions {
            Positions::Learned => None,
            Positions::Rotary(rope) => {
                let table = rope.table(config.head_size, time);
                Some(Tensor::from_vec(table, (time, config.head_size), device)?)
            }
        };
        Self::lay_out(room, config, (batch, time), mode, compute, (rope, None))
    }

    /// Returns a workspace for a forward pass over `m` rows of texts of different lengths, in this workspace's memory. `rope` has a
    /// row for each of them.
    ///
    /// # Errors
    /// When the memory has fewer rows.
    pub(super) fn ragged_view(
        &self,
        config: &DecoderConfig,
        m: usize,
        rope: Option<Tensor>,
        ragged: Ragged,
    ) -> Result<Self> {
        if m > self.room.rows {
            bail!("{m} rows do not fit a workspace of {}", self.room.rows);
        }
        let room = Arc::clone(&self.room);
        let layout = (rope, Some(ragged));
        Self::lay_out(room, config, (1, m), Mode::Forward, self.compute, layout)
    }

    /// Returns the final norm's output of the latest pass in this memory, `[rows, C]`.
    pub(super) fn room_final(&self, n_embd: usize) -> Result<Tensor> {
        view(&self.room.x_final, &[self.room.rows, n_embd])
    }

    /// Returns all of the memory for logits.
    pub(super) fn room_chunk(&self) -> Result<Tensor> {
        let (_, stride) = self.mode.chunk(self.room.format, 1, self.vocab);
        let rows = self.room.chunk.elem_count() / stride;
        view(&self.room.chunk, &[rows, stride])
    }

    fn lay_out(
        room: Arc<Room>,
        config: &DecoderConfig,
        (batch, time): (usize, usize),
        mode: Mode,
        compute: Precision,
        (rope, ragged): (Option<Tensor>, Option<Ragged>),
    ) -> Result<Self> {
        let device = &room.losses.device().clone();
        let (m, c, h) = (batch * time, config.n_embd, config.n_head);
        let (att, qkv) = (config.attention_width(), config.qkv_width());
        let (fc, inner) = (config.fc_width(), config.n_inner);
        let format = room.format;
        let zeros = |shape: &[usize]| ops::zeros(shape, device);
        let acts = |shape: &[usize]| activations(shape, format, device);
        let (n_layers, n_xs) = mode.kept(config.n_layer);
        let layer = |i: usize| -> Result<LayerBuffers> {
            if i == 0 {
                return room.layer(config, batch, time);
            }
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
        let x = |i: usize| match room.xs.get(i) {
            Some(flat) => view(flat, &[m, c]),
            None => zeros(&[m, c]),
        };
        let backward = match mode {
            Mode::Forward | Mode::Trunk => None,
            Mode::Train | Mode::Recompute => {
                let d_norm = acts(&[m, c])?;
                let d_fc = acts(&[m, fc])?;
                let rounded = format.rounds_stream_gradient().then(|| acts(&[m, c]));
                Some(BackwardBuffers {
                    dx: buffer(&[m, c], format.stream_gradient(), device)?,
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
        let (chunk, stride) = mode.chunk(format, m, config.vocab);
        Ok(Self {
            batch,
            time,
            mode,
            compute,
            vocab: config.vocab,
            inputs: view(&room.inputs, &[batch, time])?,
            targets: view(&room.targets, &[batch, time])?,
            losses: view(&room.losses, &[m])?,
            x_final: view(&room.x_final, &[m, c])?,
            stats_final: view(&room.stats_final, &[2, m])?,
            chunk: view(&room.chunk, &[chunk, stride])?,
            xs: (0..n_xs).map(x).collect::<Result<_>>()?,
            layers: (0..n_layers).map(layer).collect::<Result<_>>()?,
            rope,
            ragged,
            backward,
            room,
        })
    }

    /// Returns the residual stream before layer `i` (after the last layer for `i = n_layer`).
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
