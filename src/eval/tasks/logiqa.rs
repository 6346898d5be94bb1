//! LogiQA: logical reasoning about a passage, from examinations for civil servants.
//! Liu et al., "LogiQA: A challenge dataset for machine reading comprehension with logical reasoning", 2020.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Map, Value};

use super::load::{all, most, set};
use super::strings::strip;
use super::{Document, Set, Task};
use crate::corpus;
use crate::eval::metrics::Metric;
use crate::eval::sources::{DataError, Format, Place, Places, Row};

pub const TASK: Task = Task {
    name: "logiqa",
    version: "1.0",
    metrics: &[Metric::Acc, Metric::AccNorm],
    chance: Some(0.25),
    load: read,
};

const PLACES: Places = Places {
    task: "logiqa",
    folders: &["logiqa", "LogiQA-dataset"],
    parts: &["logiqa"],
    splits: &["test"],
    formats: &[Format::Jsonl, Format::Json, Format::Parquet, Format::Text],
};

const LETTERS: [&str; 4] = ["a", "b", "c", "d"];

/// Reads `{context, question, options, label}`, or the original text: a label, the context, the question and four options
/// on a line each, and an empty line.
fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    let files = PLACES.find(data)?;
    let mut documents = Vec::new();
    for file in &files {
        let left = most(limit) - documents.len();
        if Format::of(file) == Some(Format::Text) {
            let rows = original(file, &corpus::read_text(file)?)?;
            let read = rows.iter().take(left).map(document);
            documents.append(&mut read.collect::<Result<_>>()?);
        } else {
            let read = all(vec![file.clone()]).take(left);
            let read = read.map(|row| document(&row?));
            documents.append(&mut read.collect::<Result<_>>()?);
        }
    }
    set(&PLACES, documents, files)
}

fn document(row: &Row) -> Result<Document> {
    let label = row.text("label")?;
    let Some(gold) = LETTERS.iter().position(|letter| *letter == strip(label)) else {
        let found = row.value("label")?;
        return Err(row.unexpected("label", "a, b, c or d", found).into());
    };
    let options = row.texts("options")?;
    if options.len() != LETTERS.len() {
        let what = format!("expected 4 options, found {}", options.len());
        return Err(row.invalid(what).into());
    }
    let (passage, question) = (row.text("context")?, row.text("question")?);
    let mut context = format!("Passage: {passage}\nQuestion: {question}\nChoices:\n");
    for (letter, option) in LETTERS.iter().zip(&options) {
        context += &format!("{}. {option}\n", letter.to_uppercase());
    }
    context += "Answer:";
    Ok(Document::choices(&context, &options, gold))
}

/// Reads the original text with the changes that the harness's data set has: a space after each full stop, and options
/// without their letters.
fn original(file: &Path, text: &str) -> Result<Vec<Row>> {
    let name: Arc<Path> = file.into();
    let clean = |text: &str| Value::from(strip(&text.replace('.', ". ")));
    let (mut rows, mut block) = (Vec::new(), Vec::new());
    for (i, line) in text.lines().chain([""]).enumerate() {
        if !line.is_empty() {
            block.push((i + 1, line));
            continue;
        }
        let (Some((at, label)), lines) = (block.first().copied(), block.len()) else {
            continue;
        };
        let place = Place::line(&name, at);
        let [_, (_, context), (_, question), options @ ..] = &block[..] else {
            let what =
                format!("expected a label, a context, a question and options, found {lines} lines");
            return Err(DataError::Invalid { place, what }.into());
        };
        let without_letter = |line: &str| clean(line.get(2..).unwrap_or_default());
        let options = options.iter().map(|(_, line)| without_letter(line));
        let fields = [
            ("label", strip(label).into()),
            ("context", clean(context)),
            ("question", clean(question)),
            ("options", options.collect::<Vec<_>>().into()),
        ];
        let fields = fields.map(|(name, value)| (name.to_string(), value));
        rows.push(Row::new(place, Map::from_iter(fields)));
        block.clear();
    }
    Ok(rows)
}
