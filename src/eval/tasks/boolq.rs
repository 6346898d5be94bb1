//! BoolQ: yes-no questions that were typed into a search engine, with a passage that answers them.
//! Clark et al., "BoolQ: Exploring the surprising difficulty of natural yes/no questions", 2019.
//!
//! The harness reads the copy in SuperGLUE, whose passages begin with the page's title (`Title -- `). The passages of the
//! original release lack it, so that results on it are slightly different.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "boolq",
    version: "2.0",
    metrics: &[Metric::Acc],
    chance: Some(0.5),
    load: read,
};

const PLACES: Places = Places {
    task: "boolq",
    folders: &["boolq"],
    parts: &[],
    splits: &["validation", "val", "dev", "valid"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

fn document(row: &Row) -> Result<Document> {
    let (passage, question) = (row.text("passage")?, row.text("question")?);
    let label = match row.has("answer") && !row.has("label") {
        true => "answer",
        false => "label",
    };
    let gold = row.label(label, 2)?;
    let context = format!("{passage}\nQuestion: {question}?\nAnswer:");
    Ok(Document::choices(&context, &["no", "yes"], gold))
}
