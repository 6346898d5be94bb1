//! What an evaluation computes, as one hash: scores may be used again only when nothing of it has changed.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use super::subject::Subject;
use crate::eval::tasks::{Document, Task};
use crate::ops;
use crate::text;

/// Returns the fingerprint of models, documents and settings.
///
/// # Errors
/// When a model's files cannot be looked at.
pub fn fingerprint(
    subjects: &[Subject],
    tasks: &[(&Task, &[Document])],
    settings: &str,
) -> Result<String> {
    let mut hash = blake3::Hasher::new();
    let mut part = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    part(env!("CARGO_PKG_VERSION"));
    part(ops::unit());
    part(settings);
    for subject in subjects {
        part(&subject.name);
        for file in files(&subject.located.path)? {
            part(&file);
        }
        part(subject.tokenizer.fingerprint());
        part(&format!("{:?} {}", subject.config, subject.vocab));
    }
    for (task, documents) in tasks {
        part(&format!(
            "{} {} {}",
            task.name,
            task.version,
            documents.len()
        ));
        for document in *documents {
            for request in &document.requests {
                part(&request.context);
                part(&request.continuation);
            }
            part(&format!("{:?} {:?}", document.answer, document.group));
        }
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// Name, size and time of each file that holds the model.
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

/// Whether a file of a model's directory is read: results may be written next to them.
fn holds_a_model(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default();
    name == "config.json"
        || name.ends_with(".safetensors")
        || name.ends_with(".safetensors.index.json")
}
