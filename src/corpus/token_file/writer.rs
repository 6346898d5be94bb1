//! Writes token files in llm.c's formats: u16 ids (magic 20240520, version 1), or u32 ids (20240801, version 7) for
//! vocabularies above 65536.
//!
//! The header counts tokens in an i32: a text of more becomes several files, `NAME_000000.bin`, `NAME_000001.bin`, ... ,
//! which are read together as `NAME_*.bin`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::header::{LLAMA_3, LLAMA_3_VERSION, LLM_C, LLM_C_BYTES, LLM_C_VERSION};
use super::{Sidecar, sidecar};
use crate::corpus::tokens::Width;
use crate::corpus::{CorpusError, Tokenizer};
use crate::file::{Dir, NewFile};

/// The most tokens in one file, which may be exceeded by part of a document.
pub const LARGEST: u64 = 2_000_000_000;

/// Appends ids to a file under a temporary name; [`Self::finish`] puts it in place.
pub struct Writer {
    path: PathBuf,
    tmp: PathBuf,
    /// The directory of both, and the temporary name in it.
    dir: Dir,
    part: OsString,
    file: File,
    width: Width,
    n: u64,
    bytes: Vec<u8>,
}

impl Writer {
    /// The name that `path` has while it is written.
    pub fn part(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        name.into()
    }

