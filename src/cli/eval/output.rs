//! The files that `--out` and `--samples` name.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::subject::Subject;
use crate::cli::exit;
use crate::eval::report::{self, Report};
use crate::eval::score::{Ids, Score};
use crate::eval::tasks::{Answer, Document};
use crate::file::{self, NewFile};
use crate::text;

/// The format of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Markdown,
}

/// A file for the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub path: PathBuf,
    form: Form,
}

impl Output {
    /// Determines the format from the file's name, and checks the directory, so that an error does not come after hours of work.
    ///
    /// # Errors
    /// When the form is unknown, or the file would lie in no directory.
    pub fn new(path: &Path) -> Result<Self> {
        let form = match path.extension().and_then(|e| e.to_str()) {
            Some("json") => Form::Json,
            Some("csv") => Form::Csv,
            Some("md") => Form::Markdown,
            _ => {
                let message = format!(
                    "--out {}: results are written as .json, .csv or .md",
                    text::path(path)
                );
                return Err(exit::usage(&message).into());
            }
        };
        check_place("--out", path)?;
        Ok(Self {
            path: path.into(),
            form,
        })
    }

    /// Writes the results.
    ///
    /// # Errors
    /// When the file cannot be written; an earlier one is then unchanged.
    pub fn write(&self, report: &Report) -> Result<()> {
        let text = match self.form {
            Form::Json => format!("{:#}\n", report::json(report)),
            Form::Csv => report::csv(report),
            Form::Markdown => report::markdown(report),
        };
        file::replace_output(&self.path, text.as_bytes()).with_context(|| unwritten(&self.path))
    }
}

/// Checks that the directory of a file exists.
///
/// # Errors
/// When the directory is missing.
pub fn check_place(option: &str, path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    match parent.filter(|p| !p.is_dir()) {
        None if path.is_dir() => {
            let message = format!("{option} {} is a directory", text::path(path));
            Err(exit::usage(&message).into())
        }
        None => Ok(()),
        Some(parent) => {
            let (path, parent) = (text::path(path), text::path(parent));
            let message = format!("{option} {path}: there is no directory {parent}");
            Err(exit::usage(&message).into())
        }
    }
}

fn unwritten(path: &Path) -> String {
    format!("{} cannot be written", text::path(path))
}

/// Writes every document's requests, their token ids and scores, a line of JSON each, by model and task. `scores` holds them
/// by model, task and document; `add_bos` is what the models were scored with.
///
/// # Errors
/// When a document cannot be encoded or the file cannot be written; an earlier one is then unchanged.
pub fn write_samples(
    path: &Path,
    subjects: &[Subject],
    add_bos: Option<bool>,
    sets: &[(&str, &[Document])],
    scores: &[Vec<Vec<Vec<Score>>>],
) -> Result<()> {
    let write = || -> Result<()> {
        let mut new = NewFile::create(path)?;
        let mut out = BufWriter::new(&mut new);
        for (subject, scores) in subjects.iter().zip(scores) {
            let encoder = subject.encoder(add_bos)?;
            for ((task, documents), scores) in sets.iter().zip(scores) {
                for (i, (document, scores)) in documents.iter().zip(scores).enumerate() {
                    let ids = encoder.ids(document)?;
                    let sample = sample((&subject.name, task, i), document, &ids, scores);
                    writeln!(out, "{sample}")?;
                }
            }
        }
        out.flush()?;
        drop(out);
        Ok(new.commit()?)
    };
    write().with_context(|| unwritten(path))
}

fn sample(
    (model, task, i): (&str, &str, usize),
    document: &Document,
    ids: &[Ids],
    scores: &[Score],
) -> Value {
    let requests = document.requests.iter().zip(ids).zip(scores);
    let requests: Vec<Value> = requests
        .map(|((request, ids), score)| {
            json!({
                "context": &*request.context,
                "continuation": request.continuation,
                "context_ids": ids.context,
                "continuation_ids": ids.continuation,
                "log_likelihood": score.log_likelihood,
                "greedy": score.greedy,
                "tokens": score.tokens,
                "truncated": score.truncated,
            })
        })
        .collect();
    let gold = match &document.answer {
        Answer::Choice { gold, .. } => json!(gold),
        Answer::Truths(truths) => json!(truths),
        Answer::Word | Answer::Page { .. } => Value::Null,
    };
    json!({
        "model": model,
        "task": task,
        "doc": i,
        "requests": requests,
        "gold": gold,
        "right": is_right(document, scores),
    })
}

/// Returns whether a document is answered correctly, if its task has a correct request. Of equal log-likelihoods the first one
/// counts.
fn is_right(document: &Document, scores: &[Score]) -> Option<bool> {
    match &document.answer {
        Answer::Choice { gold, .. } => {
            let all = scores.iter().map(|score| score.log_likelihood);
            let best = all.enumerate().reduce(|best, next| match next.1 > best.1 {
                true => next,
                false => best,
            });
            best.map(|(i, _)| i == *gold)
        }
        Answer::Word => scores.first().map(|score| score.greedy),
        Answer::Truths(_) | Answer::Page { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_choices_counts() {
        let document = |answer| Document {
            requests: Vec::new(),
            answer,
            group: None,
        };
        let choice = |gold| {
            document(Answer::Choice {
                gold,
                lengths: vec![1; 3],
            })
        };
        let scores = |all: [f64; 3]| {
            all.map(|log_likelihood| Score {
                log_likelihood,
                greedy: true,
                tokens: 1,
                truncated: false,
            })
        };
        let tie = scores([-3.0, -2.0, -2.0]);
        assert_eq!(is_right(&choice(1), &tie), Some(true));
        assert_eq!(is_right(&choice(2), &tie), Some(false));
        assert_eq!(is_right(&document(Answer::Word), &tie), Some(true));
        let page = document(Answer::Page { words: 1, bytes: 1 });
        assert_eq!(is_right(&page, &tie), None);
    }

    #[test]
    fn an_output_has_one_of_three_forms_and_a_directory() {
        let tmp = tempfile::tempdir().unwrap();
        for (name, form) in [
            ("a.json", Form::Json),
            ("a.csv", Form::Csv),
            ("a.md", Form::Markdown),
        ] {
            assert_eq!(Output::new(&tmp.path().join(name)).unwrap().form, form);
        }
        std::fs::create_dir(tmp.path().join("d.json")).unwrap();
        for (name, wanted) in [
            ("a.txt", "results are written as .json, .csv or .md"),
            ("json", "results are written as"),
            ("none/a.json", "there is no directory"),
            ("d.json", "is a directory"),
        ] {
            let error = Output::new(&tmp.path().join(name)).unwrap_err();
            assert_eq!(exit::code(&error), exit::INPUT);
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
