//! Writes GGUF version 3.

use std::fs::File;
use std::path::Path;

use super::{ALIGNMENT, ALIGNMENT_KEY, Array, DIMENSIONS, MAGIC, Value};
use crate::tensors::output::check_space;
use crate::tensors::save::{Sink, Spec, check, total};
use crate::tensors::{DType, TensorError};

const VERSION: u32 = 3;
/// Most bytes of a name: ggml keeps names in 64 bytes, of which the last is zero.
const LONGEST_NAME: usize = 63;
/// The key with the edition of ggml's blocks.
const QUANTIZATION_KEY: &str = "general.quantization_version";
const QUANTIZATION: u32 = 2;

/// Returns the type in which a tensor is stored. That is the requested type, except that Q8_0 with rows that do not fill complete
/// blocks becomes F16, or F32 for vectors, as in ggml.
pub fn stored_as(spec: &Spec) -> DType {
    let row = spec.shape.last().copied().unwrap_or(1);
    match spec.dtype {
        dtype if row.is_multiple_of(dtype.block()) => dtype,
        _ if spec.shape.len() < 2 => DType::F32,
        _ => DType::F16,
    }
}

/// Writes a GGUF file, usually [an output's](crate::tensors::Output::content), and flushes it to the disk. `path` is the
/// file's, for messages.
///
/// The metadata are written in their order, `general.alignment` (and `general.quantization_version` when there are
/// blocks) behind them unless they are there. `fill` is as in [`save_safetensors`](crate::tensors::save_safetensors);
/// tensors come in the list's order.
///
/// # Errors
/// When a key or name is there twice or a name is too long for ggml, a tensor has more than four dimensions, the disk is
/// too small, writing fails, or a value is not finite or does not fit its type.
pub fn save<E: From<TensorError>>(
    file: &File,
    path: &Path,
    metadata: &[(String, Value)],
    specs: &[Spec],
    mut fill: impl FnMut(&Spec, &mut [f32]) -> Result<(), E>,
) -> Result<(), E> {
    let sizes = check(path, specs, stored_as)?;
    for spec in specs {
        let what = if spec.name.len() > LONGEST_NAME {
            format!("GGUF names have at most {LONGEST_NAME} bytes")
        } else if spec.shape.len() > DIMENSIONS {
            format!("GGUF tensors have at most {DIMENSIONS} dimensions")
        } else {
            continue;
        };
        return Err(TensorError::request(path, &spec.name, what).into());
    }
    let metadata = complete(path, metadata, specs)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    check_space(parent.unwrap_or(Path::new(".")), total(&sizes))?;
    let mut file = Sink::of(file, path)?;
    file.write(&header(&metadata, specs, &sizes))?;
    file.pad(ALIGNMENT)?;
    let mut values = Vec::new();
    for spec in specs {
        file.fill(spec, stored_as(spec), &mut values, &mut fill)?;
        file.pad(ALIGNMENT)?;
    }
    file.finish()?;
    Ok(())
}

/// Adds the metadata that every file has.
fn complete(
    path: &Path,
    metadata: &[(String, Value)],
    specs: &[Spec],
) -> Result<Vec<(String, Value)>, TensorError> {
    let mut metadata = metadata.to_vec();
    let error = |key: &str, what: &str| TensorError::Metadata {
        path: path.into(),
        key: key.into(),
        what: what.into(),
    };
    for (i, (key, value)) in metadata.iter().enumerate() {
        if metadata[..i].iter().any(|(other, _)| other == key) {
            return Err(error(key, "is there twice"));
        }
        if key == ALIGNMENT_KEY && *value != Value::U32(ALIGNMENT as u32) {
            return Err(error(key, "is always written as 32"));
        }
    }
    let mut add = |key: &str, value: u32| {
        if !metadata.iter().any(|(other, _)| other == key) {
            metadata.push((key.into(), Value::U32(value)));
        }
    };
    add(ALIGNMENT_KEY, ALIGNMENT as u32);
    if specs.iter().any(|s| stored_as(s) == DType::Q8_0) {
        add(QUANTIZATION_KEY, QUANTIZATION);
    }
    Ok(metadata)
}

fn header(metadata: &[(String, Value)], specs: &[Spec], sizes: &[u64]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    for n in [specs.len(), metadata.len()] {
        out.extend((n as u64).to_le_bytes());
    }
    for (key, value) in metadata {
        put_text(&mut out, key);
        put_value(&mut out, value);
    }
    let mut offset = 0u64;
    for (spec, size) in specs.iter().zip(sizes) {
        put_text(&mut out, &spec.name);
        // Readers treat tensors without dimensions differently, so a single value is written as a vector of one.
        let one = [1];
        let shape = if spec.shape.is_empty() {
            &one[..]
        } else {
            &spec.shape
        };
        out.extend((shape.len() as u32).to_le_bytes());
        for &n in shape.iter().rev() {
            out.extend((n as u64).to_le_bytes());
        }
        let id = stored_as(spec).gguf_id().unwrap_or_default();
        out.extend(id.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += size.next_multiple_of(ALIGNMENT as u64);
    }
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Writes the type's number and the value, which [`super::header`] reads.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut put = |id: u32, bytes: &[u8]| {
        out.extend(id.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U8(v) => put(0, &v.to_le_bytes()),
        Value::I8(v) => put(1, &v.to_le_bytes()),
        Value::U16(v) => put(2, &v.to_le_bytes()),
        Value::I16(v) => put(3, &v.to_le_bytes()),
        Value::U32(v) => put(4, &v.to_le_bytes()),
        Value::I32(v) => put(5, &v.to_le_bytes()),
        Value::F32(v) => put(6, &v.to_le_bytes()),
        Value::Bool(v) => put(7, &[u8::from(*v)]),
        Value::U64(v) => put(10, &v.to_le_bytes()),
        Value::I64(v) => put(11, &v.to_le_bytes()),
        Value::F64(v) => put(12, &v.to_le_bytes()),
        Value::Str(v) => {
            put(8, &[]);
            put_text(out, v);
        }
        Value::Array(array) => {
            put(9, &[]);
            put_array(out, array);
        }
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let mut put = |id: u32, values: &mut dyn Iterator<Item = Vec<u8>>| {
        out.extend(id.to_le_bytes());
        out.extend((array.len() as u64).to_le_bytes());
        values.for_each(|bytes| out.extend(bytes));
    };
    macro_rules! numbers {
        ($id:expr, $values:expr) => {
            put($id, &mut $values.iter().map(|v| v.to_le_bytes().to_vec()))
        };
    }
    match array {
        Array::U8(v) => numbers!(0, v),
        Array::I8(v) => numbers!(1, v),
        Array::U16(v) => numbers!(2, v),
        Array::I16(v) => numbers!(3, v),
        Array::U32(v) => numbers!(4, v),
        Array::I32(v) => numbers!(5, v),
        Array::F32(v) => numbers!(6, v),
        Array::Bool(v) => put(7, &mut v.iter().map(|&b| vec![u8::from(b)])),
        Array::U64(v) => numbers!(10, v),
        Array::I64(v) => numbers!(11, v),
        Array::F64(v) => numbers!(12, v),
        Array::Str(v) => put(
            8,
            &mut v.iter().map(|text| {
                let mut bytes = Vec::with_capacity(8 + text.len());
                put_text(&mut bytes, text);
                bytes
            }),
        ),
    }
}
