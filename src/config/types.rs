//! Checks that a TOML value has its key's type and known words, and describes the problem otherwise.

use toml_edit::Value;

use super::keys::{self, Key, Kind};
use super::values::{LayerChoice, Measure, PARTS, SPREAD, TOKENIZERS, TokenizerChoice};
use crate::model::Part;

/// Parts that a list may name; no list of all is longer.
const MOST_PARTS: usize = 100;

/// Returns the problems of a value that does not have its key's type or contains unknown words, a sentence each.
pub(super) fn problems(key: &Key, value: &Value) -> Vec<String> {
    let words = || list(value)?.map(Value::as_str).collect::<Option<Vec<_>>>();
    match (key.kind, words()) {
        (Kind::Parts, Some(words)) => parts(key.path, &words),
        _ => fits(key, value)
            .err()
            .map(|why| format!("{} must be {why}", key.path))
            .into_iter()
            .collect(),
    }
}

/// Describes what was expected and what was found, when a value has the wrong type.
fn fits(key: &Key, value: &Value) -> Result<(), String> {
    let wrong = || Err(format!("{}, found {}", key.kind, found(value)));
    match key.kind {
        Kind::Count => match value.as_integer() {
            Some(0..) => Ok(()),
            Some(n) => Err(format!("a whole number of at least 0, is {n}")),
            None => wrong(),
        },
        Kind::Real => match number(value) {
            Some(x) if x.is_finite() => Ok(()),
            Some(x) => Err(format!("a finite number, is {x}")),
            None => wrong(),
        },
        Kind::Flag if value.is_bool() => Ok(()),
        Kind::Text if value.is_str() => Ok(()),
        Kind::Texts if list(value).is_some_and(|mut l| l.all(Value::is_str)) => Ok(()),
        Kind::Inputs | Kind::Sources if value.is_str() => Ok(()),
        Kind::Inputs if list(value).is_some_and(|mut l| l.all(Value::is_str)) => Ok(()),
        Kind::Sources => sources(value).unwrap_or_else(wrong),
        Kind::Pair => match list(value).map(|l| l.map(number).collect::<Vec<_>>()) {
            Some(pair) if pair.len() == 2 && pair.iter().all(Option::is_some) => {
                match pair.iter().flatten().find(|x| !x.is_finite()) {
                    Some(x) => Err(format!("finite numbers, holds {x}")),
                    None => Ok(()),
                }
            }
            Some(list) => Err(format!("{}, found a list of {}", key.kind, list.len())),
            None => wrong(),
        },
        Kind::OneOf(names) => match value.as_str() {
            Some(word) if names.contains(&word) => Ok(()),
            Some(word) => Err(format!("{}, is {word:?}{}", key.kind, hint(word, names))),
            None => wrong(),
        },
        Kind::Quoted(names) => match value.as_str() {
            Some(word) if names.contains(&word) => Ok(()),
            Some(word) => {
                let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                let names = match names.split_last() {
                    Some((last, rest)) if !rest.is_empty() => {
                        format!("{} or {last}", rest.join(", "))
                    }
                    _ => names.concat(),
                };
                Err(format!("{names}, is {word:?}"))
            }
            None => wrong(),
        },
        Kind::Tokenizer => match value.as_str() {
            Some(word) if TokenizerChoice::parse(word).is_some() => Ok(()),
            Some(word) => {
                let names = TOKENIZERS.join(", ");
                Err(format!(
                    "{names} or a path, is {word:?}{}",
                    hint(word, &TOKENIZERS)
                ))
            }
            None => wrong(),
        },
        Kind::SomeOf(names) => match list(value) {
            Some(list) => some_of(key, names, list),
            None => wrong(),
        },
        Kind::Layers => {
            let index = |v: &Value| v.as_integer().is_some_and(|n| n >= 0);
            match value.as_str() {
                Some(word) if LayerChoice::named(word).is_some() => Ok(()),
                Some(word) => {
                    let near = nearest_layers(word);
                    let hint = near.map_or(String::new(), |n| format!("; did you mean {n:?}?"));
                    Err(format!("{}, is {word:?}{hint}", key.kind))
                }
                None if index(value) => Ok(()),
                None if list(value).is_some_and(|mut layers| layers.all(index)) => Ok(()),
                None => wrong(),
            }
        }
        Kind::Baselines if value.is_array() => Ok(()),
        _ => wrong(),
    }
}

/// Returns the most similar name as a question.
fn hint(word: &str, names: &[&str]) -> String {
    keys::best(word, names.iter().copied(), 0.6)
        .map_or(String::new(), |near| format!("; did you mean {near:?}?"))
}

