//! The types of a model's tensors, and what its buffers are kept for.

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::ops::logits::stride;
use crate::ops::{GpuFeature, Precision};

/// Most elements of a chunk of logits in f32, which bounds the head's scratch memory (64 MiB) for any vocabulary. Each chunk
/// costs a pass over the head's weights and their gradients.
const CHUNK_ELEMENTS: usize = 16 << 20;

/// The same limit on a GPU, where products need many rows: in f32 (2 GiB), and with bf16 (1 GiB; training in bf16 has twice as
/// many rows per byte).
const CHUNK_ELEMENTS_GPU: [usize; 2] = [1 << 29, 1 << 28];

/// The types of a model's tensors. On the CPU everything is f32, and operands of products are rounded as they are read.
/// On a GPU, activations and their gradients are bf16 with [`Precision::Bf16`], and so is a copy of the weights; the
/// residual stream, weights, gradients of weights and moments stay f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Format {
    /// The precision of products.
    pub compute: Precision,
    pub gpu: bool,
}

impl Format {
    /// f32 on the CPU.
    pub const PLAIN: Self = Self {
        compute: Precision::F32,
        gpu: false,
    };

    /// Returns the format of `device` when products are computed with `compute`.
    pub fn on(device: &Device, compute: Precision) -> Self {
        Self {
            compute,
            gpu: device.is_cuda(),
        }
    }

    pub(super) fn half(self) -> bool {
        self.gpu && self.compute == Precision::Bf16
    }

    /// Returns the type of activations and their gradients.
    pub(super) fn activation(self) -> DType {
        match self.half() {
            true => DType::BF16,
            false => DType::F32,
        }
    }

    /// Returns the type of the residual stream's gradient.
    pub(super) fn stream_gradient(self) -> DType {
        match self.half() && GpuFeature::Bf16Gradients.is_on() {
            true => DType::BF16,
            false => DType::F32,
        }
    }

    /// Whether products need a bf16 copy of the residual stream's gradient.
    pub(super) fn rounds_stream_gradient(self) -> bool {
        self.activation() != self.stream_gradient()
    }

    /// Returns the rows of logits in f32 that exist at once, and their stride in elements.
    pub(super) fn chunk(self, m: usize, vocab: usize) -> (usize, usize) {
        let (most, stride) = match (self.gpu, self.compute) {
            (true, Precision::F32) => (CHUNK_ELEMENTS_GPU[0], stride(vocab)),
            (true, Precision::Bf16) => (CHUNK_ELEMENTS_GPU[1], stride(vocab)),
            (false, Precision::F32) => (CHUNK_ELEMENTS, vocab),
            // The head computes blocks of columns in its own scratch memory.
            (false, Precision::Bf16) => (vocab, vocab),
        };
        ((most / stride).clamp(1, m), stride)
    }
}

/// The purpose of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Keeps every layer's activations for the backward pass.
    Train,
    /// Keeps every layer's input; the backward pass recomputes the other activations (Chen et al., "Training deep nets
    /// with sublinear memory cost", arXiv 1604.06174).
    Recompute,
    /// Layers share one set of buffers.
    Forward,
    /// `Forward` without the head and without memory for logits.
    Trunk,
}

impl Mode {
    /// Returns the number of layers whose activations are kept, and of residual streams between them.
    pub(super) fn kept(self, n_layer: usize) -> (usize, usize) {
        match self {
            Self::Train => (n_layer, n_layer + 1),
            Self::Recompute => (1, n_layer + 1),
            Self::Forward | Self::Trunk => (1, 2),
        }
    }

    /// Whether gradients are computed.
    pub(super) fn trains(self) -> bool {
        matches!(self, Self::Train | Self::Recompute)
    }

    /// Returns [`Format::chunk`], or a single element if no logits are computed.
    pub(super) fn chunk(self, format: Format, rows: usize, vocab: usize) -> (usize, usize) {
        match self {
            Self::Trunk => (1, 1),
            _ => format.chunk(rows, vocab),
        }
    }
}
