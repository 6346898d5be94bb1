//! Decoder models: their shape, their parameters in one flat arena, forward and backward over preallocated buffers,
//! and weights in and out of safetensors with the family's own names.
//!
//! A model knows nothing of text, runs or learning rates: token ids go in, losses and gradients come out.

mod arena;
mod config;
mod files;
mod gpt2;
mod workspace;

pub use arena::{Arena, Param};
pub use config::{Gpt2Config, Part};
pub use files::{
    ModelError, Named, floats, load, load_into, named, read, save, save_tensors, weights_file,
    write_synced,
};
pub use gpt2::Gpt2;
pub use workspace::{Mode, Workspace, memory_bytes};
