//! Parses a file's header strictly: every count is compared with the remaining bytes before it is used.

use std::collections::HashSet;
use std::path::Path;

use super::cursor::{Cursor, Number};
use super::{ALIGNMENT, ALIGNMENT_KEY, Array, DIMENSIONS, MAGIC, Metadata, Value};
use crate::tensors::dtype::count;
use crate::tensors::{DType, Entry, Info, TensorError};
use crate::text;

/// Most bytes of metadata and tensor descriptions together; the largest vocabularies take about ten megabytes.
const LARGEST_HEADER: usize = 100_000_000;
/// Fewest bytes of a key with its value, and of a tensor's description, in any version.
const KEY_BYTES: usize = 4 + 4 + 1;
const TENSOR_BYTES: usize = 4 + 4 + 4 + 8;
/// Most keys, and most tensors: memory for them is reserved before they are read.
const MOST: usize = 1 << 20;
/// The key with the number of files that a model was split into.
const SPLIT_KEY: &str = "split.count";

/// The parsed header.
pub struct Header {
    pub metadata: Metadata,
    pub tensors: Vec<(String, Entry)>,
}

/// Returns an explanation for a file of a format before GGUF; `None` for any other file.
pub fn stranger(beginning: &[u8]) -> Option<&'static str> {
    let old = [b"lmgg", b"tjgg", b"algg", b"fmgg"];
    let is_old = old.iter().any(|magic| beginning.starts_with(*magic));
    is_old.then_some(
        "it is a GGML file from before GGUF; convert the model again, to GGUF or safetensors",
    )
}

/// Parses the header of a mapped file and checks that every tensor lies within it.
///
/// # Errors
/// When the file is damaged or cut off, has another version or byte order, is one part of several, or holds a tensor of an
/// unknown type.
pub fn parse(path: &Path, file: &[u8]) -> Result<Header, TensorError> {
    let head = &file[..file.len().min(LARGEST_HEADER)];
    let mut reader = Reader {
        path,
        cursor: Cursor::new(head),
        is_cut: head.len() == file.len(),
        v1: false,
    };
    reader.version()?;
    let tensors = reader.entries("tensors", TENSOR_BYTES)?;
    let keys = reader.entries("metadata keys", KEY_BYTES)?;
    let metadata = reader.metadata(keys)?;
    check_whole(path, &metadata)?;
    let alignment = alignment(path, &metadata)?;
    let stated = reader.tensors(tensors)?;
    // The header is padded before the first byte of data. A file without data need not have the padding.
    let data = reader.cursor.position().next_multiple_of(alignment);
    let tensors = place(path, stated, data, alignment, file.len())?;
    Ok(Header { metadata, tensors })
}

struct Stated {
    name: String,
    info: Info,
    offset: u64,
    bytes: usize,
}

struct Reader<'b> {
    path: &'b Path,
    cursor: Cursor<'b>,
    /// Whether the bytes in `cursor` end at the end of the file.
    is_cut: bool,
    /// Whether the version is 1, in which lengths and dimensions have 32 bits instead of 64.
    v1: bool,
}

