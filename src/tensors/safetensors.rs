//! Reads the header of a safetensors file, which consists of eight bytes of length, JSON, and data.
//!
//! Parsed here and not by the `safetensors` crate, which accepts a name twice, adds sizes without a check for overflow, and
//! cannot name the tensor in which a truncated file ends.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::dtype::count;
use super::{DType, Entry, Info, TensorError};
use crate::file;
use crate::text;

/// Bytes of the length at the beginning.
pub const LENGTH: usize = 8;
/// Most bytes of a header, as in the format's reference implementation.
const LARGEST_HEADER: u64 = 100_000_000;
/// Most bytes of an index of shards.
const LARGEST_INDEX: u64 = 64 << 20;

/// Key of a header's metadata, which is not a tensor.
pub const METADATA: &str = "__metadata__";

#[derive(Deserialize)]
struct Stated {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// A header's tensors in the order of the text.
struct Header(Vec<(String, Stated)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut tensors = Vec::new();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("{name} stands there twice")));
            }
            if name == METADATA {
                map.next_value::<Option<HashMap<String, String>>>()?;
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        Ok(Header(tensors))
    }
}

/// Returns the tensors of a file, in the order of their data.
///
/// # Errors
/// When the header is not intact, or does not describe the rest of the file byte by byte.
pub fn parse(path: &Path, file: &[u8]) -> Result<Vec<(String, Entry)>, TensorError> {
    let damaged = |what: String| TensorError::damaged(path, what);
    let Some((length, rest)) = file.split_first_chunk::<LENGTH>() else {
        return Err(damaged(format!(
            "{} bytes are too few for a safetensors file",
            file.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    if length > LARGEST_HEADER {
        return Err(damaged(format!(
            "it is not a safetensors file: its header would have {length} bytes"
        )));
    }
    let header = usize::try_from(length).ok().and_then(|n| rest.get(..n));
    let Some(header) = header else {
        return Err(damaged(format!(
            "it is cut off within its header, which has {length} bytes"
        )));
    };
    let Header(mut stated) = serde_json::from_slice(header).map_err(|e| {
        let why = e.to_string();
        damaged(format!("its header cannot be read ({})", text::clean(&why)))
    })?;
    stated.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let data = LENGTH + header.len();
    let mut end = 0;
    let mut tensors = Vec::with_capacity(stated.len());
    for (name, tensor) in stated {
        let (entry, next) = place(path, &name, &tensor, end, file.len() - data)?;
        end = next;
        let start = data + entry.start;
        tensors.push((name, Entry { start, ..entry }));
    }
    match file.len() - data - end {
        0 => Ok(tensors),
        more => Err(damaged(format!(
            "{more} bytes after the last tensor belong to no tensor"
        ))),
    }
}

/// Returns a tensor, which must begin where the previous one ended, and its end. Offsets count from the beginning of the data.
fn place(
    path: &Path,
    name: &str,
    stated: &Stated,
    end: usize,
    there: usize,
) -> Result<(Entry, usize), TensorError> {
    let shown = text::clean(name);
    let damaged = |what: String| Err(TensorError::damaged(path, what));
    let Some(dtype) = DType::from_safetensors(&stated.dtype) else {
        return Err(TensorError::Unsupported {
            path: path.into(),
            what: format!(
                "tensor {shown} is of type {}, which is not known",
                text::clean(&stated.dtype)
            ),
        });
    };
    let (from, to) = stated.data_offsets;
    let bytes = count(&stated.shape).and_then(|n| dtype.bytes(n));
    if bytes.is_none() || to.checked_sub(from) != bytes {
        return damaged(format!(
            "the bytes of tensor {shown} do not fit its shape and type"
        ));
    }
    if from < end {
        return damaged(format!("tensor {shown} overlaps another"));
    }
    if from > end {
        return damaged(format!(
            "{} bytes before tensor {shown} belong to no tensor",
            from - end
        ));
    }
    if to > there {
        return damaged(format!(
            "it is cut off: of tensor {shown} {} of {} bytes are there",
            there.saturating_sub(from),
            to - from
        ));
    }
    let info = Info {
        dtype,
        shape: stated.shape.clone(),
    };
    let entry = Entry {
        info,
        start: from,
        bytes: to - from,
    };
    Ok((entry, to))
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads an index of shards: the file of each tensor.
///
/// # Errors
/// When it cannot be read, or names a file outside its directory. Files in subdirectories are accepted.
pub fn index(path: &Path) -> Result<BTreeMap<String, String>, TensorError> {
    let text = file::read_text(path, LARGEST_INDEX).map_err(TensorError::io(path))?;
    let parsed = text::check_mark(text.as_bytes()).and_then(|()| serde_json::from_str(&text));
    let index: Index = parsed.map_err(|e| {
        let why = e.to_string();
        TensorError::damaged(path, format!("it cannot be read ({})", text::clean(&why)))
    })?;
    if let Some(name) = index.weight_map.values().find(|name| !is_within(name)) {
        let what = format!("it names {}, which is elsewhere", text::clean(name));
        return Err(TensorError::damaged(path, what));
    }
    Ok(index.weight_map)
}

/// Whether a file's name stays within the directory and its subdirectories.
fn is_within(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    let is_plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    parts.peek().is_some() && !name.ends_with(['/', '.']) && parts.all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn said(header: &str, data: usize) -> String {
        let file = file(header, data);
        match parse(Path::new("m.safetensors"), &file) {
            Ok(tensors) => format!("{tensors:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_byte_belongs_to_one_tensor() {
        let a = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        for (b, data, wanted) in [
            ("F16\",\"shape\":[2],\"data_offsets\":[8,12]}", 12, "\"b\""),
            (
                "F16\",\"shape\":[2],\"data_offsets\":[8,12]}",
                11,
                "cut off: of tensor b 3 of 4 bytes",
            ),
            (
                "F16\",\"shape\":[2],\"data_offsets\":[8,12]}",
                3,
                "cut off: of tensor a 3 of 8 bytes",
            ),
            (
                "F16\",\"shape\":[2],\"data_offsets\":[8,12]}",
                15,
                "3 bytes after the last",
            ),
            (
                "F16\",\"shape\":[2],\"data_offsets\":[6,10]}",
                10,
                "b overlaps another",
            ),
            (
                "F16\",\"shape\":[2],\"data_offsets\":[9,13]}",
                13,
                "1 bytes before tensor b",
            ),
            (
                "F16\",\"shape\":[3],\"data_offsets\":[8,12]}",
                12,
                "do not fit",
            ),
            (
                "F16\",\"shape\":[2],\"data_offsets\":[12,8]}",
                12,
                "do not fit",
            ),
            (
                "F4\",\"shape\":[3],\"data_offsets\":[8,9]}",
                9,
                "do not fit",
            ),
            (
                "F16\",\"shape\":[4294967296,4294967296],\"data_offsets\":[8,12]}",
                12,
                "do not fit",
            ),
            (
                "F16\",\"shape\":[-2],\"data_offsets\":[8,12]}",
                12,
                "cannot be read",
            ),
            (
                "Q9\u{1b}[2J\",\"shape\":[2],\"data_offsets\":[8,12]}",
                12,
                "cannot be read (control",
            ),
            (
                "Q9\\u001b[2J\",\"shape\":[2],\"data_offsets\":[8,12]}",
                12,
                "tensor b is of type Q9, which is not known",
            ),
        ] {
            let told = said(&format!("{{{a},\"b\":{{\"dtype\":\"{b}}}"), data);
            assert!(told.contains(wanted), "{b}: {told}");
        }
        assert!(said(&format!("{{{a},{a}}}"), 8).contains("a stands there twice"));
        assert!(said("{", 0).contains("cannot be read"));
        assert!(said(&"[".repeat(100_000), 0).contains("cannot be read"));
    }

    #[test]
    fn sizes_that_add_up_to_too_much_are_refused() {
        let size = 1usize << 60;
        let tensors: Vec<String> = (0..16)
            .map(|i| {
                let (from, to) = (i * (size - 1), (i + 1) * (size - 1));
                format!(
                    r#""{i}":{{"dtype":"U8","shape":[{}],"data_offsets":[{from},{to}]}}"#,
                    size - 1
                )
            })
            .collect();
        let told = said(&format!("{{{}}}", tensors.join(",")), 5);
        assert!(told.contains("of tensor 0 5 of"), "{told}");
    }

    #[test]
    fn an_index_with_a_byte_order_mark_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors.index.json");
        std::fs::write(&path, "\u{feff}{\"weight_map\": {}}").unwrap();
        let error = index(&path).unwrap_err().to_string();
        assert!(
            error.contains("it begins with a byte order mark"),
            "{error}"
        );
    }

    #[test]
    fn lengths_are_not_believed() {
        for length in [0u64, 1, 9, 99_999_999, 100_000_001, u64::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(b"{}");
            assert!(parse(Path::new("m"), &bytes).is_err(), "{length}");
        }
    }
}
