//! A row of a file with all of its fields.

use serde_json::{Map, Value};

use crate::corpus::CorpusError;

/// A row with all of its fields, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The line that it begins in, from 1; of a Parquet file the row, from 1.
    pub at: usize,
    pub fields: Map<String, Value>,
}

/// The rows of a file, in order; none follow an error.
pub type Records = Box<dyn Iterator<Item = Result<Record, CorpusError>>>;