impl Reader<'_> {
    fn damaged(&self, what: impl Into<String>) -> TensorError {
        TensorError::damaged(self.path, what)
    }

    fn end(&self) -> TensorError {
        if self.is_cut {
            self.damaged("it is cut off within its header")
        } else {
            self.damaged(format!("its header has more than {LARGEST_HEADER} bytes"))
        }
    }

    fn number<T: Number>(&mut self) -> Result<T, TensorError> {
        T::read(&mut self.cursor).ok_or_else(|| self.end())
    }

    fn version(&mut self) -> Result<(), TensorError> {
        self.cursor.take(MAGIC.len()).ok_or_else(|| self.end())?;
        let version: u32 = self.number()?;
        self.v1 = version == 1;
        let what = match version {
            1..=3 => return Ok(()),
            v if v.swap_bytes() <= 3 => {
                "it is big-endian; only little-endian files are read, convert it with gguf-convert-endian".into()
            }
            v => format!("GGUF version {v} is not known; versions 1 to 3 are read"),
        };
        Err(TensorError::Unsupported {
            path: self.path.into(),
            what,
        })
    }

    /// Reads a length of 32 or 64 bits.
    fn length(&mut self) -> Result<u64, TensorError> {
        if self.v1 {
            self.number::<u32>().map(u64::from)
        } else {
            self.number()
        }
    }

    /// Reads a number of items, and checks that the rest of the file can hold them at `each` bytes at least.
    fn count(&mut self, of: &str, each: usize) -> Result<usize, TensorError> {
        let n = self.length()?;
        let most = self.cursor.left() / each;
        match usize::try_from(n) {
            Ok(n) if n <= most => Ok(n),
            _ => Err(self.damaged(format!(
                "its header announces {n} {of}, for which it is too short"
            ))),
        }
    }

    /// Reads a number of keys or tensors.
    fn entries(&mut self, of: &str, each: usize) -> Result<usize, TensorError> {
        match self.count(of, each)? {
            n if n <= MOST => Ok(n),
            n => Err(self.damaged(format!("its header announces {n} {of}, more than {MOST}"))),
        }
    }

    fn bytes(&mut self) -> Result<&[u8], TensorError> {
        let n = self.count("bytes of text", 1)?;
        // The length was already compared with the remaining bytes.
        self.cursor.take(n).ok_or_else(|| self.end())
    }

    /// Reads a key or a tensor's name.
    fn name(&mut self, of: &str) -> Result<String, TensorError> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|e| {
            let shown = String::from_utf8_lossy(e.as_bytes());
            self.damaged(format!("the {of} {} is not UTF-8", text::clean(&shown)))
        })
    }

    fn text(&mut self) -> Result<String, TensorError> {
        let bytes = self.bytes()?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn metadata(&mut self, keys: usize) -> Result<Metadata, TensorError> {
        let mut entries: Vec<(String, Value)> = Vec::with_capacity(keys);
        let mut seen = HashSet::with_capacity(keys);
        for _ in 0..keys {
            let key = self.name("metadata key")?;
            if !seen.insert(key.clone()) {
                let what = format!("metadata key {} stands there twice", text::clean(&key));
                return Err(self.damaged(what));
            }
            let value = self.value(&key)?;
            entries.push((key, value));
        }
        Ok(Metadata::new(self.path, entries))
    }

    fn value(&mut self, key: &str) -> Result<Value, TensorError> {
        Ok(match self.number::<u32>()? {
            0 => Value::U8(self.number()?),
            1 => Value::I8(self.number()?),
            2 => Value::U16(self.number()?),
            3 => Value::I16(self.number()?),
            4 => Value::U32(self.number()?),
            5 => Value::I32(self.number()?),
            6 => Value::F32(self.number()?),
            7 => Value::Bool(self.truth(key)?),
            8 => Value::Str(self.text()?),
            9 => Value::Array(self.array(key)?),
            10 => Value::U64(self.number()?),
            11 => Value::I64(self.number()?),
            12 => Value::F64(self.number()?),
            other => return Err(self.bad_type(key, other)),
        })
    }

    fn bad_type(&self, key: &str, found: u32) -> TensorError {
        let key = text::clean(key);
        self.damaged(match found {
            9 => format!("metadata key {key} is an array of arrays, which is not supported"),
            _ => format!("metadata key {key} is of type {found}, which is not known"),
        })
    }

    fn truth(&mut self, key: &str) -> Result<bool, TensorError> {
        match self.number::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.damaged(format!(
                "metadata key {} is {other}, neither true nor false",
                text::clean(key)
            ))),
        }
    }

    fn array(&mut self, key: &str) -> Result<Array, TensorError> {
        Ok(match self.number::<u32>()? {
            0 => Array::U8(self.numbers()?),
            1 => Array::I8(self.numbers()?),
            2 => Array::U16(self.numbers()?),
            3 => Array::I16(self.numbers()?),
            4 => Array::U32(self.numbers()?),
            5 => Array::I32(self.numbers()?),
            6 => Array::F32(self.numbers()?),
            7 => {
                let n = self.count("truth values", 1)?;
                Array::Bool((0..n).map(|_| self.truth(key)).collect::<Result<_, _>>()?)
            }
            8 => {
                let n = self.count("texts", if self.v1 { 4 } else { 8 })?;
                Array::Str((0..n).map(|_| self.text()).collect::<Result<_, _>>()?)
            }
            10 => Array::U64(self.numbers()?),
            11 => Array::I64(self.numbers()?),
            12 => Array::F64(self.numbers()?),
            other => return Err(self.bad_type(key, other)),
        })
    }

    fn numbers<T: Number>(&mut self) -> Result<Vec<T>, TensorError> {
        let n = self.count("numbers", T::BYTES)?;
        (0..n).map(|_| self.number()).collect()
    }

    fn tensors(&mut self, n: usize) -> Result<Vec<Stated>, TensorError> {
        let mut tensors = Vec::with_capacity(n);
        let mut seen = HashSet::with_capacity(n);
        for _ in 0..n {
            let tensor = self.tensor()?;
            if !seen.insert(tensor.name.clone()) {
                let what = format!("tensor {} stands there twice", text::clean(&tensor.name));
                return Err(self.damaged(what));
            }
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    fn tensor(&mut self) -> Result<Stated, TensorError> {
        let name = self.name("tensor's name")?;
        let shown = text::clean(&name).into_owned();
        let dimensions = self.number::<u32>()?;
        if dimensions as usize > DIMENSIONS {
            let what =
                format!("tensor {shown} has {dimensions} dimensions, more than {DIMENSIONS}");
            return Err(self.damaged(what));
        }
        let mut shape = Vec::with_capacity(DIMENSIONS);
        for _ in 0..dimensions {
            let n = self.length()?;
            let n = usize::try_from(n);
            shape.push(n.map_err(|_| self.damaged(format!("tensor {shown} is too large")))?);
        }
        shape.reverse();
        let id = self.number::<u32>()?;
        let Some(dtype) = DType::from_gguf(id) else {
            return Err(TensorError::Unsupported {
                path: self.path.into(),
                what: format!(
                    "tensor {shown} is of type {id}, which is not known; quantize the model again, for example to Q8_0"
                ),
            });
        };
        // Blocks must not cross the end of a row.
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(dtype.block()) {
            return Err(self.damaged(format!(
                "rows of tensor {shown} have {row} values, which is not a multiple of {dtype}'s block size {}",
                dtype.block()
            )));
        }
        let bytes = count(&shape).and_then(|n| dtype.bytes(n));
        let bytes = bytes.ok_or_else(|| self.damaged(format!("tensor {shown} is too large")))?;
        Ok(Stated {
            offset: self.number()?,
            info: Info { dtype, shape },
            name,
            bytes,
        })
    }
}

fn check_whole(path: &Path, metadata: &Metadata) -> Result<(), TensorError> {
    let parts = metadata.optional(SPLIT_KEY, Metadata::u64)?.unwrap_or(1);
    if parts <= 1 {
        return Ok(());
    }
    Err(TensorError::Unsupported {
        path: path.into(),
        what: format!(
            "it is one of {parts} parts of a model; put them together with llama-gguf-split --merge FIRST OUT"
        ),
    })
}

fn alignment(path: &Path, metadata: &Metadata) -> Result<usize, TensorError> {
    let alignment = metadata.optional(ALIGNMENT_KEY, Metadata::u32)?;
    let alignment = alignment.map_or(ALIGNMENT, |n| n as usize);
    if alignment.is_power_of_two() {
        return Ok(alignment);
    }
    let what = format!("its tensors' alignment is {alignment}, no power of two");
    Err(TensorError::damaged(path, what))
}

/// Returns the tensors in the header's order. Checks that each lies within the file, and that they do not overlap.
fn place(
    path: &Path,
    stated: Vec<Stated>,
    data: usize,
    alignment: usize,
    file: usize,
) -> Result<Vec<(String, Entry)>, TensorError> {
    let damaged = |what: String| Err(TensorError::damaged(path, what));
    let mut entries = Vec::with_capacity(stated.len());
    for tensor in stated {
        let name = text::clean(&tensor.name);
        let start = usize::try_from(tensor.offset).ok();
        let start = start.and_then(|offset| data.checked_add(offset));
        let Some((start, end)) = start.and_then(|s| Some((s, s.checked_add(tensor.bytes)?))) else {
            return damaged(format!("tensor {name} begins far behind the end"));
        };
        if !(start - data).is_multiple_of(alignment) {
            return damaged(format!(
                "tensor {name} begins at {}, no multiple of {alignment}",
                tensor.offset
            ));
        }
        if end > file {
            return damaged(format!(
                "it is cut off: of tensor {name} {} of {} bytes are there",
                file.saturating_sub(start),
                tensor.bytes
            ));
        }
        let entry = Entry {
            info: tensor.info,
            start,
            bytes: tensor.bytes,
        };
        entries.push((tensor.name, entry));
    }
    let mut by_place: Vec<&(String, Entry)> = entries.iter().filter(|(_, e)| e.bytes > 0).collect();
    by_place.sort_by_key(|(_, entry)| entry.start);
    for pair in by_place.windows(2) {
        if pair[0].1.start + pair[0].1.bytes > pair[1].1.start {
            let (a, b) = (text::clean(&pair[0].0), text::clean(&pair[1].0));
            return damaged(format!("tensors {a} and {b} overlap"));
        }
    }
    Ok(entries)
}
