//! Ways to end the last word of a command line.

use crate::dashboard::keys::Entry;
use crate::run::state::RunState;
use crate::text::sanitize;

/// What can be set in a running training.
const SETTABLE: [&str; 1] = ["lr"];

/// The whole lines that `line` may become by ending its last word; in the order of the tables, checkpoints newest
/// first. A blank follows a word that another one must follow.
pub fn candidates(line: &str, entries: &[Entry], run: &RunState) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let (last, before) = match words.split_last() {
        Some((last, before)) => (*last, before),
        None => ("", &[][..]),
    };
    let stem = before.iter().fold(String::new(), |all, w| all + w + " ");
    if let ["rollback"] = before {
        let names = run.checkpoints.iter().rev().map(|c| c.name.as_str());
        return ending(&stem, last, names, false);
    }
    if let ["set"] = before {
        return ending(&stem, last, SETTABLE.into_iter(), true);
    }
    let mut lines: Vec<String> = Vec::new();
    for entry in entries {
        let fixed = entry.fixed();
        if !fixed.starts_with(line) || lines.iter().any(|l| l.trim_end() == fixed) {
            continue;
        }
        let more = if fixed.len() < entry.words.len() {
            " "
        } else {
            ""
        };
        lines.push(format!("{fixed}{more}"));
    }
    lines
}

fn ending<'a>(
    stem: &str,
    last: &str,
    words: impl Iterator<Item = &'a str>,
    more: bool,
) -> Vec<String> {
    let blank = if more { " " } else { "" };
    words
        .filter(|w| w.starts_with(last) && *w == sanitize(w))
        .map(|w| format!("{stem}{w}{blank}"))
        .collect()
}

/// What all the lines begin with.
pub fn shared_prefix(lines: &[String]) -> String {
    let Some((first, rest)) = lines.split_first() else {
        return String::new();
    };
    let same = |line: &String| {
        let pairs = first.char_indices().zip(line.chars());
        pairs
            .take_while(|((_, a), b)| a == b)
            .last()
            .map_or(0, |((i, a), _)| i + a.len_utf8())
    };
    let length = rest.iter().map(same).min().unwrap_or(first.len());
    first[..length].to_string()
}
