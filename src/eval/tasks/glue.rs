//! Three tasks of GLUE on pairs of sentences: WNLI, QNLI and MNLI (the matched part).
//! Wang et al., "GLUE: A multi-task benchmark and analysis platform for natural language understanding", 2018.
//!
//! The release is a table a task (`WNLI/dev.tsv`), in which some labels are words.

use std::path::Path;

use anyhow::Result;

use super::load::{all, load, most, set};
use super::strings::strip;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Format, Places, Row};

pub const WNLI: Task = Task {
    name: "wnli",
    version: "2.0",
    metrics: &[Metric::Acc],
    chance: Some(0.5),
    load: read_wnli,
};

pub const QNLI: Task = Task {
    name: "qnli",
    version: "1.0",
    metrics: &[Metric::Acc],
    chance: Some(0.5),
    load: read_qnli,
};

pub const MNLI: Task = Task {
    name: "mnli",
    version: "1.0",
    metrics: &[Metric::Acc],
    chance: Some(1.0 / 3.0),
    load: read_mnli,
};

const FORMATS: &[Format] = &[Format::Jsonl, Format::Json, Format::Parquet, Format::Tsv];

const WNLI_PLACES: Places = Places {
    task: "wnli",
    folders: &["wnli"],
    parts: &[],
    splits: &["validation", "dev"],
    formats: FORMATS,
};

const QNLI_PLACES: Places = Places {
    task: "qnli",
    folders: &["qnli", "QNLIv2"],
    parts: &[],
    splits: &["validation", "dev"],
    formats: FORMATS,
};

const MNLI_PLACES: Places = Places {
    task: "mnli",
    folders: &["mnli", "multi_nli", "multinli", "multinli_1.0"],
    parts: &["multinli_1.0"],
    splits: &[
        "validation_matched",
        "dev_matched",
        "multinli_1.0_dev_matched",
    ],
    formats: FORMATS,
};

fn read_wnli(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&WNLI_PLACES, data, limit, |row| {
        let (one, two) = (row.text("sentence1")?, row.text("sentence2")?);
        let context = format!("{one}\nQuestion: {two} True or False?\nAnswer:");
        let gold = row.label("label", 2)?;
        Ok(Document::choices(&context, &["False", "True"], gold))
    })
}

fn read_qnli(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&QNLI_PLACES, data, limit, |row| {
        let (question, sentence) = (row.text("question")?, row.text("sentence")?);
        let context = format!(
            "{question}\n{sentence}\nQuestion: Does this response answer the question?\nAnswer:"
        );
        let gold = class(row, "label", &["entailment", "not_entailment"])?;
        Ok(Document::choices(&context, &["yes", "no"], gold))
    })
}

fn read_mnli(data: &Path, limit: Option<usize>) -> Result<Set> {
    let files = MNLI_PLACES.find(data)?;
    let (mut documents, mut skipped) = (Vec::new(), 0);
    for row in all(files.clone()) {
        let row = row?;
        let label = match row.has("label") {
            true => "label",
            false => "gold_label",
        };
        // Pairs on which the annotators did not agree, which the harness's data set does not have.
        if row.value(label)?.as_str() == Some("-") {
            skipped += 1;
            continue;
        }
        documents.push(mnli(&row, label)?);
        if documents.len() == most(limit) {
            break;
        }
    }
    let set = set(&MNLI_PLACES, documents, files)?;
    Ok(Set { skipped, ..set })
}

fn mnli(row: &Row, label: &str) -> Result<Document> {
    let (premise, hypothesis) = match row.has("premise") {
        true => (row.text("premise")?, row.text("hypothesis")?),
        false => (row.text("sentence1")?, row.text("sentence2")?),
    };
    let hypothesis = strip(hypothesis);
    let stop = if hypothesis.ends_with('.') { "" } else { "." };
    let context =
        format!("{premise}\nQuestion: {hypothesis}{stop} True, False or Neither?\nAnswer:");
    let gold = class(row, label, &["entailment", "neutral", "contradiction"])?;
    Ok(Document::choices(
        &context,
        &["True", "Neither", "False"],
        gold,
    ))
}

/// Reads a class by its name or its number.
fn class(row: &Row, field: &str, names: &[&str]) -> Result<usize> {
    let is_name = |text: &str| text.chars().any(char::is_alphabetic);
    Ok(match row.value(field)?.as_str() {
        Some(text) if is_name(text) => row.one_of(field, names)?,
        _ => row.label(field, names.len())?,
    })
}
