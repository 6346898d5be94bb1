//! SciQ: exam questions of science, with a paragraph that supports the answer.
//! Welbl et al., "Crowdsourcing multiple choice science questions", 2017.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::strings::strip_left;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "sciq",
    version: "1.0",
    metrics: &[Metric::Acc, Metric::AccNorm],
    chance: Some(0.25),
    load: read,
};

const PLACES: Places = Places {
    task: "sciq",
    folders: &["sciq", "SciQ dataset-2 3"],
    parts: &[],
    splits: &["test"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

fn document(row: &Row) -> Result<Document> {
    let support = strip_left(row.text("support")?);
    let question = row.text("question")?;
    let fields = [
        "distractor1",
        "distractor2",
        "distractor3",
        "correct_answer",
    ];
    let choices: Vec<&str> = fields
        .iter()
        .map(|field| row.text(field))
        .collect::<Result<_, _>>()?;
    let context = format!("{support}\nQuestion: {question}\nAnswer:");
    Ok(Document::choices(&context, &choices, 3))
}
