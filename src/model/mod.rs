//! Decoder models: their shape, their parameters in one flat arena, forward and backward over preallocated buffers,
//! text generation, and weights in from safetensors and GGUF and out to safetensors, with the family's own names.
//!
//! A model does not depend on text, runs or learning rates: token ids go in, losses and gradients come out.

mod arena;
mod config;
mod decoder;
pub mod family;
mod files;
mod format;
mod generate;
mod head;
mod influence;
mod matrices;
mod memory;
mod names;
mod part;
mod parts;
mod ragged;
mod read;
mod rope;
mod teacher;
mod through;
pub mod walk;
mod weights;
mod workspace;

pub use arena::{Arena, Init, Param};
pub use config::{Biases, DecoderConfig, Family, Mlp, Norms, Positions, Rope, RopeScaling, Sizes};
pub use decoder::Decoder;
pub use files::{
    ModelError, Named, WEIGHTS, named, save, save_as, save_tensors, stream_tensors, write_synced,
};
pub use format::{Format, Mode};
pub use generate::{Generator, Sampling, cache_bytes};
pub use head::Head;
pub use influence::{cosine, similarity};
pub use matrices::HiddenMatrix;
pub use memory::{arena_bytes, memory_bytes, workspace_bytes};
pub use part::Part;
pub use ragged::{Asked, RaggedSpace};
pub use read::{Files, Weights, load};
pub use teacher::Teacher;
pub use walk::Seen;
pub use weights::{ReadOnly, WeightArena};
pub use workspace::Workspace;
