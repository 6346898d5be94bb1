//! Fingerprints of an evaluation: scores are reused only if models, settings and documents are unchanged.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use super::subject::Subject;
use crate::eval::tasks::{Document, Task};
use crate::ops;
use crate::text;

/// A hash of texts that includes their boundaries.
struct Parts(blake3::Hasher);

impl Parts {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    fn add(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Returns the fingerprint of models and settings.
///
/// # Errors
/// When a model's files cannot be read.
pub fn of_models(subjects: &[Subject], settings: &str) -> Result<String> {
    let mut parts = Parts::new();
    parts.add(env!("CARGO_PKG_VERSION"));
    parts.add(ops::unit());
    parts.add(settings);
    for subject in subjects {
        parts.add(&subject.name);
        for file in files(&subject.located.path)? {
            parts.add(&file);
        }
        parts.add(subject.tokenizer.fingerprint());
        parts.add(&format!("{:?} {}", subject.config, subject.vocab));
    }
    Ok(parts.finish())
}

/// Returns the fingerprint of a task's documents.
pub fn of_task(task: &Task, documents: &[Document]) -> String {
    let mut parts = Parts::new();
    parts.add(&format!(
        "{} {} {}",
        task.name,
        task.version,
        documents.len()
    ));
    for document in documents {
        for request in &document.requests {
            parts.add(&request.context);
            parts.add(&request.continuation);
        }
        parts.add(&format!("{:?} {:?}", document.answer, document.group));
    }
    parts.finish()
}

/// Returns name, size and time of each file of the model.
fn files(model: &Path) -> Result<Vec<String>> {
    let looked = || format!("{} cannot be read", text::path(model));
    let mut paths: Vec<PathBuf> = match model.is_dir() {
        true => {
            let entries = std::fs::read_dir(model).with_context(looked)?;
            let paths = entries.flatten().map(|entry| entry.path());
            paths.filter(|path| holds_a_model(path)).collect()
        }
        false => vec![model.into()],
    };
    paths.sort_unstable();
    let facts = paths.iter().map(|path| {
        let facts = std::fs::metadata(path).with_context(looked)?;
        let time = facts.modified().ok();
        let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let time = time.map_or(0, |time| time.as_nanos());
        Ok(format!("{} {} {time}", path.display(), facts.len()))
    });
    facts.collect()
}

/// Whether a file in a model's directory belongs to the model: results may be written into the same directory.
fn holds_a_model(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default();
    name == "config.json"
        || name.ends_with(".safetensors")
        || name.ends_with(".safetensors.index.json")
}
