//! Texts as documents, one after the other: `.txt` (documents parted by `<|endoftext|>`), `.jsonl` (field `text`), both
//! also `.gz` and `.zst`, and `.parquet` (column `text`). Never more than a few documents are in memory.

mod compressed;
mod cut;
mod inputs;
mod jsonl;
#[cfg(feature = "parquet")]
mod parquet;
mod plain;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::CorpusError;
use crate::text::exact;
pub use cut::Cuts;
pub use inputs::{Kind, expand, kind};

/// The embedded text: the complete works' excerpt known from char-rnn, in the public domain.
const TINYSHAKESPEARE: &str = include_str!("../tinyshakespeare.txt");

/// A document or, of a long one, a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// Whether the document ends here; the last one of a `.txt` need not.
    pub ends: bool,
}

/// The documents of a text, in order.
pub type Pieces = Box<dyn Iterator<Item = Result<Piece, CorpusError>> + Send>;

/// Returns the bytes of an input as [`open`] counts them: those of its file.
///
/// # Errors
/// When it is of no known kind, or is not there.
pub fn size(name: &str) -> Result<u64, CorpusError> {
    if kind(name)? == Kind::Builtin {
        return Ok(TINYSHAKESPEARE.len() as u64);
    }
    let path = &*exact::to_path(name);
    let size = std::fs::metadata(path).map(|m| m.len());
    size.map_err(|source| CorpusError::Read {
        path: path.into(),
        source,
    })
}

/// Opens a text; `count` grows by the bytes read of the file.
///
/// # Errors
/// When it cannot be read or is of no known kind. While reading: when it is not UTF-8, a line of a `.jsonl` has no field
/// `text`, or a compressed stream is broken, each with its place.
pub fn open(name: &str, cuts: Cuts, count: &Arc<AtomicU64>) -> Result<Pieces, CorpusError> {
    let path = &*exact::to_path(name);
    match kind(name)? {
        Kind::Builtin => {
            let bytes = compressed::in_memory(TINYSHAKESPEARE.as_bytes(), count);
            Ok(plain::pieces(path, bytes, cuts))
        }
        Kind::Text(packing) => {
            let bytes = compressed::open(path, packing, count)?;
            Ok(plain::pieces(path, bytes, cuts))
        }
        Kind::Jsonl(packing) => {
            let bytes = compressed::open(path, packing, count)?;
            Ok(jsonl::pieces(path, bytes, cuts))
        }
        #[cfg(feature = "parquet")]
        Kind::Parquet => parquet::pieces(path, cuts, count),
        #[cfg(not(feature = "parquet"))]
        Kind::Parquet => Err(CorpusError::UnknownKind {
            name: format!("{name} (this program was built without parquet)"),
        }),
        Kind::Tokens => Err(CorpusError::TokenFile {
            path: path.into(),
            what: "holds tokens already; give texts".into(),
        }),
    }
}
