//! `[model]`.

use crate::config::declare::section;
use crate::config::key::OnResume::Refused;
use crate::config::rules::{LONGEST, MOST_LAYERS, MOST_TOKENS, WIDEST, at_most, count, from};
use crate::model::Family;

const SHAPE: &str = "the checkpoints hold weights of this shape";

section! {
    /// The shape of a reference that is trained here; a loaded reference brings its own.
    "model" ModelConfig: Default {
        /// `gpt2`: learned positions, LayerNorm, tanh-GELU, tied head; `llama`: rotary positions, RMSNorm, SwiGLU, no
        /// biases, a head of its own.
        family: Family = default(Family::Gpt2), Refused(SHAPE);

        /// Blocks of the reference.
        n_layer: usize = default(8), Refused(SHAPE), check count(1, MOST_LAYERS as u64);

        /// Attention heads; divides `n_embd`.
        n_head: usize = default(4), Refused(SHAPE), check count(1, WIDEST);

        /// Key and value heads of `llama`; divides `n_head`. 0: as many as heads.
        n_kv_head: usize = default(0), Refused(SHAPE);

        /// Width.
        n_embd: usize = default(128), Refused(SHAPE), check count(1, WIDEST);

        /// Width of the MLP; 0: 4 times `n_embd` (`gpt2`), or 8/3 of it rounded up to a multiple of 64 (`llama`).
        n_inner: usize = default(0), Refused(SHAPE), check at_most(8 * WIDEST);

        /// Longest context in tokens.
        context_length: usize = default(128), Refused(SHAPE), check count(1, LONGEST);

        /// Padded vocabulary; 0: the tokenizer's size rounded up to a multiple of 64.
        vocab: usize = default(0), Refused(SHAPE), check at_most(MOST_TOKENS);

        /// Biases in linear layers and norms of `gpt2`.
        bias: bool = default(true), Refused(SHAPE);

        /// Base of the rotary positions of `llama`.
        rope_theta: f64 = default(10_000.0), Refused(SHAPE), check from(1.0);

        /// Whether the head is the token embedding.
        tie_word_embeddings: Option<bool> = absent("true for `gpt2`, false for `llama`"), Refused(SHAPE);

        /// Also divide attention scores by (layer index + 1).
        scale_attn_by_inverse_layer_idx: bool = default(false), Refused(SHAPE);
    }
}
