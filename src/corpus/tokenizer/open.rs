//! Opens tokenizers by their name, from a model's directory and from a GGUF file.

use std::path::Path;

use super::{GgufVocabulary, Tokenizer, file, gguf};
use crate::corpus::CorpusError;
use crate::text::exact;

impl Tokenizer {
    /// Opens the tokenizer for `byte`, `gpt2`, or a path to a `tokenizer.json` or a directory with one.
    ///
    /// # Errors
    /// When the file is missing or cannot be used.
    pub fn from_name(name: &str) -> Result<Self, CorpusError> {
        let path = &*exact::to_path(name);
        match name {
            "byte" => Ok(Self::byte()),
            "gpt2" => Ok(Self::gpt2()),
            _ if path.is_dir() => Self::from_dir(path),
            // FIFOs and devices get their own message there.
            _ if path.exists() => file::read(path),
            _ => Err(CorpusError::UnknownTokenizer { name: name.into() }),
        }
    }

    /// The tokenizer of a model's directory: its `tokenizer.json`.
    ///
    /// # Errors
    /// When the tokenizer is missing or cannot be used.
    pub fn from_dir(dir: &Path) -> Result<Self, CorpusError> {
        file::read(&dir.join("tokenizer.json"))
    }

    /// The tokenizer in a GGUF file's metadata.
    ///
    /// # Errors
    /// When the vocabulary is of an unknown kind or inconsistent.
    pub fn from_gguf(vocabulary: &GgufVocabulary) -> Result<Self, CorpusError> {
        gguf::tokenizer(vocabulary)
    }
}
