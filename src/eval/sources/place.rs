//! Positions in files of rows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::text;

/// A position in a file of rows, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Arc<Path>,
    at: usize,
    /// `at` counts rows, since the file has no lines.
    is_row: bool,
}

impl Place {
    /// A line of a file, from 1.
    pub fn line(file: &Arc<Path>, at: usize) -> Self {
        let file = Arc::clone(file);
        let is_row = false;
        Self { file, at, is_row }
    }

    /// A row of a file without lines, from 1.
    pub fn row(file: &Arc<Path>, at: usize) -> Self {
        let file = Arc::clone(file);
        let is_row = true;
        Self { file, at, is_row }
    }

    pub fn file(&self) -> PathBuf {
        self.file.to_path_buf()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_row {
            false => write!(f, "{}:{}", text::path(&self.file), self.at),
            true => write!(f, "{}, row {}", text::path(&self.file), self.at),
        }
    }
}
