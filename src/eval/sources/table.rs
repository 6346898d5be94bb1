//! Tables: `.tsv` as GLUE is published, without quotes, and `.csv` as MMLU is, with quotes (RFC 4180).

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{DataError, Place, Row};

/// Reads the rows of tab-separated values. The first line names the columns.
pub fn tsv(file: &Arc<Path>, text: &str) -> Result<Vec<Row>, DataError> {
    let lines = text.split('\n').enumerate();
    let rows = lines
        .map(|(i, line)| (i + 1, line.strip_suffix('\r').unwrap_or(line)))
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| (at, line.split('\t').map(String::from).collect()));
    let mut rows = rows.peekable();
    let names = rows.next().map(|(_, names): (_, Vec<String>)| names);
    let names = names.unwrap_or_default();
    rows.map(|(at, values)| row(file, at, &names, values))
        .collect()
}

/// Reads the rows of comma-separated values, which have the columns `names`; without names, the first row has them.
pub fn csv(file: &Arc<Path>, text: &str, names: Option<&[&str]>) -> Result<Vec<Row>, DataError> {
    let mut rows = split(file, text)?.into_iter();
    let names: Vec<String> = match names {
        Some(names) => names.iter().map(|name| (*name).into()).collect(),
        None => rows.next().map(|(_, names)| names).unwrap_or_default(),
    };
    rows.map(|(at, values)| row(file, at, &names, values))
        .collect()
}

fn row(
    file: &Arc<Path>,
    at: usize,
    names: &[String],
    values: Vec<String>,
) -> Result<Row, DataError> {
    let place = Place::line(file, at);
    if values.len() != names.len() {
        let what = format!("{} values in {} columns", values.len(), names.len());
        return Err(DataError::Invalid { place, what });
    }
    let fields = names
        .iter()
        .cloned()
        .zip(values.into_iter().map(Value::from));
    Ok(Row::new(place, fields.collect::<Map<_, _>>()))
}

/// Splits comma-separated values into rows, each with the line that it begins in. A quoted value may have commas, line
/// breaks and doubled quotes.
fn split(file: &Arc<Path>, text: &str) -> Result<Vec<(usize, Vec<String>)>, DataError> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begin, mut quoted, mut was_quoted) = (1, 1, None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        match c {
            '"' if quoted.is_some() && chars.peek() == Some(&'"') => {
                chars.next();
                value.push('"');
            }
            '"' if quoted.is_some() => quoted = None,
            c if quoted.is_some() => value.push(c),
            '"' if value.is_empty() && !was_quoted => (quoted, was_quoted) = (Some(line), true),
            ',' => {
                row.push(std::mem::take(&mut value));
                was_quoted = false;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                if !(row.is_empty() && value.is_empty() && !was_quoted) {
                    row.push(std::mem::take(&mut value));
                    rows.push((begin, std::mem::take(&mut row)));
                }
                (begin, was_quoted) = (line, false);
            }
            c => value.push(c),
        }
    }
    if let Some(line) = quoted {
        return Err(DataError::Invalid {
            place: Place::line(file, line),
            what: "the file ends within the quotes that begin here".into(),
        });
    }
    if !(row.is_empty() && value.is_empty() && !was_quoted) {
        row.push(value);
        rows.push((begin, row));
    }
    Ok(rows)
}
