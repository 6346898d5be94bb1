//! Text to tokens to batches: tokenizers, readers, token files, datasets, window sampling.
//!
//! This room knows no model and no run.

mod dataset;
mod error;
pub mod prepare;
mod reader;
mod sampler;
mod token_file;
mod tokenizer;
mod tokens;

pub use dataset::Dataset;
pub use error::CorpusError;
pub use sampler::{Sampler, even_starts, even_starts_rank, fill_batch};
pub use tokenizer::{END_OF_TEXT, Tokenizer};
pub use tokens::Tokens;
