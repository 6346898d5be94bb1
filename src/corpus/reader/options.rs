//! The settings for reading texts.

use std::sync::Arc;

use super::cut::Cuts;

/// The field of rows that holds the text, unless another field or column is named.
pub const TEXT_FIELD: &str = "text";

/// The settings for reading texts.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The rules by which long documents are cut.
    pub cuts: Cuts,
    /// The field of JSON rows and the column of Parquet files that holds the text.
    pub field: Arc<str>,
}

impl ReadOptions {
    /// The settings for a tokenizer that cuts at lines ([`Cuts::new`]) or one that does not.
    pub fn new(cuts_at_lines: bool, field: &str) -> Self {
        Self {
            cuts: Cuts::new(cuts_at_lines),
            field: field.into(),
        }
    }
}
