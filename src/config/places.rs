//! Records where each key was given, for messages.

use std::collections::{BTreeMap, BTreeSet};

use super::ConfigError;
use crate::text;

/// Most problems that are reported at once.
const MOST_PROBLEMS: usize = 100;
/// Most bytes of one problem, which may quote names and values.
const LONGEST_PROBLEM: usize = 1000;

/// The place of each given key, and the problems so far.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// File label; empty when a config did not come from a file.
    pub label: String,
    pub at: BTreeMap<String, Place>,
    /// Keys with a known problem: no further problems are reported for them.
    pub bad: BTreeSet<String>,
    pub problems: Vec<(usize, String)>,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    Line(usize),
    /// The key of a `--set`.
    Set(String),
    /// A `--set` without a key.
    Raw(String),
}

impl Places {
    /// Whether the file or an override gives this key or section.
    pub fn given(&self, path: &str) -> bool {
        self.at.contains_key(path)
    }

    /// Records a problem with the first of `keys` that was given, unless one of them has a known problem.
    pub fn problem(&mut self, keys: &[&str], message: impl std::fmt::Display) {
        if keys.iter().any(|k| self.bad.contains(*k)) {
            return;
        }
        let sections = keys.iter().filter_map(|k| k.rsplit_once('.'));
        let place = keys
            .iter()
            .find_map(|k| self.at.get(*k))
            .or_else(|| {
                sections
                    .into_iter()
                    .find_map(|(section, _)| self.at.get(section))
            })
            .cloned();
        self.say(place.as_ref(), message);
    }

    pub fn say(&mut self, place: Option<&Place>, message: impl std::fmt::Display) {
        let (order, text) = match place {
            Some(Place::Line(n)) => (*n, format!("{}:{n}: {message}", self.label)),
            Some(Place::Set(key)) => (usize::MAX - 1, format!("--set {key}=...: {message}")),
            Some(Place::Raw(raw)) => (usize::MAX - 1, format!("--set {raw}: {message}")),
            None if self.label.is_empty() => (usize::MAX, message.to_string()),
            None => (usize::MAX, format!("{}: {message}", self.label)),
        };
        if !self.is_full() {
            // Names come from the file, so they are sanitised for terminals.
            let text = text::cut(&text::clean(&text), LONGEST_PROBLEM).into_owned();
            self.problems.push((order, text));
        }
    }

    /// Returns `FILE:LINE` of a value from a file; empty for values from elsewhere.
    pub fn line(&self, path: &str) -> String {
        match self.at.get(path) {
            Some(Place::Line(n)) => format!("{}:{n}", self.label),
            _ => String::new(),
        }
    }

    /// Whether there are so many problems that no more are recorded.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    /// Records a problem with a key and suppresses later ones that involve it.
    pub fn bad(&mut self, path: &str, message: impl std::fmt::Display) {
        self.problem(&[path], message);
        self.bad.insert(path.into());
    }

    /// Records a problem with a key, as [`Self::bad`] does.
    pub fn bad_for(&mut self, path: &str, problems: &[String]) {
        for problem in problems {
            self.problem(&[path], problem);
        }
        if !problems.is_empty() {
            self.bad.insert(path.into());
        }
    }

    /// # Errors
    /// When there are problems, in the order of their lines.
    pub fn finish(&mut self) -> Result<(), ConfigError> {
        let full = self.is_full();
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|(order, _)| *order);
        let mut problems: Vec<String> = problems.into_iter().map(|(_, text)| text).collect();
        if full {
            problems.push("there may be more problems; fix these first".into());
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { problems })
        }
    }
}
