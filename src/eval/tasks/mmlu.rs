//! MMLU: examination questions of 57 subjects, each after five questions of its subject with their answers.
//! Hendrycks et al., "Measuring massive multitask language understanding", 2021.
//!
//! Subjects are groups: the result is the unweighted mean over them. (The harness's own result of its group is weighted by
//! their sizes.) A limit counts for each subject, as in the harness.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::load::{all, most, set};
use super::strings::strip;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{
    DataError, Format, Places, ROWS, Row, Rows, child, directories, table, tables,
};

pub const TASK: Task = Task {
    name: "mmlu",
    version: "2",
    metrics: &[Metric::Acc],
    chance: Some(0.25),
    load: read,
};

const PLACES: Places = Places {
    task: "mmlu",
    folders: &["mmlu", "hendrycks_test"],
    parts: &["all"],
    splits: &["test"],
    formats: ROWS,
};

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// Columns of the release's tables, which have no row of names.
const COLUMNS: [&str; 6] = ["question", "A", "B", "C", "D", "answer"];

/// Questions with answers before each question.
const SHOTS: usize = 5;

/// The files of a part of the data: of one subject, or of all (`None`), with a field for the subject.
struct Part {
    subject: Option<String>,
    test: Vec<PathBuf>,
    dev: Vec<PathBuf>,
}

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    let (mut subjects, mut files) = (BTreeMap::new(), Vec::new());
    for part in parts(data)? {
        let shots = shots(&part)?;
        for row in rows(&part.test) {
            let row = row?;
            let subject = part.subject(&row)?;
            let documents: &mut Vec<Document> = subjects.entry(subject.clone()).or_default();
            if documents.len() == most(limit) {
                continue;
            }
            let Some(shots) = shots.get(&subject) else {
                let what = format!("no examples of subject {subject:?} in the dev split");
                return Err(row.invalid(what).into());
            };
            let context = format!("{}{}", shots.context(&subject)?, question(&row)?);
            let mut document = Document::choices(&context, &LETTERS, answer(&row)?);
            document.group = Some(subject);
            documents.push(document);
        }
        files.extend(part.test);
        files.extend(part.dev);
    }
    set(&PLACES, subjects.into_values().flatten().collect(), files)
}

impl Part {
    fn subject(&self, row: &Row) -> Result<String> {
        match &self.subject {
            Some(subject) => Ok(subject.clone()),
            None => Ok(row.text("subject")?.into()),
        }
    }
}

/// The examples of a subject.
struct Shots {
    texts: Vec<String>,
    files: Vec<PathBuf>,
}

impl Shots {
    /// Returns what comes before each question of a subject.
    fn context(&self, subject: &str) -> Result<String> {
        let Some(texts) = self.texts.get(..SHOTS) else {
            let path = self.files.first().cloned().unwrap_or_default();
            let n = self.texts.len();
            let what = format!("{n} examples of subject {subject:?}, {SHOTS} are needed");
            return Err(DataError::File { path, what }.into());
        };
        let name = subject.replace('_', " ");
        Ok(format!(
            "The following are multiple choice questions (with answers) about {name}.\n\n{}",
            texts.concat()
        ))
    }
}

/// Reads the examples of a part by subject.
fn shots(part: &Part) -> Result<BTreeMap<String, Shots>> {
    let mut subjects = BTreeMap::new();
    for row in rows(&part.dev) {
        let row = row?;
        let shots = subjects
            .entry(part.subject(&row)?)
            .or_insert_with(|| Shots {
                texts: Vec::new(),
                files: part.dev.clone(),
            });
        let letter = LETTERS[answer(&row)?];
        shots
            .texts
            .push(format!("{} {letter}\n\n", question(&row)?));
    }
    Ok(subjects)
}

fn question(row: &Row) -> Result<String> {
    let choices = match row.has("choices") {
        true => row.texts("choices")?,
        false => LETTERS
            .iter()
            .map(|letter| row.text(letter))
            .collect::<Result<_, _>>()?,
    };
    let [a, b, c, d] = choices[..] else {
        let what = format!("expected 4 choices, found {}", choices.len());
        return Err(row.invalid(what).into());
    };
    let question = strip(row.text("question")?);
    Ok(format!(
        "{question}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"
    ))
}

/// Reads the index of the right choice, or its letter.
fn answer(row: &Row) -> Result<usize> {
    let letter = row.value("answer")?.as_str();
    let index = letter.and_then(|letter| LETTERS.iter().position(|l| *l == strip(letter)));
    Ok(match index {
        Some(index) => index,
        None => row.label("answer", LETTERS.len())?,
    })
}

/// Returns the rows of files, which are of any format.
fn rows(files: &[PathBuf]) -> impl Iterator<Item = Result<Row>> {
    let is_table = |file: &PathBuf| Format::of(file) == Some(Format::Csv);
    let (of_tables, others): (Vec<_>, Vec<_>) = files.iter().cloned().partition(is_table);
    let read = |file: PathBuf| match table(&file, Some(&COLUMNS)) {
        Ok(rows) => rows,
        Err(error) => Box::new(std::iter::once(Err(error))) as Rows,
    };
    of_tables.into_iter().flat_map(read).chain(all(others))
}

/// Finds the data: in one file for all subjects, in a folder for each, or in the release's folders `test` and `dev`.
fn parts(data: &Path) -> Result<Vec<Part>> {
    // Reports a wrong data directory.
    let found = PLACES.find(data);
    if let Err(error @ DataError::NoDirectory { .. }) = found {
        return Err(error.into());
    }
    for (_, bases) in PLACES.folders(data)? {
        for base in &bases {
            if let Some(test) = PLACES.split(base, "test")? {
                let dev = dev(base, &test)?;
                let subject = None;
                return Ok(vec![Part { subject, test, dev }]);
            }
        }
        for base in &bases {
            let mut parts = Vec::new();
            for folder in directories(base)? {
                let Some(test) = PLACES.split(&folder, "test")? else {
                    continue;
                };
                let dev = dev(&folder, &test)?;
                let subject = folder.file_name().and_then(|name| name.to_str());
                let subject = subject.map(String::from);
                parts.push(Part { subject, test, dev });
            }
            if !parts.is_empty() {
                return Ok(parts);
            }
            let parts = release(base)?;
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
    }
    Err(PLACES.not_found(data).into())
}

/// Finds the examples next to the questions.
fn dev(folder: &Path, test: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let found = PLACES.split(folder, "dev")?;
    Ok(found.ok_or_else(|| missing_dev(&test[0]))?)
}

fn missing_dev(test: &Path) -> DataError {
    DataError::File {
        path: test.into(),
        what: format!(
            "no dev split next to it, whose first {SHOTS} questions come before each question"
        ),
    }
}

/// Finds the release's tables: `test/anatomy_test.csv` and `dev/anatomy_dev.csv`.
fn release(base: &Path) -> Result<Vec<Part>> {
    let of = |name| -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        for folder in child(base, name)? {
            for (stem, path) in tables(&folder)? {
                if let Some(subject) = stem.strip_suffix(&format!("_{name}")) {
                    found.insert(subject.to_string(), path);
                }
            }
        }
        Ok(found)
    };
    let (tests, mut devs) = (of("test")?, of("dev")?);
    let part = |(subject, test): (String, PathBuf)| {
        let dev = devs.remove(&subject).ok_or_else(|| missing_dev(&test))?;
        let (subject, test, dev) = (Some(subject), vec![test], vec![dev]);
        Ok(Part { subject, test, dev })
    };
    tests.into_iter().map(part).collect()
}
