//! The models of an evaluation, by the names on the command line.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::{find, say};
use crate::corpus::Tokenizer;
use crate::eval::score::Encoder;
use crate::export;
use crate::locate::{self, Located};
use crate::model::{DecoderConfig, Files};
use crate::run::dir::RunDir;
use crate::run::event::Phase;
use crate::run::table::phase_name;
use crate::text::{self, exact};

/// A model to evaluate. Its weights are still on disk.
#[derive(Debug)]
pub struct Subject {
    /// Its name as given; `RUN@CHECKPOINT` for a run's model.
    pub name: String,
    /// A short name for the head of a column.
    pub label: String,
    pub located: Located,
    pub config: DecoderConfig,
    /// Number of rows of the vocabulary that belong to tokens.
    pub vocab: usize,
    pub tokenizer: Tokenizer,
    /// The token that begins texts, and whether every text must begin with it.
    pub begin: Option<u32>,
    pub add_begin: bool,
}

impl Subject {
    /// Returns the encoder of this model. `add_bos` overrides the tokenizer's own setting.
    ///
    /// # Errors
    /// When the tokenizer has no token that begins or ends texts.
    pub fn encoder(&self, add_bos: Option<bool>) -> Result<Encoder> {
        let add_bos = add_bos.unwrap_or(self.add_begin);
        let context = self.config.context_length;
        Encoder::new(self.tokenizer.clone(), self.begin, add_bos, context)
    }
}

/// Finds all models. The name of a run means its reference, the end of each round and its controls. `tokenizer` replaces the models'
/// own tokenizers.
///
/// # Errors
/// When a model is missing or cannot be read, or its tokenizer makes ids that it does not have.
pub fn find_all(models: &[String], tokenizer: Option<&str>, runs: &Path) -> Result<Vec<Subject>> {
    let mut names = Vec::new();
    for model in models {
        match run_alone(model, runs) {
            Some(run) => names.extend(phases(model, &run, models.len() > 1)?),
            None => names.push((model.clone(), label(model))),
        }
    }
    unambiguous(&mut names);
    let given = tokenizer.map(Given::read).transpose()?;
    let mut all: Vec<Subject> = Vec::new();
    for (name, label) in names {
        let mut subject = open(name, label, given.as_ref(), runs)?;
        // Checkpoints of the same run share their tokenizer in memory.
        let same = all
            .iter()
            .find(|other| other.tokenizer.fingerprint() == subject.tokenizer.fingerprint());
        if let Some(same) = same {
            subject.tokenizer = same.tokenizer.clone();
        }
        all.push(subject);
    }
    Ok(all)
}

/// A tokenizer that replaces the models' own.
struct Given {
    tokenizer: Tokenizer,
    begin: Option<u32>,
    add_begin: bool,
}

impl Given {
    fn read(name: &str) -> Result<Self> {
        let tokenizer = Tokenizer::from_name(name)?;
        let path = &*exact::to_path(name);
        let dir = match path.is_dir() {
            true => path,
            false => path.parent().unwrap_or(Path::new(".")),
        };
        let special = match name {
            // Built-in tokenizers have no files.
            "byte" | "gpt2" => export::Special::default(),
            _ => export::Tokens::of_model(dir)?.special,
        };
        Ok(Self {
            tokenizer,
            begin: special.bos,
            add_begin: special.add_bos.unwrap_or(false),
        })
    }
}

fn open(name: String, label: String, given: Option<&Given>, runs: &Path) -> Result<Subject> {
    let located = find::found(&name, runs)?;
    let files = Files::open(&located.path)?;
    let vocab = export::vocab_without_padding(&files, &located)?;
    let tokenizer = match given {
        Some(given) => given.tokenizer.clone(),
        None => locate::tokenizer(&located.path)?,
    };
    let fits = tokenizer.vocabulary_fits(vocab);
    fits.with_context(|| format!("{} cannot be evaluated", text::clean(&name)))?;
    let (begin, add_begin) = match given {
        Some(given) => (given.begin, given.add_begin),
        None => beginning(&files, &located.path)?,
    };
    Ok(Subject {
        name,
        label,
        located,
        config: files.config,
        vocab,
        tokenizer,
        begin,
        add_begin,
    })
}

/// Returns the token that begins a model's texts, and whether its tokenizer puts the token before every text.
fn beginning(files: &Files, path: &Path) -> Result<(Option<u32>, bool)> {
    if let Some(metadata) = files.source.gguf() {
        let vocabulary = locate::vocabulary(metadata)?;
        return Ok((vocabulary.bos, vocabulary.begins_with_bos()));
    }
    let special = export::Tokens::of_model(path)?.special;
    Ok((special.bos, special.add_bos.unwrap_or(false)))
}

/// Returns the run with this name, if the name has no checkpoint and is not that of a model's files.
fn run_alone(name: &str, runs: &Path) -> Option<RunDir> {
    let path = &*exact::to_path(name);
    if name.starts_with(locate::HUB) || path.is_file() || path.join("config.json").is_file() {
        return None;
    }
    match locate::split(name) {
        (run, None) => RunDir::open(runs, run).ok(),
        _ => None,
    }
}

/// Returns names and labels of a run's results. Deleted ones are reported on stderr.
fn phases(name: &str, run: &RunDir, among_others: bool) -> Result<Vec<(String, String)>> {
    let results = locate::results(run)?;
    for phase in &results.deleted {
        say::err(&format!(
            "{} of {name} is skipped: its checkpoint was not kept (checkpoint.keep)",
            phase_name(phase)
        ));
    }
    if let Some(phase) = &results.unfinished {
        say::err(&format!(
            "{} of {name} is skipped: it has not finished; {name}@latest is its current model",
            phase_name(phase)
        ));
    }
    let kept = results.kept.into_iter().map(|finished| {
        let phase = match &finished.phase {
            Phase::Control(control) => control.short.to_string(),
            Phase::Baseline(baseline) => baseline.short(),
            phase => phase_name(phase),
        };
        let label = match among_others {
            true => format!("{} {phase}", run.name()),
            false => phase,
        };
        (format!("{name}@{}", finished.checkpoint), label)
    });
    Ok(kept.collect())
}

/// Returns a model's short name: the last part of a path, without `.gguf`.
fn label(name: &str) -> String {
    let name = name.trim_end_matches('/');
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.strip_suffix(".gguf").unwrap_or(last);
    text::clean(last).into_owned()
}

/// Replaces equal labels by the models' full names, or numbers them if the names are also equal.
fn unambiguous(names: &mut [(String, String)]) {
    let labels: Vec<String> = names.iter().map(|(_, label)| label.clone()).collect();
    for (name, label) in names.iter_mut() {
        if labels.iter().filter(|other| *other == label).count() > 1 {
            *label = text::clean(name).into_owned();
        }
    }
    let mut seen = HashSet::new();
    for (_, label) in names {
        let plain = label.clone();
        let mut i = 1;
        while !seen.insert(label.clone()) {
            i += 1;
            *label = format!("{plain} ({i})");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_differ() {
        let labels = |names: &[&str]| -> Vec<String> {
            let mut all: Vec<_> = names.iter().map(|n| (n.to_string(), label(n))).collect();
            unambiguous(&mut all);
            all.into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(
            labels(&["a/small.gguf", "hf:o/n", "run@best", "dir/"]),
            ["small", "n", "run@best", "dir"]
        );
        assert_eq!(labels(&["a/m", "b/m", "c"]), ["a/m", "b/m", "c"]);
        assert_eq!(labels(&["m", "m"]), ["m", "m (2)"]);
    }
}
