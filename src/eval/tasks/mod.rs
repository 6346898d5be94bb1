//! Downstream tasks: one file a task, one row of [`TASKS`] each.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::metrics::Metric;

/// A text and how it may continue: the model is asked for log p(continuation | context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Empty: the text begins after the token that begins (or ends) documents.
    pub context: String,
    pub continuation: String,
}

/// What a document's scores are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One request for each choice.
    Choice {
        /// Index of the right one.
        gold: usize,
        /// Characters (Unicode scalar values) of each choice, for `acc_norm`.
        lengths: Vec<usize>,
    },
    /// One request for each choice; several may be true (TruthfulQA's second form).
    Truths(Vec<bool>),
    /// One request, whose continuation should be the likeliest token by token.
    Word,
    /// One request without context, scored in windows over its whole length.
    Page { words: usize, bytes: usize },
}

/// One question, or one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub requests: Vec<Request>,
    pub answer: Answer,
    /// The part of a task that it belongs to (a subject of MMLU); the parts' accuracies are averaged.
    pub group: Option<String>,
}

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

/// All tasks, in the order in which they are listed.
pub const TASKS: &[&Task] = &[];
