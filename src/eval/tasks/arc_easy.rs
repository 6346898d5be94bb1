//! ARC, the easy questions: grade-school science with three to five choices.
//! Clark et al., "Think you have solved question answering?", 2018.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "arc_easy",
    version: "1.0",
    metrics: &[Metric::Acc, Metric::AccNorm],
    chance: Some(0.25),
    load: read,
};

const PLACES: Places = Places {
    task: "arc_easy",
    folders: &["arc_easy", "ARC-Easy"],
    parts: &[],
    splits: &["test"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

/// Reads the original form `{question: {stem, choices: [{text, label}]}, answerKey}` or the export
/// `{question, choices: {text, label}, answerKey}`.
fn document(row: &Row) -> Result<Document> {
    let original = row.has("question.stem");
    let (question, choices) = match original {
        true => ("question.stem", "question.choices"),
        false => ("question", "choices"),
    };
    let question = row.text(question)?;
    let gold = keyed(row, choices, row.text("answerKey")?)?;
    let choices = row.texts(&format!("{choices}.text"))?;
    let context = format!("Question: {question}\nAnswer:");
    Ok(Document::choices(&context, &choices, gold))
}

/// Returns the index of the answer's key among the labels of the choices.
pub fn keyed(row: &Row, choices: &str, key: &str) -> Result<usize> {
    let labels = row.texts(&format!("{choices}.label"))?;
    let texts = row.texts(&format!("{choices}.text"))?;
    if labels.len() != texts.len() {
        let what = format!("{} choices have {} labels", texts.len(), labels.len());
        return Err(row.invalid(what).into());
    }
    let found = labels.iter().position(|label| *label == key);
    Ok(found.ok_or_else(|| {
        let labels = labels.join(", ");
        row.invalid(format!(
            "the answer {key:?} is not the label of a choice; the labels are {labels}"
        ))
    })?)
}