/// Returns the valid form nearest to a word that is not a choice of layers, if it looks like a rule with a number: `loss:6` for
/// `los:6`, `loss:n` for `loss`.
pub fn nearest_layers(word: &str) -> Option<String> {
    let (rule, n) = word.split_once([':', '=', ' ']).unwrap_or((word, ""));
    let rules = Measure::ALL.map(Measure::name).into_iter().chain([SPREAD]);
    let rule = keys::best(rule.trim(), rules, 0.6)?;
    let n = n.trim().parse::<usize>().ok().filter(|&n| n > 0);
    Some(match n {
        Some(n) => format!("{rule}:{n}"),
        None => format!("{rule}:n"),
    })
}

/// Returns the problems of a list of parts of a model: at least one, each known, each once.
fn parts(key: &str, words: &[&str]) -> Vec<String> {
    let names = PARTS.map(Part::name);
    let known = names.join(", ");
    if words.len() > MOST_PARTS {
        let n = words.len();
        return vec![format!(
            "{key} must name at most {MOST_PARTS} parts, names {n}"
        )];
    }
    if words.is_empty() {
        return vec![format!("{key} is empty; name some of {known}")];
    }
    let mut problems = Vec::new();
    for (i, part) in words.iter().enumerate() {
        if !names.contains(part) {
            problems.push(match keys::best(part, names.into_iter(), 0.5) {
                Some(near) => format!("{key}: unknown part {part:?}; did you mean {near:?}?"),
                None => format!("{key}: unknown part {part:?}; parts are {known}"),
            });
        }
        if words[..i].contains(part) {
            problems.push(format!("{key} names {part:?} twice"));
        }
    }
    problems
}

/// Whether a list consists of some of these names, each once.
fn some_of<'v>(
    key: &Key,
    names: &[&str],
    list: impl Iterator<Item = &'v Value>,
) -> Result<(), String> {
    let mut seen = Vec::new();
    for item in list {
        let known = names.iter().find(|name| item.as_str() == Some(name));
        let Some(name) = known else {
            let hint = item
                .as_str()
                .map_or(String::new(), |word| hint(word, names));
            return Err(format!("{}, holds {}{hint}", key.kind, found(item)));
        };
        if seen.contains(name) {
            return Err(format!("{}, holds {name:?} twice", key.kind));
        }
        seen.push(*name);
    }
    Ok(())
}

/// Whether a list consists of texts, or of sources with weights; `None` if it is a list of neither.
fn sources(value: &Value) -> Option<Result<(), String>> {
    let list = value.as_array()?;
    if list.iter().all(Value::is_str) {
        return Some(Ok(()));
    }
    for (i, item) in list.iter().enumerate() {
        let source = item.as_inline_table()?;
        let problem = |what: &str| Some(Err(format!("a list of sources; the one at {i} {what}")));
        if let Some((name, _)) = source.iter().find(|(n, _)| !["path", "weight"].contains(n)) {
            return problem(&format!(
                "has the unknown key {name}; path and weight are known"
            ));
        }
        if !source.get("path").is_some_and(Value::is_str) {
            return problem("has no path = \"...\"");
        }
        let weight = source.get("weight").and_then(number);
        if !weight.is_some_and(|w| w > 0.0 && w.is_finite()) {
            return problem("needs a weight above 0, such as weight = 1.0");
        }
    }
    Some(Ok(()))
}

fn number(value: &Value) -> Option<f64> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|n| n as f64))
}

fn list(value: &Value) -> Option<impl Iterator<Item = &Value>> {
    value.as_array().map(toml_edit::Array::iter)
}

/// Returns a value in words.
fn found(value: &Value) -> String {
    match value {
        Value::String(s) => format!("the text {:?}", s.value()),
        Value::Integer(n) => format!("the number {}", n.value()),
        Value::Float(x) => format!("the number {:?}", x.value()),
        Value::Boolean(b) => b.value().to_string(),
        Value::Datetime(_) => "a date".into(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::InlineTable(_) => "a section".into(),
    }
}

pub(super) fn plain(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::String(s) => toml::Value::String(s.value().clone()),
        Value::Integer(n) => toml::Value::Integer(*n.value()),
        Value::Float(x) => toml::Value::Float(*x.value()),
        Value::Boolean(b) => toml::Value::Boolean(*b.value()),
        Value::Array(list) => toml::Value::Array(list.iter().map(plain).collect::<Option<_>>()?),
        Value::InlineTable(table) => toml::Value::Table(
            table
                .iter()
                .map(|(name, value)| Some((name.to_string(), plain(value)?)))
                .collect::<Option<_>>()?,
        ),
        Value::Datetime(_) => return None,
    })
}
