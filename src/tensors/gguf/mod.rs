//! Reads and writes GGUF, versions 1 to 3, little-endian: magic, version, counts, metadata, tensor descriptions, data.
//!
//! Parsed here and not by candle, which reserves memory for any count in a header and does not compare offsets with the file's
//! length. Candle converts blocks to f32.

mod cursor;
mod header;
mod metadata;
mod save;

mod value;

pub(super) use header::{Header, parse, stranger};
pub use metadata::Metadata;
pub use save::{save, stored_as};

pub use value::{Array, Value};

/// The first bytes of every file.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Alignment of tensors, unless the metadata set another.
const ALIGNMENT: usize = 32;
/// The metadata key that sets another alignment.
const ALIGNMENT_KEY: &str = "general.alignment";
/// Most dimensions of a tensor.
const DIMENSIONS: usize = 4;
