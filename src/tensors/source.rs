//! Reads tensors from a file or directory of any supported format.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};

use super::decode::{Failure, decode};
use super::{Entry, Info, TensorError, gguf, pickle, safetensors};
use crate::file::{self, Dir};
use crate::text;

/// The file of a directory that holds all tensors, and the index of shards.
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// An opened model: its headers have been read, and its data is mapped but not read.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    files: Vec<Mapped>,
    tensors: Vec<Tensor>,
    /// Indices into `tensors`.
    by_name: HashMap<String, usize>,
    metadata: Option<gguf::Metadata>,
}

#[derive(Debug)]
struct Mapped {
    path: PathBuf,
    map: Mmap,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    /// Index into `files`.
    file: usize,
    /// Whether an index of shards names it; `true` without an index.
    listed: bool,
    entry: Entry,
}

impl Source {
    /// Opens a Hugging Face directory (`model.safetensors`, or `model.safetensors.index.json` and shards), a safetensors
    /// file or a GGUF file. Whether the values are finite shows only when they are read.
    ///
    /// # Errors
    /// When it is not one of these, a pickle, damaged or cut off, or when a file cannot be read.
    pub fn open(path: &Path) -> Result<Self, TensorError> {
        if path.is_dir() {
            return Self::open_directory(path);
        }
        let file = Mapped::open(path)?;
        if file.map.starts_with(gguf::MAGIC) {
            let gguf::Header { metadata, tensors } = gguf::parse(path, &file.map)?;
            return Ok(Self::of(path, vec![file], tag(0, tensors), Some(metadata)));
        }
        if pickle::begins(&file.map) {
            return Err(TensorError::Pickle { path: path.into() });
        }
        if let Some(what) = gguf::stranger(&file.map) {
            return Err(TensorError::NotAModel {
                path: path.into(),
                what: what.into(),
            });
        }
        match safetensors::parse(path, &file.map) {
            Ok(tensors) => Ok(Self::of(path, vec![file], tag(0, tensors), None)),
            Err(_) if pickle::is_named(path) => Err(TensorError::Pickle { path: path.into() }),
            Err(error) => Err(error),
        }
    }

