//! The shape of a decoder: its parts, chosen from a small set, and their sizes.

use serde::{Deserialize, Serialize};

pub use super::rope::{Rope, RopeScaling};

/// A decoder-only transformer. All differences between families are values here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// The family, which determines tensor names and weight layout of the files.
    pub family: Family,
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head` (grouped-query attention when smaller).
    pub n_kv_head: usize,
    /// Channels per head.
    pub head_size: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Width of the MLP.
    pub n_inner: usize,
    /// Longest context in tokens (rows of a learned position embedding).
    pub context_length: usize,
    /// Rows of the token embedding, padding included.
    pub vocab: usize,
    pub norm: Norms,
    pub norm_epsilon: f64,
    pub positions: Positions,
    pub mlp: Mlp,
    pub biases: Biases,
    /// Whether the head is the token embedding.
    pub tied_head: bool,
    /// Factor on each layer's attention scores, in addition to `1/sqrt(head size)`. A layer keeps its factor when it is moved.
    pub attention_scales: Vec<f32>,
}

/// Naming and layout of the files: GPT-2's weights are `[in, out]`, Llama's `[out, in]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Gpt2,
    Llama,
}

impl Family {
    /// Returns the family's name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Norms {
    LayerNorm,
    RmsNorm,
    /// LayerNorm without weight and bias (OLMo's).
    Plain,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Positions {
    /// An embedding added to the tokens'.
    Learned,
    Rotary(Rope),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mlp {
    /// GELU with the tanh approximation (`gelu_new`).
    Gelu,
    /// Exact GELU, with the error function.
    GeluErf,
    /// `silu(gate) * up`.
    SwiGlu,
}

/// The parts that have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Biases {
    pub norms: bool,
    pub qkv: bool,
    pub attention_out: bool,
    pub mlp: bool,
}

impl Biases {
    /// Returns biases in all parts or in none.
    pub fn all(on: bool) -> Self {
        Self {
            norms: on,
            qkv: on,
            attention_out: on,
            mlp: on,
        }
    }
}

/// The sizes of GPT-2 and of a small Llama that a config gives; the rest follows from the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub n_layer: usize,
    pub n_head: usize,
    pub n_embd: usize,
    pub context_length: usize,
    pub vocab: usize,
}

impl DecoderConfig {
    /// GPT-2 (Radford et al., 2019): learned positions, pre-LayerNorm blocks, tanh-GELU, tied head.
    pub fn gpt2(s: Sizes, bias: bool) -> Self {
        Self {
            family: Family::Gpt2,
            n_layer: s.n_layer,
            n_head: s.n_head,
            n_kv_head: s.n_head,
            head_size: s.n_embd / s.n_head,
            n_embd: s.n_embd,
            n_inner: 4 * s.n_embd,
            context_length: s.context_length,
            vocab: s.vocab,
            norm: Norms::LayerNorm,
            norm_epsilon: 1e-5,
            positions: Positions::Learned,
            mlp: Mlp::Gelu,
            biases: Biases::all(bias),
            tied_head: true,
            attention_scales: vec![1.0; s.n_layer],
        }
    }

    /// Llama (Touvron et al., arXiv 2302.13971): rotary positions, RMSNorm, SwiGLU of 8/3 of the width (rounded up to a
    /// multiple of 64), no biases, an untied head.
    pub fn llama(s: Sizes) -> Self {
        Self {
            family: Family::Llama,
            n_inner: (8 * s.n_embd).div_ceil(3).next_multiple_of(64),
            norm: Norms::RmsNorm,
            positions: Positions::Rotary(Rope {
                theta: 10_000.0,
                scaling: RopeScaling::None,
            }),
            mlp: Mlp::SwiGlu,
            biases: Biases::default(),
            tied_head: false,
            ..Self::gpt2(s, false)
        }
    }

    /// Returns the shape with other layers, whose attention scales are `scales`.
    pub fn with_layers(&self, scales: Vec<f32>) -> Self {
        Self {
            n_layer: scales.len(),
            attention_scales: scales,
            ..self.clone()
        }
    }

    /// Whether models of both shapes have the same tensors: the shapes are equal except for the attention scales.
    pub fn has_arenas_of(&self, other: &Self) -> bool {
        self.n_layer == other.n_layer && *self == other.with_layers(self.attention_scales.clone())
    }

    /// Returns the width of a row of queries, keys and values: `(n_head + 2 n_kv_head) head_size`.
    pub fn qkv_width(&self) -> usize {
        (self.n_head + 2 * self.n_kv_head) * self.head_size
    }

    /// Returns the width of all heads' outputs, which need not be `n_embd`.
    pub fn attention_width(&self) -> usize {
        self.n_head * self.head_size
    }

    /// Returns the width of the MLP's first product, which in a gated MLP contains gate and up.
    pub fn fc_width(&self) -> usize {
        match self.mlp {
            Mlp::SwiGlu => 2 * self.n_inner,
            Mlp::Gelu | Mlp::GeluErf => self.n_inner,
        }
    }

    /// Returns the floating-point operations of one training step per token: 6 per parameter in a matrix product (a tied head once,
    /// the embeddings' look-ups not at all) and 12 L H D T of attention (PaLM's count, arXiv 2204.02311 appendix B).
    pub fn flops_per_token(&self, context: usize) -> f64 {
        let c = self.n_embd as f64;
        let attention = self.qkv_width() as f64 + self.attention_width() as f64;
        let mlp = self.fc_width() as f64 + self.n_inner as f64;
        let blocks = c * (attention + mlp) * self.n_layer as f64;
        let head = c * self.vocab as f64;
        let scores = (self.n_layer * self.attention_width()) as f64 * context as f64;
        6.0 * (blocks + head) + 12.0 * scores
    }
}
