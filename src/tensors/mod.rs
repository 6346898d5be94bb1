//! Reads and writes tensor files by tensor names: safetensors files and directories, and GGUF. Does not depend on model families.
//!
//! [`Source`] maps a file or a directory and gives tensors as f32, whatever they are stored as; its headers are parsed
//! here, strictly, since anybody may have written them. [`save_safetensors`] and [`gguf::save`] write tensor by tensor,
//! so that a model is never in memory twice; [`write_safetensors`] writes what is in memory already. [`Output`] is where they write: a directory or file that takes its name only
//! when all of it is on the disk.

mod decode;
mod dtype;
mod encode;
mod error;
pub mod gguf;
mod output;
mod pickle;
mod safetensors;
mod save;
mod source;

pub use dtype::DType;
pub use error::TensorError;
pub use output::{Output, check_space};
pub use save::{Spec, save_safetensors, stream_safetensors, write_safetensors};
pub use source::Source;

#[cfg(feature = "hub")]
pub(crate) use pickle::IN_DIRECTORY as PICKLES;
#[cfg(feature = "hub")]
pub(crate) use safetensors::index as shards_of;
#[cfg(feature = "hub")]
pub(crate) use source::{INDEX, MODEL};

/// A tensor's entry in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub dtype: DType,
    /// Row-major, the last dimension being contiguous; GGUF's dimensions are turned round.
    pub shape: Vec<usize>,
}

impl Info {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        // The readers of headers refuse shapes whose product overflows.
        self.shape.iter().product()
    }

    /// Whether the tensor has no values.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Returns the number of values of a row: the product of all dimensions after the first.
    pub fn row(&self) -> usize {
        self.shape.iter().skip(1).product()
    }
}

/// The place of a tensor's bytes in its file.
#[derive(Debug, Clone)]
struct Entry {
    info: Info,
    /// Offset from the file's beginning.
    start: usize,
    bytes: usize,
}
