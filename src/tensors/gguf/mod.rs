//! GGUF, versions 1 to 3, little-endian: magic, version, counts, metadata, tensors' names and places, data.
//!
//! Parsed here and not by candle, which reserves what a header's counts ask for and does not compare places with the file's
//! length. Blocks are candle's to turn into f32.

mod cursor;
mod header;
mod metadata;
mod save;

mod value;

pub(super) use header::{Header, parse, stranger};
pub use metadata::Metadata;
pub use save::{save, stored_as};

pub use value::{Array, Value};

/// How every file begins.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Where tensors may begin when the metadata show nothing else.
const ALIGNMENT: usize = 32;
/// The metadata key that says otherwise.
const ALIGNMENT_KEY: &str = "general.alignment";
/// Most dimensions of a tensor.
const DIMENSIONS: usize = 4;
