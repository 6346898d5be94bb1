//! OpenBookQA: questions that need a fact of elementary science and common knowledge; asked without the fact.
//! Mihaylov et al., "Can a suit of armor conduct electricity?", 2018.

use std::path::Path;

use anyhow::Result;

use super::arc_easy::keyed;
use super::load::load;
use super::strings::strip_left;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "openbookqa",
    version: "1.0",
    metrics: &[Metric::Acc, Metric::AccNorm],
    chance: Some(0.25),
    load: read,
};

const PLACES: Places = Places {
    task: "openbookqa",
    folders: &["openbookqa", "OpenBookQA-V1-Sep2018"],
    parts: &["main"],
    splits: &["test"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

/// Reads the original form `{question: {stem, choices: [{text, label}]}, answerKey}` or the export
/// `{question_stem, choices: {text, label}, answerKey}`.
fn document(row: &Row) -> Result<Document> {
    let (question, choices) = match row.has("question.stem") {
        true => ("question.stem", "question.choices"),
        false => ("question_stem", "choices"),
    };
    let gold = keyed(row, choices, strip_left(row.text("answerKey")?))?;
    let choices = row.texts(&format!("{choices}.text"))?;
    Ok(Document::choices(row.text(question)?, &choices, gold))
}
