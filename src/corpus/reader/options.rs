//! How texts are read.

use std::sync::Arc;

use super::cut::Cuts;

/// Where rows have their text, unless another field or column is named.
pub const TEXT_FIELD: &str = "text";

/// How texts are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Where long documents are cut.
    pub cuts: Cuts,
    /// The field of JSON rows and the column of Parquet files that holds the text.
    pub field: Arc<str>,
}

impl ReadOptions {
    /// For a tokenizer that cuts at lines ([`Cuts::new`]) or one that does not.
    pub fn new(cuts_at_lines: bool, field: &str) -> Self {
        Self {
            cuts: Cuts::new(cuts_at_lines),
            field: field.into(),
        }
    }
}
