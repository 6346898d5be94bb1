//! Completes the last word of a command line.

use crate::config::keys::KEYS;
use crate::dashboard::keys::Entry;
use crate::dashboard::neighbours::Nearby;
use crate::run::state::RunState;
use crate::text::sanitize;

/// Kinds of arguments that can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Checkpoint,
    Run,
    ConfigKey,
}

/// Returns the argument that may follow these words.
fn argument_after(entries: &[Entry], words: &[&str]) -> Option<Argument> {
    entries.iter().find_map(|entry| {
        let mut rest = entry.words.split(' ');
        if !words.iter().all(|word| rest.next() == Some(word)) {
            return None;
        }
        match rest.next()? {
            "NAME" => Some(Argument::Checkpoint),
            "RUN" => Some(Argument::Run),
            "KEY" => Some(Argument::ConfigKey),
            _ => None,
        }
    })
}

/// Returns the lines that complete the last word of `line`, in the order of the tables, checkpoints newest first. They end with a
/// blank if another word must follow.
pub fn candidates(line: &str, entries: &[Entry], run: &RunState, nearby: &Nearby) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let (last, before) = match words.split_last() {
        Some((last, before)) => (*last, before),
        None => ("", &[][..]),
    };
    if let Some(argument) = argument_after(entries, before) {
        let stem = before.iter().fold(String::new(), |all, w| all + w + " ");
        let ended = |name: &str| format!("{stem}{name}");
        // A name with a blank would be read as several words.
        let fits = |name: &&str| {
            name.starts_with(last) && *name == sanitize(name) && !name.contains(char::is_whitespace)
        };
        return match argument {
            Argument::Checkpoint => {
                let names = run.checkpoints.iter().rev().map(|c| c.name.as_str());
                names.filter(fits).map(ended).collect()
            }
            Argument::Run => {
                let names = nearby.runs.iter().map(String::as_str);
                names.filter(fits).map(ended).collect()
            }
            Argument::ConfigKey => {
                let paths = KEYS.iter().map(|key| key.path);
                paths.filter(fits).map(ended).collect()
            }
        };
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

/// Returns the common beginning of all lines.
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
