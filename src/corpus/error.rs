//! Errors of text and token files.

use std::io;
use std::path::PathBuf;

use super::reader::Skipped;

#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {} beyond its first {at} bytes of text: {source}", path.display())]
    Broken {
        path: PathBuf,
        at: u64,
        source: io::Error,
    },
    #[error("{name} is empty; give a text with at least one context of tokens{}", skipped_rows(*skipped))]
    Empty { name: String, skipped: Skipped },
    #[error("{}: {what}", path.display())]
    Foreign { path: PathBuf, what: String },
    #[error(
        "{} is {encoding} text, and only UTF-8 is read; convert it: iconv -f {encoding} -t UTF-8",
        path.display()
    )]
    Encoding {
        path: PathBuf,
        encoding: &'static str,
    },
    #[error("{} is not UTF-8: byte {at} is invalid; convert it first", path.display())]
    NotUtf8 { path: PathBuf, at: usize },
    #[error("{}:{line}: {what}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        what: String,
    },
    #[error("{}: {what}", path.display())]
    Parquet { path: PathBuf, what: String },
    #[error(
        "{name}: unknown kind of text; use .txt, .jsonl, .ndjson or .json (field \"text\"), also .gz and .zst, .parquet (column \"text\"), .bin or .npy (tokens), or builtin:tinyshakespeare"
    )]
    UnknownKind { name: String },
    #[error("{name} is a directory; name a file in it")]
    Directory { name: String },
    #[error("{name}: {what}")]
    Pattern { name: String, what: String },
    #[error("{name}: no file of a supported kind there")]
    NoFiles { name: String },
    #[error("{name} matches both texts and token files; name one kind")]
    Mixed { name: String },
    #[error(
        "unknown tokenizer {name:?}; use \"byte\", \"gpt2\", or the path of a tokenizer.json or of a directory with one"
    )]
    UnknownTokenizer { name: String },
    #[error("{name} cannot be used: {what}")]
    Tokenizer { name: String, what: String },
    #[error(
        "the {name} tokenizer has {size} ids, which do not fit a vocabulary of {vocab}; give the tokenizer that the model was trained with, or remove tokens that the model has no rows for from the files next to it"
    )]
    Vocabulary {
        name: String,
        size: usize,
        vocab: usize,
    },
    #[error(
        "the {name} tokenizer has no end-of-text token to separate documents; add \"eos_token\" to a \
         tokenizer_config.json next to it"
    )]
    NoEndOfText { name: String },
    #[error("{}: {what}", path.display())]
    TokenFile { path: PathBuf, what: String },
    #[error("{name}: token {at} is {id}, outside the vocabulary of {size}")]
    Outside {
        name: String,
        at: usize,
        id: u32,
        size: usize,
    },
    #[error("{what} has {have} tokens; a window of {context} tokens needs at least {}. Use more text or a shorter model.context_length", context + 1)]
    TooShort {
        what: String,
        have: usize,
        context: usize,
    },
    #[error(transparent)]
    Thread(io::Error),
    #[error(
        "the tokens of {name} do not fit into memory: {held} MB are held, and {free} MB are free; `heirloom data prepare` \
         writes them to a file, which takes no memory"
    )]
    NoMemory { name: String, held: u64, free: u64 },
    #[error("{} exists; --force overwrites it", path.display())]
    Exists { path: PathBuf },
    #[error("{}: {what}; --force starts over", path.display())]
    Unlike { path: PathBuf, what: String },
}

/// The content of an empty text.
fn skipped_rows(skipped: Skipped) -> String {
    match skipped.rows() {
        0 => String::new(),
        _ => format!(" ({skipped})"),
    }
}
