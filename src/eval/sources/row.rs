//! A row of a file, whose fields are read with the types that a task expects.

use serde_json::{Map, Value};

use super::{DataError, Place};
use crate::text;

/// A row. A field within another is named by a path (`question.stem`); where the path leads through a list, it means the
/// field of every element, so that `choices.text` reads lists of objects and objects of lists alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    place: Place,
    fields: Map<String, Value>,
}

impl Row {
    pub fn new(place: Place, fields: Map<String, Value>) -> Self {
        Self { place, fields }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns whether a field is there and not null.
    pub fn has(&self, field: &str) -> bool {
        let mut found = Vec::new();
        descend(&self.fields, field, &mut found);
        found.iter().any(|value| !value.is_null())
    }

    /// Returns a field.
    ///
    /// # Errors
    /// When it is missing.
    pub fn value(&self, field: &str) -> Result<&Value, DataError> {
        let mut found = Vec::new();
        descend(&self.fields, field, &mut found);
        found.first().copied().ok_or_else(|| self.missing(field))
    }

    /// Returns a text.
    ///
    /// # Errors
    /// When the field is missing, or not a text.
    pub fn text(&self, field: &str) -> Result<&str, DataError> {
        let value = self.value(field)?;
        let text = value.as_str();
        text.ok_or_else(|| self.unexpected(field, "a text", value))
    }

    /// Returns the texts of a list.
    ///
    /// # Errors
    /// When the field is missing, or something else than a list of texts.
    pub fn texts(&self, field: &str) -> Result<Vec<&str>, DataError> {
        let text = |value| Value::as_str(value).ok_or("a list of texts");
        self.list(field, text)
    }

    /// Returns the flags of a list: 0 or 1, false or true.
    ///
    /// # Errors
    /// When the field is missing, or something else than a list of flags.
    pub fn flags(&self, field: &str) -> Result<Vec<bool>, DataError> {
        self.list(field, |value| match index(value) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err("a list of labels 0 and 1"),
        })
    }

    fn list<'a, T>(
        &'a self,
        field: &str,
        element: impl Fn(&'a Value) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, DataError> {
        let mut found = Vec::new();
        descend(&self.fields, field, &mut found);
        if found.is_empty() {
            return Err(self.missing(field));
        }
        let mut list = Vec::new();
        for value in found {
            match value {
                Value::Array(values) => {
                    for value in values {
                        let element = element(value);
                        list.push(element.map_err(|e| self.unexpected(field, e, value))?);
                    }
                }
                value => {
                    let element = element(value);
                    list.push(element.map_err(|e| self.unexpected(field, e, value))?);
                }
            }
        }
        Ok(list)
    }

    /// Returns the index of a class among `classes`: a number, its digits, or (for two) false or true.
    ///
    /// # Errors
    /// When the field is missing, not a number, or out of range.
    pub fn label(&self, field: &str, classes: usize) -> Result<usize, DataError> {
        let value = self.value(field)?;
        let label = index(value).and_then(|label| usize::try_from(label).ok());
        let label = label.filter(|label| *label < classes);
        label.ok_or_else(|| {
            let last = classes.saturating_sub(1);
            self.unexpected(field, &format!("a label from 0 to {last}"), value)
        })
    }

    /// Returns the index of a text among `names`.
    ///
    /// # Errors
    /// When the field is missing, or another text.
    pub fn one_of(&self, field: &str, names: &[&str]) -> Result<usize, DataError> {
        let value = self.value(field)?;
        let name = value.as_str();
        let found = name.and_then(|name| names.iter().position(|n| *n == name));
        found.ok_or_else(|| {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            self.unexpected(field, &names.join(" or "), value)
        })
    }

    /// Returns a place in a text, in characters.
    ///
    /// # Errors
    /// When the field is missing, or not a number that a place can be.
    pub fn position(&self, field: &str) -> Result<usize, DataError> {
        let value = self.value(field)?;
        let position = value.as_u64().and_then(|at| usize::try_from(at).ok());
        position.ok_or_else(|| self.unexpected(field, "a position in the text", value))
    }

    /// The error for a field with another value than expected.
    pub fn unexpected(&self, field: &str, expected: &str, found: &Value) -> DataError {
        let found = match found {
            Value::Null => "null".into(),
            Value::Bool(_) | Value::Number(_) => found.to_string(),
            Value::String(text) => format!("the text {:?}", text::cut(text, 60)),
            Value::Array(list) => format!("a list of {}", list.len()),
            Value::Object(_) => "an object".into(),
        };
        DataError::Unexpected {
            place: self.place.clone(),
            field: field.into(),
            expected: expected.into(),
            found,
        }
    }

    /// The error for a row with another fault.
    pub fn invalid(&self, what: impl Into<String>) -> DataError {
        DataError::Invalid {
            place: self.place.clone(),
            what: what.into(),
        }
    }

    fn missing(&self, field: &str) -> DataError {
        let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        let fields = match names.is_empty() {
            true => "none".into(),
            false => text::cut(&text::clean(&names.join(", ")), 200).into_owned(),
        };
        DataError::Missing {
            place: self.place.clone(),
            field: field.into(),
            fields,
        }
    }
}

/// Collects the values that a path leads to.
fn descend<'a>(fields: &'a Map<String, Value>, path: &str, found: &mut Vec<&'a Value>) {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let Some(value) = fields.get(name) else {
        return;
    };
    match (rest, value) {
        (None, value) => found.push(value),
        (Some(rest), Value::Object(fields)) => descend(fields, rest, found),
        (Some(rest), Value::Array(values)) => {
            for fields in values.iter().filter_map(Value::as_object) {
                descend(fields, rest, found);
            }
        }
        _ => {}
    }
}

/// Reads a class: a whole number, its digits, or false and true.
fn index(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::String(digits) => digits.trim().parse().ok(),
        value => value.as_i64(),
    }
}
