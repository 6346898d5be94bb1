//! A task, and the set of its documents.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::document::Document;
use crate::eval::metrics::Metric;

/// A task's documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    pub documents: Vec<Document>,
    /// Documents left out, as the harness leaves them out.
    pub skipped: usize,
    /// The files they were read from.
    pub files: Vec<PathBuf>,
}

/// A downstream task.
#[derive(Debug)]
pub struct Task {
    pub name: &'static str,
    /// The harness's version of the task's definition.
    pub version: &'static str,
    pub metrics: &'static [Metric],
    /// Accuracy of guessing.
    pub chance: Option<f64>,
    /// Finds and reads the documents under a data directory, at most `limit`.
    pub load: fn(data: &Path, limit: Option<usize>) -> Result<Set>,
}
