//! Writes tensors one at a time: the parts that both formats share, and safetensors.
//!
//! The `safetensors` crate is not used for writing: it needs all tensors in memory at once, and makes a file that only its owner
//! may read.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::dtype::count;
use super::encode::{Misfit, encode, is_written};
use super::output::check_space;
use super::safetensors::{LENGTH, METADATA};
use super::source::{INDEX, MODEL};
use super::{DType, TensorError};
use crate::file::Dir;
use crate::text;

/// Values that are encoded before they are written: four megabytes of f32, whole blocks of every type.
const CHUNK: usize = 1 << 20;

/// A tensor to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    /// Sizes of the dimensions, row-major.
    pub shape: Vec<usize>,
    pub dtype: DType,
}

/// Writes `model.safetensors` into a directory, usually [an output's](super::Output::content). More than `shard_bytes` of data are
/// written as `model-00001-of-0000N.safetensors` and `model.safetensors.index.json`. Everything is flushed to the disk.
///
/// `fill` is called once for each tensor and must set all of its values. Within a file the wider types come first, so that data
/// is aligned for readers; otherwise the order is the list's. An error of `fill` ends the writing and is returned; dropping the
/// output removes the files.
///
/// # Errors
/// When a name is there twice, a type is not one of F32, F16 and BF16, the disk is too small, writing fails, or a value
/// is not finite or does not fit its type.
pub fn save_safetensors<E: From<TensorError>>(
    dir: &Dir,
    specs: &[Spec],
    shard_bytes: u64,
    mut fill: impl FnMut(&Spec, &mut [f32]) -> Result<(), E>,
) -> Result<(), E> {
    let path = dir.path();
    let sizes = check(path, specs, |spec| spec.dtype)?;
    if let Some(spec) = specs.iter().find(|s| s.dtype == DType::Q8_0) {
        let what = "safetensors files have no Q8_0, write it as F16";
        return Err(TensorError::request(path, &spec.name, what).into());
    }
    let total = total(&sizes);
    check_space(path, total)?;
    let shards = divide(&sizes, shard_bytes);
    let files: Vec<(String, Vec<&Spec>)> = (1..)
        .zip(&shards)
        .map(|(i, shard)| {
            let name = match shards.len() {
                1 => MODEL.into(),
                n => format!("model-{i:05}-of-{n:05}.safetensors"),
            };
            let mut specs: Vec<&Spec> = specs[shard.clone()].iter().collect();
            specs.sort_by_key(|s| std::cmp::Reverse(s.dtype.block_bytes()));
            (name, specs)
        })
        .collect();
    let mut values = Vec::new();
    for (name, specs) in &files {
        let mut file = Sink::create(dir, name)?;
        file.write(&header(specs, Some(&[("format", "pt")])))?;
        for spec in specs {
            file.fill(spec, spec.dtype, &mut values, &mut fill)?;
        }
        file.finish()?;
    }
    if files.len() > 1 {
        let mut index = Sink::create(dir, INDEX)?;
        index.write(index_json(&files, total).as_bytes())?;
        index.finish()?;
    }
    Ok(())
}

/// Writes the bytes of tensors in memory as one safetensors file, without copying them. The wider types come first, then types
/// and tensors by name. `path` is the file's, for messages. The file is not flushed to the disk.
///
/// # Errors
/// When a name is there twice, bytes do not fit their shape and type, or writing fails.
pub fn write_safetensors<'v>(
    file: &File,
    path: &Path,
    metadata: Option<&[(&str, &str)]>,
    tensors: impl IntoIterator<Item = (Spec, &'v [u8])>,
) -> Result<(), TensorError> {
    let (specs, bytes): (Vec<Spec>, Vec<&[u8]>) = tensors.into_iter().unzip();
    let sizes = count_bytes(path, &specs, |spec| spec.dtype)?;
    let mut wrong = (0..specs.len()).filter(|&i| bytes[i].len() as u64 != sizes[i]);
    if let Some(i) = wrong.next() {
        return Err(misfit(path, &specs[i], bytes[i].len() as u64, sizes[i]));
    }
    stream_safetensors(file, path, metadata, &specs, |i, write| write(bytes[i]))
}

