//! HellaSwag: which of four sentences continues a description of an activity.
//! Zellers et al., "HellaSwag: Can a machine really finish your sentence?", 2019.

use std::path::Path;

use anyhow::Result;

use super::load::load;
use super::strings::{capitalize, strip};
use super::{Document, Set, Task};
use crate::eval::metrics::Metric;
use crate::eval::sources::{Places, ROWS, Row};

pub const TASK: Task = Task {
    name: "hellaswag",
    version: "1.0",
    metrics: &[Metric::Acc, Metric::AccNorm],
    chance: Some(0.25),
    load: read,
};

const PLACES: Places = Places {
    task: "hellaswag",
    folders: &["hellaswag"],
    parts: &[],
    splits: &["validation", "val", "valid", "dev"],
    formats: ROWS,
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    load(&PLACES, data, limit, document)
}

fn document(row: &Row) -> Result<Document> {
    let activity = row.text("activity_label")?;
    let (a, b) = (row.text("ctx_a")?, capitalize(row.text("ctx_b")?));
    let endings: Vec<String> = row.texts("endings")?.into_iter().map(clean).collect();
    if endings.is_empty() {
        return Err(row.invalid("field \"endings\" is an empty list").into());
    }
    let gold = row.label("label", endings.len())?;
    let context = clean(&format!("{activity}: {a} {b}"));
    Ok(Document::choices(&context, &endings, gold))
}

/// Removes the marks of WikiHow, from which a part of the texts is.
fn clean(text: &str) -> String {
    let text = strip(text).replace(" [title]", ". ");
    without_brackets(&text).replace("  ", " ")
}

/// Removes brackets with what they enclose, each up to the next `]` in its line.
fn without_brackets(text: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(open) = rest.find('[') {
        let inside = &rest[open + 1..];
        kept.push_str(&rest[..open]);
        rest = match inside.find([']', '\n']) {
            Some(close) if inside[close..].starts_with(']') => &inside[close + 1..],
            _ => {
                kept.push('[');
                inside
            }
        };
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_wikihow_are_removed() {
        assert_eq!(
            clean(" Bake. [header] Mix [title] Stir [step] it.\n"),
            "Bake. Mix. Stir it."
        );
        assert_eq!(clean("a [b\n] c [d] [e"), "a [b\n] c [e");
        // One pass: three spaces become two.
        assert_eq!(clean("a   b    c"), "a  b  c");
        assert_eq!(clean("[[a]] b"), "] b");
    }
}
