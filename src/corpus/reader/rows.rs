//! Rows of JSON: the text of a row is the value of a field.
//!
//! Everything that Python's `json` and pyarrow write and read is accepted: NaN and infinities, and repeated fields, of
//! which the last counts.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::tally::Tally;
use crate::corpus::CorpusError;
use crate::text;

/// A longer row is not a document.
pub const LONGEST: u64 = 1 << 30;

/// Splits a file into rows.
pub trait Split {
    /// Reads the next row into `row`, which is empty. Returns the line that it begins in, from 1; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read further, or the next part is not a row.
    fn next_row(&mut self, row: &mut Vec<u8>) -> Result<Option<usize>, CorpusError>;
}

/// The texts of rows.
pub struct Rows<S> {
    path: PathBuf,
    split: S,
    field: Arc<str>,
    tally: Arc<Tally>,
    /// The line and the fields of the first row without the field, until a row has it.
    without: Option<(usize, String)>,
    with_field: bool,
    ended: bool,
}

impl<S: Split> Rows<S> {
    pub fn new(path: PathBuf, split: S, field: &Arc<str>, tally: &Arc<Tally>) -> Self {
        Self {
            path,
            split,
            field: Arc::clone(field),
            tally: Arc::clone(tally),
            without: None,
            with_field: false,
            ended: false,
        }
    }

    /// Returns the next document; `None` at the end.
    fn document(&mut self) -> Result<Option<String>, CorpusError> {
        let mut row = Vec::new();
        loop {
            row.clear();
            let Some(line) = self.split.next_row(&mut row)? else {
                return self.check_field().map(|()| None);
            };
            let found = parse(&row, &self.field).map_err(|(below, what)| CorpusError::Line {
                path: self.path.clone(),
                line: line + below,
                what,
            })?;
            match found {
                Row::Text(text) => {
                    self.with_field = true;
                    return Ok(Some(text));
                }
                Row::Null => {
                    self.with_field = true;
                    self.tally.add_null(1);
                }
                Row::Nothing => self.tally.add_null(1),
                Row::Missing => {
                    self.tally.add_missing();
                    if !self.with_field && self.without.is_none() {
                        self.without = Some((line, fields(&row)));
                    }
                }
            }
        }
    }

    /// The error for a file in which no row has the field, since the field is then probably wrong.
    fn check_field(&self) -> Result<(), CorpusError> {
        match &self.without {
            Some((line, fields)) if !self.with_field => Err(CorpusError::Line {
                path: self.path.clone(),
                line: *line,
                what: format!(
                    "no string field {:?} here, nor in any other row; the fields are {fields}. Name one with --text-field \
                     (in a config: data.text_field)",
                    self.field
                ),
            }),
            _ => Ok(()),
        }
    }
}

