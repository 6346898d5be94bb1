//! What can be wrong with text and token files.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{name} is empty; give a text with at least one context of tokens")]
    Empty { name: String },
    #[error("{} is not UTF-8: byte {at} does not belong; convert it first", path.display())]
    NotUtf8 { path: PathBuf, at: usize },
    #[error("{}:{line}: {what}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        what: String,
    },
    #[error(
        "{name}: unknown kind of text; use .txt, .jsonl (field \"text\"), .bin (from `heirloom data prepare`) or builtin:tinyshakespeare"
    )]
    UnknownKind { name: String },
    #[error("{name} is a directory; name a file in it")]
    Directory { name: String },
    #[error("unknown tokenizer {name:?}; use \"byte\" or \"gpt2\"")]
    UnknownTokenizer { name: String },
    #[error("{}: {what}", path.display())]
    TokenFile { path: PathBuf, what: String },
    #[error("{what} has {have} tokens; a window of {context} tokens needs at least {}. Use more text or a shorter model.context_length", context + 1)]
    TooShort {
        what: String,
        have: usize,
        context: usize,
    },
    #[error("{} exists; --force overwrites it", path.display())]
    Exists { path: PathBuf },
}
