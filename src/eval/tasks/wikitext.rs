//! WikiText-2: pages of Wikipedia, scored over their whole length.
//! Merity et al., "Pointer sentinel mixture models", 2016.
//!
//! The harness reads the test split, whose rows are pages (`{page}`). Raw text (`wiki.test.raw`) is split at titles of
//! pages. Where only the validation split is there, that is what is scored: the set has the names of its files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::load::{all, most, set};
use super::strings::{is_space, strip};
use super::{Answer, Document, Request, Set, Task};
use crate::corpus;
use crate::eval::metrics::Metric;
use crate::eval::sources::{Format, Places};

pub const TASK: Task = Task {
    name: "wikitext",
    version: "2.0",
    metrics: &[
        Metric::WordPerplexity,
        Metric::BytePerplexity,
        Metric::BitsPerByte,
    ],
    chance: None,
    load: read,
};

const PLACES: Places = Places {
    task: "wikitext",
    folders: &[
        "wikitext",
        "wikitext_document_level",
        "wikitext-2-raw-v1",
        "wikitext-2-raw",
        "wikitext-2",
        "wikitext-2-v1",
    ],
    parts: &[
        "wikitext-2-raw-v1",
        "wikitext-2-raw",
        "wikitext-2",
        "wikitext-2-v1",
    ],
    splits: &["test", "wiki.test", "validation", "valid", "wiki.valid"],
    formats: &[Format::Jsonl, Format::Json, Format::Parquet, Format::Text],
};

fn read(data: &Path, limit: Option<usize>) -> Result<Set> {
    let files = PLACES.find(data)?;
    let pages = pages(&files)?;
    let pages = pages.iter().take(most(limit));
    set(&PLACES, pages.map(|page| document(page)).collect(), files)
}

fn document(page: &str) -> Document {
    Document {
        requests: vec![Request {
            context: "".into(),
            continuation: detokenize(page),
        }],
        // Of the page as it was: the model that is not given the spaces has fewer tokens, but not fewer words.
        answer: Answer::Page {
            words: words(page),
            bytes: page.len(),
        },
        group: None,
    }
}

/// Reads pages: rows with the field `page`, or rows (`text`) that are lines of a text, or a text.
fn pages(files: &[PathBuf]) -> Result<Vec<String>> {
    let (mut pages, mut lines) = (Vec::new(), String::new());
    for file in files {
        if Format::of(file) == Some(Format::Text) {
            lines.push_str(&corpus::read_text(file)?);
            continue;
        }
        for row in all(vec![file.clone()]) {
            let row = row?;
            if row.has("text") && !row.has("page") {
                // The export empties lines that are a space.
                lines.push_str(match row.text("text")? {
                    "" => " \n",
                    line => line,
                });
            } else {
                pages.push(row.text("page")?.into());
            }
        }
    }
    pages.append(&mut split(&lines));
    Ok(pages)
}

/// Splits a text at titles of pages: lines such as ` = Title = `, with one `=` on either side. Headings have more.
fn split(text: &str) -> Vec<String> {
    let (mut pages, mut page) = (Vec::new(), Vec::new());
    let mut end = |page: &mut Vec<&str>| {
        let text = std::mem::take(page).join("\n");
        if !strip(&text).is_empty() {
            pages.push(text);
        }
    };
    for line in text.split('\n') {
        if is_title(line) {
            end(&mut page);
        }
        page.push(line);
    }
    end(&mut page);
    pages
}

fn is_title(line: &str) -> bool {
    let line = line.replace("= = =", "===").replace("= =", "==");
    let line = strip(&line);
    line.starts_with("= ") && line.ends_with(" =")
}

/// Counts the pieces between runs of white space, with the empty ones at the ends.
fn words(page: &str) -> usize {
    let mut runs = 0;
    let mut in_run = false;
    for c in page.chars() {
        runs += usize::from(is_space(c) && !in_run);
        in_run = is_space(c);
    }
    runs + 1
}

/// Undoes the tokenization of WikiText as the harness does, in its order.
fn detokenize(page: &str) -> String {
    let mut text = page.replace("s '", "s'");
    // The harness's pattern has slashes where it means none, and its replacement is not one: followed to the letter.
    for digit in '0'..='9' {
        text = text.replace(&format!("/' {digit}/"), "/'[0-9]/");
    }
    for (from, to) in [
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (" @.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (" . ", ". "),
        (" ! ", "! "),
        (" ? ", "? "),
        (" , ", ", "),
    ] {
        text = text.replace(from, to);
    }
    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}'), ('"', '"'), ('\'', '\'')] {
        text = trim_inside(&text, open, close);
    }
    for (from, to) in [
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" ° ", "°"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// Removes white space behind each `open` and before the first `close` after it.
fn trim_inside(text: &str, open: char, close: char) -> String {
    let (mut trimmed, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, inside)) = rest.split_once(open) {
        let Some((inside, after)) = inside.split_once(close) else {
            break;
        };
        trimmed.push_str(before);
        trimmed.push(open);
        trimmed.push_str(strip(inside));
        trimmed.push(close);
        rest = after;
    }
    trimmed + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_at_titles() {
        let text = " \n = One = \n \n a = b \n = = Part = = \n b \n = Two = \n c \n";
        let one = " = One = \n \n a = b \n = = Part = = \n b ";
        assert_eq!(split(text), [one, " = Two = \n c \n"]);
        assert!(split(" \n\n").is_empty());
    }

    #[test]
    fn words_are_counted_with_empty_edges() {
        assert_eq!(words(""), 1);
        assert_eq!(words(" a  b\n"), 4);
        assert_eq!(words("a\u{1c}b\u{a0}c"), 3);
    }

    #[test]
    fn tokens_are_joined_in_the_harness_order() {
        assert_eq!(
            detokenize(" = A = \n x @-@ y , 1 @,@ 000 @.@ 5 ( a , b ) \" q \" . \n"),
            " = A =\nx-y, 1,000.5 (a, b) \"q\".\n"
        );
        // Values from the harness's own function.
        assert_eq!(detokenize("boys ' 5 ° C N 's ' x '"), "boys'5°C N's'x'");
        assert_eq!(detokenize("a N b 's"), "a 1 b's");
        assert_eq!(detokenize("= = B = = a ( b"), "== B == a ( b");
        assert_eq!(detokenize("/' 7/"), "/'[0-9]/");
    }
}
