//! LAMBADA as OpenAI prepared it: the last word of a passage, which only the whole passage makes likely.
//! Paperno et al., "The LAMBADA dataset", 2016.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::{Answer, Document, Request, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "lambada_openai",
    version: "1.0",
    metrics: &[Metric::Perplexity, Metric::Acc],
    chance: None,
    load: read,
};

const PLACES: Places = Places {
    task: "lambada_openai",
    folders: &["lambada_openai", "lambada"],
    parts: &[],
    splits: &["test", "lambada_test_en"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

/// Words are separated by single spaces: a space at the end makes the last word empty.
fn document(row: &Row) -> Result<Document> {
    let text = row.text("text")?;
    let (context, word) = text.rsplit_once(' ').unwrap_or(("", text));
    Ok(Document {
        requests: vec![Request {
            context: context.into(),
            continuation: format!(" {word}"),
        }],
        answer: Answer::Word,
        group: None,
    })
}
