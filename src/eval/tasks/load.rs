//! Reads a task's documents from its files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Document, Set};
use crate::eval::sources::{DataError, Places, Row, Rows, names, rows};

/// Finds a task's files and turns each row into a document.
///
/// # Errors
/// When the files are not found or damaged, a row is not as the task needs it, or documents are missing.
pub fn load(
    places: &Places,
    data: &Path,
    limit: Option<usize>,
    document: impl Fn(&Row) -> Result<Document>,
) -> Result<Set> {
    let files = places.find(data)?;
    let mut documents = Vec::new();
    for row in all(files.clone()).take(most(limit)) {
        documents.push(document(&row?)?);
    }
    set(places, documents, files)
}

/// Returns the most documents that are read; 0 stands for all of them, as in the harness.
pub fn most(limit: Option<usize>) -> usize {
    limit.filter(|n| *n > 0).unwrap_or(usize::MAX)
}

/// Returns the rows of files, one file after the other.
pub fn all(files: Vec<PathBuf>) -> impl Iterator<Item = Result<Row>> {
    files.into_iter().flat_map(|file| match rows(&file) {
        Ok(rows) => rows,
        Err(error) => Box::new(std::iter::once(Err(error))) as Rows,
    })
}

/// Makes a set of documents.
///
/// # Errors
/// When the files hold no document.
pub fn set(places: &Places, documents: Vec<Document>, files: Vec<PathBuf>) -> Result<Set> {
    if documents.is_empty() {
        let (task, files) = (places.task, names(&files));
        return Err(DataError::Empty { task, files }.into());
    }
    Ok(Set {
        documents,
        skipped: 0,
        files,
    })
}