/// Writes a file as [`write_safetensors`] does, of tensors that need not be in memory together: `give` is called once for each
/// tensor with its index in the list, and provides its bytes in one or more pieces.
///
/// # Errors
/// As [`write_safetensors`], and when `give` fails.
pub fn stream_safetensors<E: From<TensorError>>(
    file: &File,
    path: &Path,
    metadata: Option<&[(&str, &str)]>,
    specs: &[Spec],
    mut give: impl FnMut(usize, &mut dyn FnMut(&[u8]) -> Result<(), TensorError>) -> Result<(), E>,
) -> Result<(), E> {
    let sizes = count_bytes(path, specs, |spec| spec.dtype)?;
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|&i| {
        let dtype = specs[i].dtype;
        let width = std::cmp::Reverse(dtype.block_bytes());
        (width, dtype.name(), &specs[i].name)
    });
    let sorted: Vec<&Spec> = order.iter().map(|&i| &specs[i]).collect();
    let mut file = Sink::of(file, path)?;
    file.write(&header(&sorted, metadata))?;
    for i in order {
        let before = file.written;
        give(i, &mut |bytes| file.write(bytes))?;
        let given = file.written - before;
        if given != sizes[i] {
            return Err(misfit(path, &specs[i], given, sizes[i]).into());
        }
    }
    Ok(file.flush()?)
}

fn misfit(path: &Path, spec: &Spec, given: u64, wanted: u64) -> TensorError {
    TensorError::request(
        path,
        &spec.name,
        format!("{given} bytes are not its {wanted}"),
    )
}

/// Checks that tensors can be written in the types that `stored` returns. Returns the bytes of each.
///
/// # Errors
/// When a type cannot be written, and as [`count_bytes`].
pub(super) fn check(
    path: &Path,
    specs: &[Spec],
    stored: impl Fn(&Spec) -> DType,
) -> Result<Vec<u64>, TensorError> {
    if let Some(spec) = specs.iter().find(|spec| !is_written(stored(spec))) {
        let what = "tensors are written as F32, F16, BF16 or Q8_0";
        return Err(TensorError::request(path, &spec.name, what));
    }
    count_bytes(path, specs, stored)
}

/// Returns the bytes of each tensor.
///
/// # Errors
/// When a name is there twice or a size cannot be counted.
fn count_bytes(
    path: &Path,
    specs: &[Spec],
    stored: impl Fn(&Spec) -> DType,
) -> Result<Vec<u64>, TensorError> {
    let mut seen = HashSet::new();
    let size = |spec: &Spec| {
        let request = |what: &str| Err(TensorError::request(path, &spec.name, what));
        if !seen.insert(spec.name.clone()) || spec.name == METADATA {
            return request("its name is taken");
        }
        match count(&spec.shape).and_then(|n| stored(spec).bytes(n)) {
            Some(bytes) => Ok(bytes as u64),
            None => request("its size does not fit its type"),
        }
    };
    specs.iter().map(size).collect()
}

/// Returns the sum of the bytes; the largest possible number on overflow.
pub(super) fn total(sizes: &[u64]) -> u64 {
    sizes.iter().fold(0, |sum, &n| sum.saturating_add(n))
}

/// Divides tensors into ranges of at most `most` bytes each. A larger tensor has a range of its own.
fn divide(sizes: &[u64], most: u64) -> Vec<std::ops::Range<usize>> {
    let (mut shards, mut from, mut bytes) = (Vec::new(), 0, 0u64);
    for (i, &size) in sizes.iter().enumerate() {
        if i > from && bytes.saturating_add(size) > most {
            shards.push(from..i);
            (from, bytes) = (i, 0);
        }
        bytes += size;
    }
    shards.push(from..sizes.len());
    shards
}

