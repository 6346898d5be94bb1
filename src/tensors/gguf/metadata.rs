//! The metadata of a GGUF file, by key and type.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Array, Value};
use crate::tensors::TensorError;
use crate::text;

/// The metadata of a file, in its order.
///
/// Texts are unchanged, except that bytes that are not valid UTF-8 have become replacement characters.
#[derive(Debug, Clone)]
pub struct Metadata {
    path: PathBuf,
    entries: Vec<(String, Value)>,
    /// Indices into `entries`.
    by_key: HashMap<String, usize>,
}

impl Metadata {
    /// Makes the metadata from entries with distinct keys.
    pub(super) fn new(path: &Path, entries: Vec<(String, Value)>) -> Self {
        let keys = entries.iter().map(|(key, _)| key.clone());
        Self {
            path: path.into(),
            by_key: keys.zip(0..).collect(),
            entries,
        }
    }

    /// Iterates over all keys and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Returns a key's value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&i| &self.entries[i].1)
    }

    /// Reads a key (`metadata.optional("llama.rope.scale", Metadata::f32)`). Returns `None` if the key is missing.
    ///
    /// # Errors
    /// When the key exists with another type.
    pub fn optional<'m, T>(
        &'m self,
        key: &str,
        read: impl FnOnce(&'m Self, &str) -> Result<T, TensorError>,
    ) -> Result<Option<T>, TensorError> {
        match self.get(key) {
            Some(_) => read(self, key).map(Some),
            None => Ok(None),
        }
    }

    /// Returns a text.
    ///
    /// # Errors
    /// When the key is missing or has another type; so do all functions that follow.
    pub fn str(&self, key: &str) -> Result<&str, TensorError> {
        match self.need(key)? {
            Value::Str(v) => Ok(v),
            other => Err(self.other(key, other, "a text")),
        }
    }

    /// Returns an integer, stored in any width, that fits.
    pub fn u32(&self, key: &str) -> Result<u32, TensorError> {
        self.integer(key)
    }

    /// Returns an integer, stored in any width, that fits.
    pub fn u64(&self, key: &str) -> Result<u64, TensorError> {
        self.integer(key)
    }

    /// Returns an integer, stored in any width, that fits.
    pub fn usize(&self, key: &str) -> Result<usize, TensorError> {
        self.integer(key)
    }

    /// Returns a finite float.
    pub fn f32(&self, key: &str) -> Result<f32, TensorError> {
        let value = match self.need(key)? {
            Value::F32(v) => *v,
            Value::F64(v) => *v as f32,
            other => return Err(self.other(key, other, "a float")),
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.error(key, format!("is {value}, which is not finite")))
        }
    }

    /// Returns a truth value.
    pub fn bool(&self, key: &str) -> Result<bool, TensorError> {
        match self.need(key)? {
            Value::Bool(v) => Ok(*v),
            other => Err(self.other(key, other, "a truth value")),
        }
    }

    /// Returns an array of texts.
    pub fn strs(&self, key: &str) -> Result<&[String], TensorError> {
        match self.need(key)? {
            Value::Array(Array::Str(v)) => Ok(v),
            other => Err(self.other(key, other, "an array of texts")),
        }
    }

    /// Returns an array of f32.
    pub fn f32s(&self, key: &str) -> Result<&[f32], TensorError> {
        match self.need(key)? {
            Value::Array(Array::F32(v)) => Ok(v),
            other => Err(self.other(key, other, "an array of 32-bit floats")),
        }
    }

    /// Returns an array of integers, stored in any width, that fit.
    pub fn i32s(&self, key: &str) -> Result<Vec<i32>, TensorError> {
        self.integers(key)
    }

    /// Returns an array of integers, stored in any width, that fit.
    pub fn u32s(&self, key: &str) -> Result<Vec<u32>, TensorError> {
        self.integers(key)
    }

    fn need(&self, key: &str) -> Result<&Value, TensorError> {
        self.get(key).ok_or_else(|| self.error(key, "is missing"))
    }

    fn integer<T: TryFrom<i128>>(&self, key: &str) -> Result<T, TensorError> {
        let value = self.need(key)?;
        let Some(number) = value.integer() else {
            return Err(self.other(key, value, "an integer"));
        };
        T::try_from(number)
            .map_err(|_| self.error(key, format!("is {number}, which is out of range")))
    }

    fn integers<T: TryFrom<i128>>(&self, key: &str) -> Result<Vec<T>, TensorError> {
        let value = self.need(key)?;
        let numbers = match value {
            Value::Array(array) => array.integers(),
            _ => None,
        };
        match numbers {
            Some(Ok(numbers)) => Ok(numbers),
            Some(Err(number)) => {
                Err(self.error(key, format!("has {number} in it, which is out of range")))
            }
            None => Err(self.other(key, value, "an array of integers")),
        }
    }

    fn other(&self, key: &str, value: &Value, wanted: &str) -> TensorError {
        self.error(key, format!("is {}, not {wanted}", value.kind()))
    }

    fn error(&self, key: &str, what: impl Into<String>) -> TensorError {
        TensorError::Metadata {
            path: self.path.clone(),
            key: text::clean(key).into_owned(),
            what: what.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_by_type_and_errors_name_the_key() {
        let metadata = Metadata::new(
            Path::new("m.gguf"),
            vec![
                ("name".into(), Value::Str("x".into())),
                ("layers".into(), Value::U64(30)),
                ("minus".into(), Value::I8(-1)),
                ("eps".into(), Value::F32(1e-5)),
                ("nan".into(), Value::F64(f64::NAN)),
                ("bos".into(), Value::Bool(true)),
                ("types".into(), Value::Array(Array::I32(vec![1, 3]))),
                ("ids".into(), Value::Array(Array::I64(vec![1, -3]))),
                ("scores".into(), Value::Array(Array::F32(vec![0.5]))),
                ("tokens".into(), Value::Array(Array::Str(vec!["a".into()]))),
            ],
        );
        assert_eq!(metadata.str("name").unwrap(), "x");
        assert_eq!(metadata.u32("layers").unwrap(), 30);
        assert_eq!(metadata.usize("layers").unwrap(), 30);
        assert_eq!(metadata.f32("eps").unwrap(), 1e-5);
        assert!(metadata.bool("bos").unwrap());
        assert_eq!(metadata.u32s("types").unwrap(), [1, 3]);
        assert_eq!(metadata.i32s("ids").unwrap(), [1, -3]);
        assert_eq!(metadata.f32s("scores").unwrap(), [0.5]);
        assert_eq!(metadata.strs("tokens").unwrap(), ["a"]);
        assert_eq!(metadata.optional("none", Metadata::u32).unwrap(), None);
        assert_eq!(
            metadata.optional("bos", Metadata::bool).unwrap(),
            Some(true)
        );
        let said = |error: TensorError| error.to_string();
        for (told, wanted) in [
            (
                said(metadata.u32("none\u{1b}[2J").unwrap_err()),
                "m.gguf: metadata key none is missing",
            ),
            (
                said(metadata.u32("minus").unwrap_err()),
                "m.gguf: metadata key minus is -1, which is out of range",
            ),
            (
                said(metadata.u32s("ids").unwrap_err()),
                "m.gguf: metadata key ids has -3 in it, which is out of range",
            ),
            (
                said(metadata.f32("nan").unwrap_err()),
                "m.gguf: metadata key nan is NaN, which is not finite",
            ),
            (
                said(metadata.str("tokens").unwrap_err()),
                "m.gguf: metadata key tokens is an array of texts, not a text",
            ),
        ] {
            assert_eq!(told, wanted);
        }
        assert!(metadata.optional("bos", Metadata::str).is_err());
    }
}
