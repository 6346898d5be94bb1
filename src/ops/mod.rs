//! Fused operations with their backward passes, over candle tensors.
//!
//! Each op is a plain function over slices in [`cpu`] behind one function here that borrows the tensors' storage through candle's in-place
//! mechanism. With the feature `cuda`, ops on tensors of a GPU go to `cuda` instead, which stands next to it. Destinations are
//! preallocated; nothing here allocates tensors, and nothing is copied between devices in silence.
//!
//! Shapes: B windows of T tokens, C = `n_embd`, M = B T rows, H query heads and K key and value heads of size D, V the padded vocabulary.
//! Linear weights have the [`Layout`] that is passed with them, the embedding is `[V, C]`. On the CPU everything is f32 except the operands
//! of products in [`Precision::Bf16`]; on a GPU, activations are of the type of their tensors. Reductions have a fixed order: results
//! repeat bit for bit for the same thread count on the same kind of CPU, and on the same kind of GPU with the same libraries.
//!
//! This folder does not depend on models, files or runs.

/// Does an op on the GPU, and returns, when its tensors lie there.
#[cfg(feature = "cuda")]
macro_rules! on_gpu {
    ($part:ident, $tensor:expr, $op:expr) => {
        if $tensor.device().is_cuda() {
            return Part::$part.time_on_gpu($tensor.device(), || $op);
        }
    };
}
#[cfg(not(feature = "cuda"))]
macro_rules! on_gpu {
    ($part:ident, $tensor:expr, $op:expr) => {
        // Only the CPU's op reads these then.
        let _ = &$tensor;
    };
}

mod access;
mod accumulation;
mod activation;
mod adamw;
pub mod algorithms;
mod attention;
mod attention_kernels;
mod attention_shape;
mod block;
pub mod clock;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod distillation;
mod embedding;
mod gather;
mod gpu_features;
mod head;
mod instructions;
mod layout;
mod linear;
pub mod logits;
mod muon;
mod norm;
#[cfg(any(test, feature = "cuda"))]
mod operands;
mod out_of_memory;
#[cfg(any(test, feature = "cuda"))]
mod plans;
mod precision;
mod precision_choice;
mod recording;
mod runs;
#[cfg(any(test, feature = "cuda"))]
mod shared_memory;
mod soft_targets;
mod update;

pub use access::{fill, lend, read, write, zeros, zeros_of};
pub use accumulation::Accumulation;
pub use activation::{gelu, gelu_backward, gelu_erf, gelu_erf_backward, swiglu, swiglu_backward};
pub use adamw::AdamW;
pub use attention::{
    attention, attention_backward, attention_cached, attention_probs, attention_ragged, rope,
    rope_backward,
};
pub use attention_kernels::check_head_size;
pub use attention_shape::{AttentionShape, Branch};
pub use block::Block;
pub use distillation::head_distillation;
pub use embedding::{embedding, embedding_backward};
pub use gather::gather_rows;
pub use gpu_features::{GpuFeature, check_gpu_features};
pub use head::{head_cross_entropy, head_log_likelihoods, head_logits};
pub use instructions::{check_unit, unit, units, vectors};
pub use layout::Layout;
pub use linear::{
    linear, linear_backward_gelu, linear_backward_input, linear_backward_weight, linear_gelu,
};
pub use muon::{
    MuonRoom, blend, muon_momentum, muon_weights, orthogonalize, orthogonalize_flops, to_unit_norm,
};
pub use norm::{layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};
pub use out_of_memory::OutOfMemory;
pub use precision::Precision;
pub use precision_choice::{Bf16Products, EMULATED, PrecisionChoice, Resolved, slow_bf16};
pub use recording::Recording;
pub use soft_targets::SoftTargets;
pub use update::{Sums, Totals, adamw, round, sum_of_squares, zero};
