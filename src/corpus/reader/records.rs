//! Rows of JSON and Parquet files with all of their fields, and small texts as a whole: the forms in which data sets are published.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::inputs::{Kind, packing};
use super::record::{Record, Records};
use super::rows::{self, Split};
use super::{compressed, json, jsonl};
use crate::corpus::CorpusError;
use crate::text::exact;

/// Opens a `.jsonl`, `.ndjson` or `.json` file, which may be packed with gzip or zstd, or a `.parquet` file. JSON is read as
/// Python's `json` and pyarrow do: NaN and infinities are null, of repeated fields the last counts.
///
/// # Errors
/// When it cannot be read or is of another kind. While reading: when a row is not an object, or the file is damaged, with
/// the place.
pub fn records(path: &Path) -> Result<Records, CorpusError> {
    let tally = Arc::default();
    let name = exact::to_text(path);
    match super::kind(&name)? {
        Kind::Jsonl(packing) => {
            let text = compressed::open(path, packing, &tally)?;
            Ok(objects(path, jsonl::lines(path, text)))
        }
        Kind::Json(packing) => {
            let text = compressed::open(path, packing, &tally)?;
            Ok(objects(path, json::values(path, text)))
        }
        #[cfg(feature = "parquet")]
        Kind::Parquet => super::columns::records(path),
        #[cfg(not(feature = "parquet"))]
        Kind::Parquet => Err(CorpusError::UnknownKind {
            name: format!("{name} (this program was built without parquet)"),
        }),
        _ => Err(CorpusError::Foreign {
            path: path.into(),
            what: "rows are read from .jsonl, .ndjson, .json and .parquet files".into(),
        }),
    }
}

/// Reads a whole text, which may be packed with gzip or zstd.
///
/// # Errors
/// When it cannot be read, is damaged, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, CorpusError> {
    let mut text = compressed::open(path, packing(path), &Arc::default())?;
    let mut bytes = Vec::new();
    if let Err(source) = text.read_to_end(&mut bytes) {
        return Err(CorpusError::Broken {
            path: path.into(),
            at: bytes.len() as u64,
            source,
        });
    }
    let mark = text.mark;
    String::from_utf8(bytes).map_err(|e| CorpusError::NotUtf8 {
        path: path.into(),
        at: mark + e.utf8_error().valid_up_to(),
    })
}

/// Reads the rows that `split` finds as objects.
fn objects(path: &Path, mut split: impl Split + 'static) -> Records {
    let path = path.to_path_buf();
    let mut ended = false;
    Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut row = Vec::new();
        let next = split.next_row(&mut row).and_then(|line| {
            let Some(at) = line else { return Ok(None) };
            let fields = rows::object(&row).map_err(|(below, what)| CorpusError::Line {
                path: path.clone(),
                line: at + below,
                what,
            })?;
            Ok(Some(Record { at, fields }))
        });
        ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }))
}
