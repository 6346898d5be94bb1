//! WSC273: which of two nouns a pronoun stands for; the text after it is scored with either in its place.
//! Levesque et al., "The Winograd schema challenge", 2012.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::strings::is_space;
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "wsc273",
    version: "1.0",
    metrics: &[Metric::Acc],
    chance: Some(0.5),
    load: read,
};

const PLACES: Places = Places {
    task: "wsc273",
    folders: &["wsc273", "winograd_wsc"],
    parts: &["wsc273"],
    splits: &["test"],
    formats: ROWS,
};

/// Words whose capital belongs to the beginning of a sentence.
const CAPITALS: [&str; 11] = [
    "A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their",
];

const POSSESSIVE: [&str; 5] = ["my", "his", "her", "our", "their"];

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

/// Places count characters. They are those of the text before its double spaces are removed, as in the harness.
fn document(row: &Row) -> Result<Document> {
    let text = row.text("text")?.replace("  ", " ");
    let pronoun = row.text("pronoun")?;
    let at = row.position("pronoun_loc")?;
    let gold = row.label("label", 2)?;
    let chars: Vec<char> = text.chars().collect();
    let end = at.saturating_add(pronoun.chars().count());
    if end > chars.len() || chars.len() < 2 {
        let what = format!(
            "the pronoun ends at {end}, behind the text's {} characters",
            chars.len()
        );
        return Err(row.invalid(what).into());
    }
    // Two characters before the pronoun; counted from the end where there are fewer, as Python does.
    let before = chars[(at + chars.len() - 2) % chars.len()];
    let options = row.texts("options")?;
    let [one, two] = options[..] else {
        let what = format!("expected 2 options, found {}", options.len());
        return Err(row.invalid(what).into());
    };
    let context = |option: &str| -> Result<String> {
        let Some(option) = in_place(option, pronoun, before == '.') else {
            return Err(row.invalid("an option is empty").into());
        };
        Ok(chars[..at].iter().collect::<String>() + &option)
    };
    let after: String = chars[end..].iter().collect();
    Ok(Document::contexts(
        [context(one)?, context(two)?],
        &after,
        gold,
    ))
}

/// Returns an option as it stands in place of the pronoun.
fn in_place(option: &str, pronoun: &str, begins_sentence: bool) -> Option<String> {
    let mut option = option.to_string();
    if POSSESSIVE.contains(&pronoun.to_lowercase().as_str()) {
        option += "'s";
    }
    let first = option.split(is_space).find(|word| !word.is_empty())?;
    if !begins_sentence && CAPITALS.contains(&first) {
        // Wherever it stands, as in the harness.
        option = option.replace(first, &first.to_lowercase());
    }
    Some(option)
}