    /// Opens one safetensors file in an open directory, without following a link.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(dir: &Dir, name: &str) -> Result<Self, TensorError> {
        let path = dir.path_of(name);
        let file = dir.open_file(name).map_err(TensorError::io(&path))?;
        let file = Mapped::of(&file, &path)?;
        let tensors = safetensors::parse(&path, &file.map)?;
        Ok(Self::of(&path, vec![file], tag(0, tensors), None))
    }

    fn open_directory(dir: &Path) -> Result<Self, TensorError> {
        let (whole, index) = (dir.join(MODEL), dir.join(INDEX));
        if whole.exists() {
            let file = Mapped::open(&whole)?;
            let tensors = safetensors::parse(&whole, &file.map)?;
            return Ok(Self::of(dir, vec![file], tag(0, tensors), None));
        }
        if index.exists() {
            return Self::open_shards(dir, &index);
        }
        if let Some(name) = pickle::IN_DIRECTORY.iter().find(|n| dir.join(n).exists()) {
            return Err(TensorError::Pickle {
                path: dir.join(name),
            });
        }
        let there = std::fs::read_dir(dir)
            .map_err(TensorError::io(dir))?
            .flatten();
        let gguf = there
            .map(|e| e.path())
            .find(|p| p.extension().is_some_and(|e| e == "gguf"));
        Err(TensorError::NotAModel {
            path: dir.into(),
            what: match gguf {
                Some(file) => format!(
                    "it is a directory of GGUF files, name one: {}",
                    text::path(&file)
                ),
                None => format!("there is neither {MODEL} nor {INDEX} in this directory"),
            },
        })
    }

    fn open_shards(dir: &Path, index: &Path) -> Result<Self, TensorError> {
        let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (tensor, file) in safetensors::index(index)? {
            by_file.entry(file).or_default().push(tensor);
        }
        let (mut files, mut tensors): (Vec<Mapped>, Vec<Tensor>) = (Vec::new(), Vec::new());
        let mut places = Vec::new();
        for (name, wanted) in &by_file {
            let path = dir.join(name);
            let file = Mapped::open(&path)?;
            let there = safetensors::parse(&path, &file.map)?;
            let mut there = tag(files.len(), there);
            for tensor in &mut there {
                tensor.listed = wanted.binary_search(&tensor.name).is_ok();
            }
            tensors.extend(there);
            files.push(file);
            places.extend(wanted.iter().map(|tensor| (tensor, path.clone())));
        }
        // As in transformers, a tensor that the index leaves out exists if a listed shard holds it. Of two tensors with the same name, the
        // listed one counts, or else the last one.
        let mut kept: HashMap<&str, usize> = HashMap::new();
        for (i, tensor) in tensors.iter().enumerate() {
            let before = kept.get(tensor.name.as_str()).map(|&i| &tensors[i]);
            if before.is_none_or(|before| tensor.listed || !before.listed) {
                kept.insert(&tensor.name, i);
            }
        }
        if let Some((name, path)) = places
            .iter()
            .find(|(name, _)| !kept.contains_key(name.as_str()))
        {
            return Err(TensorError::NoTensor {
                path: path.clone(),
                name: text::clean(name).into_owned(),
            });
        }
        let names: HashSet<&String> = places.iter().map(|(name, _)| *name).collect();
        let kept: HashSet<usize> = kept.into_values().collect();
        let mut i = 0;
        tensors.retain_mut(|tensor| {
            // It may be in another shard than the index names.
            tensor.listed = names.contains(&tensor.name);
            i += 1;
            kept.contains(&(i - 1))
        });
        Ok(Self::of(dir, files, tensors, None))
    }

    fn of(
        path: &Path,
        files: Vec<Mapped>,
        tensors: Vec<Tensor>,
        metadata: Option<gguf::Metadata>,
    ) -> Self {
        let names = tensors.iter().map(|t| t.name.clone());
        Self {
            path: path.into(),
            files,
            by_name: names.zip(0..).collect(),
            tensors,
            metadata,
        }
    }

    /// Returns the path of the opened file or directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the tensors' names in the files' order, unchanged: [`text::sanitize`] them before showing.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let listed = self.tensors.iter().filter(|t| t.listed);
        listed.map(|t| t.name.as_str())
    }

    /// Returns the number of tensors, listed or not.
    pub fn count(&self) -> usize {
        self.tensors.len()
    }

    /// Returns the names of tensors that the index of shards leaves out. They can be read like the others.
    pub fn unlisted_names(&self) -> impl Iterator<Item = &str> {
        let others = self.tensors.iter().filter(|t| !t.listed);
        others.map(|t| t.name.as_str())
    }

    /// Returns type and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<&Info> {
        self.by_name.get(name).map(|&i| &self.tensors[i].entry.info)
    }

    /// Returns a GGUF file's metadata.
    pub fn gguf(&self) -> Option<&gguf::Metadata> {
        self.metadata.as_ref()
    }

    /// Returns the bytes of the tensors in their files.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.entry.bytes as u64).sum()
    }

    /// Fills `out` with a tensor's values, row-major, on rayon's threads.
    ///
    /// # Errors
    /// When the file lacks the tensor, its type is not read, `out` is of another length, or a value is not finite.
    pub fn read_into(&self, name: &str, out: &mut [f32]) -> Result<(), TensorError> {
        let (tensor, file) = self.find(name)?;
        let have = tensor.entry.info.len();
        if out.len() != have {
            let what = format!("it has {have} values, {} were asked for", out.len());
            return Err(TensorError::request(&file.path, name, what));
        }
        self.read(tensor, 0, out)
    }

    /// Fills `out` with the values of some rows. A row spans all dimensions after the first.
    ///
    /// # Errors
    /// As [`Self::read_into`], when there are fewer rows, and when a row is stored in part of a block.
    pub fn read_rows_into(
        &self,
        name: &str,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), TensorError> {
        let (tensor, file) = self.find(name)?;
        let info = &tensor.entry.info;
        let (have, row) = (info.shape.first().copied().unwrap_or(1), info.row());
        let request = |what: String| Err(TensorError::request(&file.path, name, what));
        if rows.end > have || rows.start > rows.end {
            return request(format!(
                "it has {have} rows, {} to {} were asked for",
                rows.start, rows.end
            ));
        }
        if out.len() != rows.len() * row {
            return request(format!(
                "{} rows have {} values, {} were asked for",
                rows.len(),
                rows.len() * row,
                out.len()
            ));
        }
        let block = info.dtype.block();
        if !(rows.start * row).is_multiple_of(block) || !out.len().is_multiple_of(block) {
            return request(format!("{} keeps {block} values together", info.dtype));
        }
        self.read(tensor, rows.start * row, out)
    }

    /// Whether a tensor's stored bytes equal `bytes`. They are compared a block at a time, so that the file need not be resident.
    ///
    /// # Errors
    /// When the file lacks the tensor.
    pub fn holds(&self, name: &str, bytes: &[u8]) -> Result<bool, TensorError> {
        let (tensor, _) = self.find(name)?;
        Ok(tensor.entry.bytes == bytes.len() && self.holds_at(name, 0, bytes)?)
    }

    /// Whether a tensor's stored bytes from byte `from` on equal `bytes`.
    ///
    /// # Errors
    /// When the file lacks the tensor.
    pub fn holds_at(&self, name: &str, from: usize, bytes: &[u8]) -> Result<bool, TensorError> {
        const BLOCK: usize = 4 << 20;
        let (tensor, file) = self.find(name)?;
        if from.saturating_add(bytes.len()) > tensor.entry.bytes {
            return Ok(false);
        }
        let mut at = tensor.entry.start + from;
        for wanted in bytes.chunks(BLOCK) {
            let same = file.map[at..at + wanted.len()] == *wanted;
            file.let_go(at, wanted.len());
            if !same {
                return Ok(false);
            }
            at += wanted.len();
        }
        Ok(true)
    }

    fn find(&self, name: &str) -> Result<(&Tensor, &Mapped), TensorError> {
        let Some(&i) = self.by_name.get(name) else {
            return Err(TensorError::NoTensor {
                path: self.path.clone(),
                name: text::clean(name).into_owned(),
            });
        };
        let tensor = &self.tensors[i];
        Ok((tensor, &self.files[tensor.file]))
    }

    /// Reads values from number `from` on; both ends must lie at the ends of blocks and within the tensor.
    fn read(&self, tensor: &Tensor, from: usize, out: &mut [f32]) -> Result<(), TensorError> {
        let file = &self.files[tensor.file];
        let dtype = tensor.entry.info.dtype;
        if !dtype.is_readable() {
            return Err(TensorError::request(
                &file.path,
                &tensor.name,
                format!(
                    "its type {dtype} is not read; convert it to F32, F16, BF16 or one of GGUF's Q4_0 to Q8_K"
                ),
            ));
        }
        let whole = |values: usize| values / dtype.block() * dtype.block_bytes();
        let start = tensor.entry.start + whole(from);
        let bytes = &file.map[start..start + whole(out.len())];
        let decoded = decode(dtype, bytes, out);
        file.let_go(start, bytes.len());
        decoded.map_err(|failure| match failure {
            Failure::NotFinite { index, value } => TensorError::NotFinite {
                path: file.path.clone(),
                name: text::clean(&tensor.name).into_owned(),
                index: from + index,
                value,
            },
            Failure::NotRead => TensorError::request(
                &file.path,
                &tensor.name,
                "its blocks cannot be turned into f32",
            ),
        })
    }
}

impl Mapped {
    fn open(path: &Path) -> Result<Self, TensorError> {
        let file = file::open(path).map_err(TensorError::io(path))?;
        Self::of(&file, path)
    }

    fn of(file: &File, path: &Path) -> Result<Self, TensorError> {
        // SAFETY: the map is read only. Another process that shortens the file meanwhile would end this one, as with
        // every reader of mapped data; this program replaces models by renaming.
        let map = unsafe { Mmap::map(file) }.map_err(TensorError::io(path))?;
        Ok(Self {
            path: path.into(),
            map,
        })
    }

    /// Releases the memory of large mapped parts of the file, so that a model that is read once is not resident twice, and one that is
    /// read a layer at a time is not resident at all. The system may keep the file in its cache.
    fn let_go(&self, start: usize, len: usize) {
        const LARGE: usize = 1 << 20;
        if len >= LARGE {
            // SAFETY: the map is of a file and read only; a page that is looked at again is read again. That it was not
            // given back is not an error.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, start, len)
            };
        }
    }
}

/// Adds the index of their file to tensors.
fn tag(file: usize, tensors: Vec<(String, Entry)>) -> Vec<Tensor> {
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, entry)| Tensor {
            name,
            file,
            listed: true,
            entry,
        })
        .collect()
}
