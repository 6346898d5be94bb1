//! Text to tokens to batches: tokenizers, readers, token files, datasets, mixtures, window sampling.
//!
//! This folder does not depend on models or runs.

mod ahead;
mod cache;
mod dataset;
mod encode;
mod error;
pub mod info;
mod mixture;
pub mod prepare;
mod reader;
mod report;
mod sampler;
pub mod token_file;
pub mod tokenizer;
mod tokens;

pub use ahead::{Batch, BatchSpec, Batches};
pub use cache::TokenCache;
pub use dataset::{Dataset, Encoding, Source, check, open};
pub use error::CorpusError;
pub use mixture::Mixture;
pub use reader::{Found, Record, Records, Skipped, TEXT_FIELD, find, read_text, records, size};
pub use report::{Report, Reporter};
pub use sampler::{Sampler, even_starts, even_starts_rank, fill_batch};
pub use tokenizer::{END_OF_TEXT, GgufVocabulary, StreamDecoder, Tokenizer};
pub use tokens::{Tokens, Width};