/// Returns length and JSON, padded so that the data begins at a multiple of eight.
fn header(specs: &[&Spec], metadata: Option<&[(&str, &str)]>) -> Vec<u8> {
    let mut tensors = Map::new();
    if let Some(metadata) = metadata {
        let texts = metadata.iter().map(|&(k, v)| (k.into(), v.into()));
        tensors.insert(METADATA.into(), Value::Object(texts.collect()));
    }
    let mut end = 0;
    for spec in specs {
        let from = end;
        // `count_bytes` has checked this product for overflow.
        end += spec.shape.iter().product::<usize>() * spec.dtype.block_bytes();
        let tensor = json!({
            "dtype": spec.dtype.name(),
            "shape": spec.shape,
            "data_offsets": [from, end],
        });
        tensors.insert(spec.name.clone(), tensor);
    }
    let mut json = Value::Object(tensors).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(LENGTH), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

fn index_json(files: &[(String, Vec<&Spec>)], total: u64) -> String {
    let files = files.iter();
    let map: BTreeMap<&str, &str> = files
        .flat_map(|(file, specs)| specs.iter().map(|s| (s.name.as_str(), file.as_str())))
        .collect();
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    format!("{index:#}\n")
}

/// A file that tensors are written to.
pub(super) struct Sink {
    path: PathBuf,
    file: BufWriter<File>,
    encoded: Vec<u8>,
    written: u64,
}

impl Sink {
    /// Makes a new file in a directory.
    fn create(dir: &Dir, name: &str) -> Result<Self, TensorError> {
        let path = dir.path_of(name);
        let file = dir.create_file(name).map_err(TensorError::io(&path))?;
        Self::of(&file, &path)
    }

    /// Writes into an open file; `path` is the file's, for messages.
    pub(super) fn of(file: &File, path: &Path) -> Result<Self, TensorError> {
        let file = file.try_clone().map_err(TensorError::io(path))?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::with_capacity(1 << 20, file),
            encoded: Vec::new(),
            written: 0,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), TensorError> {
        self.written += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(TensorError::io(&self.path))
    }

    /// Writes zeros up to a multiple of `alignment`.
    pub(super) fn pad(&mut self, alignment: usize) -> Result<(), TensorError> {
        let rest = self.written % alignment as u64;
        let missing = (alignment as u64 - rest) % alignment as u64;
        self.write(&vec![0; missing as usize])
    }

    /// Calls `fill` for a tensor's values and writes them as `dtype`. `values` is a buffer that is reused for all tensors.
    pub(super) fn fill<E: From<TensorError>>(
        &mut self,
        spec: &Spec,
        dtype: DType,
        values: &mut Vec<f32>,
        fill: &mut impl FnMut(&Spec, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        values.resize(spec.shape.iter().product(), 0.0);
        fill(spec, values)?;
        let mut encoded = std::mem::take(&mut self.encoded);
        for (i, chunk) in values.chunks(CHUNK).enumerate() {
            encode(dtype, chunk, &mut encoded)
                .map_err(|misfit| self.misfit(spec, dtype, i * CHUNK, &misfit))?;
            self.write(&encoded)?;
        }
        self.encoded = encoded;
        Ok(())
    }

    fn misfit(&self, spec: &Spec, dtype: DType, from: usize, misfit: &Misfit) -> TensorError {
        let (path, index, value) = (self.path.clone(), from + misfit.index, misfit.value);
        let name = text::clean(&spec.name).into_owned();
        if value.is_finite() {
            TensorError::DoesNotFit {
                path,
                name,
                index,
                value,
                dtype: dtype.name(),
            }
        } else {
            TensorError::NotFinite {
                path,
                name,
                index,
                value,
            }
        }
    }

    /// Passes the buffered bytes to the system.
    fn flush(&mut self) -> Result<(), TensorError> {
        self.file.flush().map_err(TensorError::io(&self.path))
    }

    /// Waits until the file is on the disk.
    pub(super) fn finish(mut self) -> Result<(), TensorError> {
        self.flush()?;
        let synced = self.file.get_ref().sync_all();
        synced.map_err(TensorError::io(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_what_fits_and_never_nothing() {
        let shards = |sizes: &[u64]| -> Vec<(usize, usize)> {
            let shards = divide(sizes, 8).into_iter();
            shards.map(|shard| (shard.start, shard.end)).collect()
        };
        assert_eq!(shards(&[4, 4, 9, 1, 1]), [(0, 2), (2, 3), (3, 5)]);
        assert_eq!(shards(&[9, 9]), [(0, 1), (1, 2)]);
        assert_eq!(shards(&[4, 4]), [(0, 2)]);
        assert_eq!(shards(&[]), [(0, 0)]);
    }

    /// The file is byte for byte that of the format's own library, for any order of the tensors.
    #[test]
    fn tensors_in_memory_become_the_librarys_file() {
        use safetensors::tensor::{Dtype, TensorView};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.safetensors");
        let weights: Vec<f32> = (0..15).map(|i| (i as f32).sin()).collect();
        let lists: [(&str, Dtype, &[usize], &[u8]); 5] = [
            (
                "b.weight",
                Dtype::F32,
                &[3, 5],
                bytemuck::cast_slice(&weights),
            ),
            ("nan", Dtype::F32, &[], &f32::NAN.to_le_bytes()),
            ("counts", Dtype::I32, &[2], &[1, 2, 3, 4, 5, 6, 7, 8]),
            ("half", Dtype::F16, &[1], &[1, 2]),
            ("a \"quoted\" name", Dtype::F32, &[0, 4], &[]),
        ];
        for metadata in [None, Some(&[][..]), Some(&[("format", "pt")][..])] {
            let views = lists.map(|(name, dtype, shape, bytes)| {
                let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
                (name, view)
            });
            let texts = metadata.map(|texts: &[(&str, &str)]| {
                let texts = texts.iter();
                texts.map(|&(k, v)| (k.into(), v.into())).collect()
            });
            let want = safetensors::serialize(views, texts).unwrap();
            let ours = lists.iter().rev().map(|&(name, dtype, shape, bytes)| {
                let dtype = match dtype {
                    Dtype::I32 => DType::I32,
                    Dtype::F16 => DType::F16,
                    _ => DType::F32,
                };
                let (name, shape) = (name.into(), shape.into());
                (Spec { name, shape, dtype }, bytes)
            });
            let file = File::create(&path).unwrap();
            write_safetensors(&file, &path, metadata, ours).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), want, "{metadata:?}");
        }
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let spec = || Spec {
            name: "w".into(),
            shape: vec![2],
            dtype: DType::F32,
        };
        let told = |tensors: Vec<(Spec, &[u8])>| {
            let path = dir.path().join("m");
            let file = File::create(&path).unwrap();
            let error = write_safetensors(&file, &path, None, tensors).unwrap_err();
            assert_eq!(file.metadata().unwrap().len(), 0);
            error.to_string()
        };
        let short = told(vec![(spec(), &[0; 7])]);
        assert!(
            short.ends_with("tensor w: 7 bytes are not its 8"),
            "{short}"
        );
        let twice = told(vec![(spec(), &[0; 8]), (spec(), &[0; 8])]);
        assert!(twice.ends_with("its name is taken"), "{twice}");
    }

    #[test]
    fn lists_that_make_no_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = Dir::open(dir.path()).unwrap();
        let spec = |name: &str, dtype, shape: &[usize]| Spec {
            name: name.into(),
            shape: shape.into(),
            dtype,
        };
        for (specs, wanted) in [
            (
                vec![spec("a", DType::F32, &[1]), spec("a", DType::F16, &[2])],
                "tensor a: its name is taken",
            ),
            (vec![spec(METADATA, DType::F32, &[1])], "its name is taken"),
            (vec![spec("q", DType::Q8_0, &[32])], "have no Q8_0"),
            (vec![spec("d", DType::F64, &[1])], "are written as F32"),
            (
                vec![spec("l", DType::F32, &[usize::MAX, 2])],
                "does not fit its type",
            ),
            (
                vec![spec("l", DType::F32, &[1 << 55])],
                "MB are needed: make room",
            ),
        ] {
            let fill = |_: &Spec, _: &mut [f32]| -> Result<(), TensorError> { Ok(()) };
            let told = save_safetensors(&open, &specs, 1 << 30, fill).unwrap_err();
            assert!(told.to_string().contains(wanted), "{told}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
