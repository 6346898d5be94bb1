//! PIQA: which of two ways to reach a goal in the physical world is the better one.
//! Bisk et al., "PIQA: Reasoning about physical commonsense in natural language", 2020.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::load::{all, most, set};
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{DataError, Places, ROWS, labels};

pub const TASK: Task = Task {
    name: "piqa",
    version: "1.0",
    metrics: &[Metric::Acc, Metric::AccNorm],
    chance: Some(0.5),
    load: read,
};

const PLACES: Places = Places {
    task: "piqa",
    folders: &["piqa"],
    parts: &[],
    splits: &["validation", "valid", "val", "dev"],
    formats: ROWS,
};

/// Reads `{goal, sol1, sol2, label}`; the original release has the labels in a file of their own, `valid-labels.lst`.
fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    let mut files = PLACES.find(data)?;
    let mut apart: Option<(PathBuf, Vec<usize>)> = None;
    let mut documents = Vec::new();
    for row in all(files.clone()).take(most(limit)) {
        let row = row?;
        let (context, choices) = (
            format!("Question: {}\nAnswer:", row.text("goal")?),
            [row.text("sol1")?, row.text("sol2")?],
        );
        if documents.is_empty() && !row.has("label") {
            apart = labels_of(&row.place().file())?;
        }
        let gold = match &apart {
            None => row.label("label", 2)?,
            Some((file, labels)) => *labels.get(documents.len()).ok_or_else(|| {
                let what = format!("only {} labels, fewer than documents", labels.len());
                DataError::File {
                    path: file.clone(),
                    what,
                }
            })?,
        };
        documents.push(Document::choices(&context, &choices, gold));
    }
    files.extend(apart.map(|(file, _)| file));
    set(&PLACES, documents, files)
}

/// Reads the labels next to a file: `valid-labels.lst` of `valid.jsonl`.
fn labels_of(file: &Path) -> Result<Option<(PathBuf, Vec<usize>)>> {
    let name = file.file_name().and_then(|name| name.to_str());
    let stem = name
        .and_then(|name| name.split('.').next())
        .unwrap_or_default();
    for ending in ["lst", "lst.gz", "lst.zst"] {
        let path = file.with_file_name(format!("{stem}-labels.{ending}"));
        if path.is_file() {
            let labels = labels(&path, 2)?;
            return Ok(Some((path, labels)));
        }
    }
    Ok(None)
}