    /// Begins a file, or continues after the first `keep` tokens of one that was begun.
    ///
    /// A file to be continued must be a regular file with a single name. Otherwise the entry with the temporary name is
    /// removed; the target of a link is not touched.
    ///
    /// # Errors
    /// When it cannot be written, or has fewer tokens than are to be kept.
    pub fn open(path: &Path, width: Width, keep: u64) -> Result<Self, CorpusError> {
        let tmp = Self::part(path);
        let fail = |source| CorpusError::Write {
            path: tmp.clone(),
            source,
        };
        let (dir, part) = Dir::of_file(&tmp).map_err(fail)?;
        let mut file = if keep > 0 {
            dir.open_to_write(&part).map_err(fail)?
        } else {
            match dir.remove_file(&part) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
                _ => dir.create_file(&part).map_err(fail)?,
            }
        };
        let end = LLM_C_BYTES as u64 + keep * width.bytes() as u64;
        let have = file.metadata().map_err(fail)?.len();
        if keep > 0 && have < end {
            return Err(CorpusError::TokenFile {
                path: tmp.clone(),
                what: format!("{keep} tokens should be in it, there are fewer"),
            });
        }
        file.set_len(end).map_err(fail)?;
        file.seek(SeekFrom::Start(end)).map_err(fail)?;
        Ok(Self {
            path: path.into(),
            tmp,
            dir,
            part,
            file,
            width,
            n: keep,
            bytes: Vec::new(),
        })
    }

    /// The name that [`Self::finish`] gives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets another name.
    pub fn rename(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Number of tokens so far.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Adds ids, which the width must hold.
    pub fn push(&mut self, ids: &[u32]) -> Result<(), CorpusError> {
        self.n += ids.len() as u64;
        for id in ids {
            let id = id.to_le_bytes();
            self.bytes.extend_from_slice(&id[..self.width.bytes()]);
        }
        if self.bytes.len() >= 1 << 20 {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), CorpusError> {
        let result = self.file.write_all(&self.bytes);
        self.bytes.clear();
        result.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> CorpusError {
        CorpusError::Write {
            path: self.tmp.clone(),
            source,
        }
    }

    /// Flushes everything pushed so far to disk.
    pub fn sync(&mut self) -> Result<(), CorpusError> {
        self.write_out()?;
        self.file.sync_data().map_err(|e| self.failed(e))
    }

    /// Writes header and sidecar and renames the file to its name. Returns the number of tokens.
    pub fn finish(
        mut self,
        tokenizer: &Tokenizer,
        sources: Vec<String>,
    ) -> Result<u64, CorpusError> {
        self.write_out()?;
        let n = i32::try_from(self.n).map_err(|_| CorpusError::TokenFile {
            path: self.path.clone(),
            what: format!("{} tokens are more than one file can hold", self.n),
        })?;
        let (magic, version) = match self.width {
            Width::Two => (LLM_C, LLM_C_VERSION),
            Width::Four => (LLAMA_3, LLAMA_3_VERSION),
        };
        let side = Sidecar::new(tokenizer, self.n, sources);
        let (dir, part) = (&self.dir, &self.part);
        let (path, name) = (&self.path, self.path.file_name().unwrap_or_default());
        let write = |file: &mut File| -> std::io::Result<()> {
            file.seek(SeekFrom::Start(0))?;
            for word in [magic, version, n] {
                file.write_all(&word.to_le_bytes())?;
            }
            file.sync_all()?;
            let text = serde_json::to_string_pretty(&side)?;
            // The new sidecar gets its name last, so that a failure leaves the old pair unchanged.
            let mut beside = NewFile::create(&sidecar(path))?;
            beside.write_all((text + "\n").as_bytes())?;
            dir.rename(part, name)?;
            beside.commit()
        };
        write(&mut self.file).map_err(|source| CorpusError::Write {
            path: self.tmp.clone(),
            source,
        })?;
        Ok(self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        for width in [Width::Two, Width::Four] {
            let mut writer = Writer::open(&path, width, 0).unwrap();
            writer.push(&[1, 2, 256]).unwrap();
            writer.push(&[77]).unwrap();
            let sources = vec!["a.txt".into()];
            assert_eq!(writer.finish(&Tokenizer::byte(), sources).unwrap(), 4);
            let tokens = open(&path, &Tokenizer::byte()).unwrap();
            assert_eq!(
                (0..4).map(|i| tokens.get(i)).collect::<Vec<_>>(),
                [1, 2, 256, 77]
            );
        }
        let error = open(&path, &Tokenizer::gpt2()).unwrap_err().to_string();
        assert!(error.contains("made with the byte tokenizer"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
        let error = open(&path, &Tokenizer::byte()).unwrap_err().to_string();
        assert!(
            error.contains("announces 4 tokens, the file has 3"),
            "{error}"
        );
    }

    #[test]
    fn writing_goes_on_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let mut writer = Writer::open(&path, Width::Two, 0).unwrap();
        writer.push(&[1, 2, 3]).unwrap();
        writer.sync().unwrap();
        drop(writer);
        let mut writer = Writer::open(&path, Width::Two, 2).unwrap();
        writer.push(&[4]).unwrap();
        assert_eq!(writer.finish(&Tokenizer::byte(), vec![]).unwrap(), 3);
        let tokens = open(&path, &Tokenizer::byte()).unwrap();
        assert_eq!((tokens.get(1), tokens.get(2)), (2, 4));
        assert!(Writer::open(&path, Width::Two, 9).is_err());
    }

    #[test]
    fn nothing_is_written_through_what_was_planted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let precious = dir.path().join("precious");
        let plant = |at: &Path, kind: &str| match kind {
            "link" => std::os::unix::fs::symlink(&precious, at).unwrap(),
            "hard link" => std::fs::hard_link(&precious, at).unwrap(),
            _ => nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        };
        for kind in ["link", "hard link", "fifo"] {
            std::fs::write(&precious, vec![b'k'; 4096]).unwrap();
            plant(&Writer::part(&path), kind);
            // None of these can be continued.
            assert!(Writer::open(&path, Width::Two, 100).is_err(), "{kind}");
            // Begun again, what was planted is gone; so is what has the sidecar's name.
            plant(&sidecar(&path), kind);
            let mut writer = Writer::open(&path, Width::Two, 0).unwrap();
            writer.push(&[1, 2, 3]).unwrap();
            writer.finish(&Tokenizer::byte(), vec![]).unwrap();
            assert_eq!(open(&path, &Tokenizer::byte()).unwrap().len(), 3);
            assert_eq!(
                std::fs::read(&precious).unwrap(),
                vec![b'k'; 4096],
                "{kind}"
            );
            for file in [&path, &sidecar(&path)] {
                std::fs::remove_file(file).unwrap();
            }
        }
    }
}