impl<S: Split> Iterator for Rows<S> {
    type Item = Result<String, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.document().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The contents of a row.
#[derive(Debug, PartialEq)]
enum Row<T> {
    Text(T),
    /// Its text is null.
    Null,
    /// The row itself is null.
    Nothing,
    Missing,
}

/// Reads the text of a row. The error has the lines between the row's first and the fault.
fn parse(row: &[u8], field: &str) -> Result<Row<String>, (usize, String)> {
    read(row, |row| {
        found(row, field).map(|found| owned(found, field))
    })?
}

/// Reads all fields of a row. The error has the lines between the row's first and the fault.
pub fn object(row: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, (usize, String)> {
    use serde_json::Value;

    let what = match read(row, |row| serde_json::from_slice(row))? {
        Value::Object(fields) => return Ok(fields),
        Value::Array(_) => "an array",
        Value::String(_) => "a string",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Null => "null",
    };
    let hint = match what {
        "an array" => "; a file that is one JSON array has the ending .json",
        _ => "",
    };
    Err((0, format!("the row is {what}, not an object{hint}")))
}

/// Reads a row with `json`, which reads JSON, also where it has numbers that JSON does not have. The error has the lines
/// between the row's first and the fault.
fn read<T>(
    row: &[u8],
    json: impl Fn(&[u8]) -> serde_json::Result<T>,
) -> Result<T, (usize, String)> {
    let mut error = match json(row) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    if row.starts_with(text::BYTE_ORDER_MARK) {
        let what = "a byte order mark is here, which belongs at the start of a file (files were joined?); remove it";
        return Err((0, what.into()));
    }
    let plain = without_nan(row, |_| b"null".into());
    if *plain != *row {
        if let Ok(read) = json(&plain) {
            return Ok(read);
        }
        // Another fault is reported, at its column in the original row, since replaced numbers keep their length.
        let same_length = without_nan(row, |n| format!("{:<n$}", 1).into());
        error = json(&same_length).err().unwrap_or(error);
    }
    let at = format!(" at line {} column", error.line());
    let what = error.to_string().replace(&at, " at column");
    let trailing = match what.starts_with("trailing characters") {
        true => row.get(error.column().saturating_sub(1)),
        false => None,
    };
    let hint = match row.trim_ascii_start().first() {
        Some(b'[') if error.is_eof() => "; a file that is one JSON array has the ending .json",
        // Only for a line: a .json file is cut where a row ends.
        // A string has no line breaks.
        Some(b'{') if error.is_eof() && !what.contains("parsing a string") => {
            "; a file with a row on several lines has the ending .json"
        }
        _ if trailing == Some(&b'{') => "; a file with several rows on a line has the ending .json",
        _ => "",
    };
    let what = format!("not valid JSON: {what}{hint}");
    Err((error.line().saturating_sub(1), what))
}

fn owned(found: Found<'_>, field: &str) -> Result<Row<String>, (usize, String)> {
    match found {
        Found::Row(Row::Text(Value::Text(text))) => Ok(Row::Text(text.into_owned())),
        Found::Row(Row::Text(Value::Null) | Row::Null) => Ok(Row::Null),
        Found::Row(Row::Nothing) => Ok(Row::Nothing),
        Found::Row(Row::Missing) => Ok(Row::Missing),
        Found::Row(Row::Text(Value::Other(what))) => Err((
            0,
            format!("no string field {field:?}: it is {what}, not a text"),
        )),
        Found::Other("an array") => Err((
            0,
            format!(
                "no string field {field:?}: the line is an array, not an object; a file that is one JSON array has the \
                 ending .json"
            ),
        )),
        Found::Other(what) => Err((
            0,
            format!("no string field {field:?}: the row is {what}, not an object"),
        )),
    }
}

/// A row in its original form.
enum Found<'a> {
    Row(Row<Value<'a>>),
    /// The value, which is not an object.
    Other(&'static str),
}

/// The contents of a field.
enum Value<'a> {
    Text(Cow<'a, str>),
    Null,
    Other(&'static str),
}

fn found<'a>(row: &'a [u8], field: &str) -> serde_json::Result<Found<'a>> {
    let mut json = serde_json::Deserializer::from_slice(row);
    let found = RowOf(field).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// Lists the names of a row's fields, for a message.
fn fields(row: &[u8]) -> String {
    let row = without_nan(row, |_| b"null".into());
    let all: serde_json::Map<_, _> = serde_json::from_slice(&row).unwrap_or_default();
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    match names.is_empty() {
        true => "none".into(),
        false => text::cut(&text::clean(&names.join(", ")), 200).into_owned(),
    }
}

/// Replaces the numbers in a row that JSON does not have but Python and pyarrow read; `other` returns the replacement
/// for one of a given length.
fn without_nan(row: &[u8], other: impl Fn(usize) -> Vec<u8>) -> Cow<'_, [u8]> {
    const NUMBERS: [&[u8]; 6] = [b"NaN", b"-NaN", b"-Infinity", b"Infinity", b"-Inf", b"Inf"];
    if !["NaN", "Inf"]
        .iter()
        .any(|n| memchr::memmem::find(row, n.as_bytes()).is_some())
    {
        return row.into();
    }
    text::replace_words(row, &NUMBERS, |number| other(number.len()))
}

/// Reads a row for the field of this name.
struct RowOf<'f>(&'f str);

impl<'a> DeserializeSeed<'a> for RowOf<'_> {
    type Value = Found<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Found<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for RowOf<'_> {
    type Value = Found<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Found<'a>, A::Error> {
        let mut found = Row::Missing;
        while let Some(wanted) = map.next_key_seed(NameIs(self.0))? {
            if wanted {
                // Of repeated fields the last counts, as in Python and pandas.
                found = Row::Text(map.next_value_seed(AnyValue)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Found::Row(found))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Found<'a>, A::Error> {
        skip(seq)?;
        Ok(Found::Other("an array"))
    }

    fn visit_unit<E: Error>(self) -> Result<Found<'a>, E> {
        Ok(Found::Row(Row::Nothing))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Found<'a>, E> {
        Ok(Found::Other("a string"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found<'a>, E> {
        Ok(Found::Other("true or false"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found<'a>, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found<'a>, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found<'a>, E> {
        Ok(Found::Other("a number"))
    }
}

fn skip<'a, A: SeqAccess<'a>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Whether a key is this name.
struct NameIs<'f>(&'f str);

impl<'a> DeserializeSeed<'a> for NameIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// Reads the value of the field.
struct AnyValue;

impl<'a> DeserializeSeed<'a> for AnyValue {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Value<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for AnyValue {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'a>, E> {
        Ok(Value::Text(text.to_string().into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'a>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'a>, E> {
        Ok(Value::Other("true or false"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'a>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value<'a>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'a>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Value<'a>, A::Error> {
        skip(seq)?;
        Ok(Value::Other("an array"))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an object"))
    }
}
