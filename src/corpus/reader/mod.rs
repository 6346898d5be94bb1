//! Texts as documents, one after the other: `.txt` (documents separated by `<|endoftext|>`), rows of JSON (`.jsonl`,
//! `.ndjson`, `.json`; a field of each), all of them also `.gz` and `.zst`, and `.parquet` (a column). Never more than
//! a few documents are in memory.

#[cfg(feature = "parquet")]
mod columns;
mod compressed;
mod content;
mod cut;
mod inputs;
mod json;
mod jsonl;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod piece;
mod plain;
mod record;
mod records;
mod rows;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::CorpusError;
use crate::text::exact;
pub use cut::Cuts;
pub use inputs::{Found, Kind, find, kind};
pub use options::{ReadOptions, TEXT_FIELD};
pub use piece::{Piece, Pieces};
pub use record::{Record, Records};
pub use records::{read_text, records};
pub use tally::{Skipped, Tally};

/// The embedded text: the complete works' excerpt known from char-rnn, in the public domain.
const TINYSHAKESPEARE: &str = include_str!("../tinyshakespeare.txt");

/// Returns the bytes of an input as [`open`] counts them: those of its file.
///
/// # Errors
/// When its kind is unknown, or it does not exist.
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

/// Opens a text; `tally` counts the bytes read of the file, and the rows without a text. An empty file has no documents.
///
/// # Errors
/// When it cannot be read, or is not of a known kind. While reading: when it is not UTF-8, a row is not an object or its
/// text not a string, no row of the file has the field, or a compressed stream is broken, each with its place.
pub fn open(name: &str, how: &ReadOptions, tally: &Arc<Tally>) -> Result<Pieces, CorpusError> {
    let path = &*exact::to_path(name);
    match kind(name)? {
        Kind::Builtin => {
            let text = compressed::in_memory(TINYSHAKESPEARE.as_bytes(), tally);
            Ok(plain::pieces(path, text, how.cuts))
        }
        Kind::Text(packing) => {
            let text = compressed::open(path, packing, tally)?;
            Ok(plain::pieces(path, text, how.cuts))
        }
        Kind::Jsonl(packing) => {
            let text = compressed::open(path, packing, tally)?;
            Ok(jsonl::pieces(path, text, how, tally))
        }
        Kind::Json(packing) => {
            let text = compressed::open(path, packing, tally)?;
            Ok(json::pieces(path, text, how, tally))
        }
        #[cfg(feature = "parquet")]
        Kind::Parquet => parquet::pieces(path, how, tally),
        #[cfg(not(feature = "parquet"))]
        Kind::Parquet => Err(CorpusError::UnknownKind {
            name: format!("{name} (this program was built without parquet)"),
        }),
        Kind::Tokens => Err(CorpusError::TokenFile {
            path: path.into(),
            what: "holds tokens already; pass text files instead".into(),
        }),
    }
}
