//! WinoGrande: which of two nouns a blank stands for; the text after it is scored under both.
//! Sakaguchi et al., "WinoGrande: An adversarial Winograd schema challenge at scale", 2019.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::strings::strip;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "winogrande",
    version: "1.0",
    metrics: &[Metric::Acc],
    chance: Some(0.5),
    load: read,
};

const PLACES: Places = Places {
    task: "winogrande",
    folders: &["winogrande_xl", "winogrande", "winogrande_1.1"],
    parts: &["winogrande_xl", "winogrande_1.1"],
    splits: &["validation", "dev", "valid", "val"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

fn document(row: &Row) -> Result<Document> {
    let sentence = row.text("sentence")?;
    let options = [row.text("option1")?, row.text("option2")?];
    let gold = row.one_of("answer", &["1", "2"])?;
    let Some((before, _)) = sentence.split_once('_') else {
        let what = "expected a blank (_) in field \"sentence\", found none";
        return Err(row.invalid(what).into());
    };
    // The harness cuts after the first character of the blank, whatever follows.
    let after = strip(&sentence[before.len() + 1..]);
    let contexts = options.map(|option| format!("{before}{option}"));
    Ok(Document::contexts(contexts, after, gold))
}
