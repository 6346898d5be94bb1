//! The files that tokens are written to: one, or several when there are more tokens than one holds.

use std::path::{Path, PathBuf};

use crate::corpus::token_file::Writer;
use crate::corpus::tokens::Width;
use crate::corpus::{CorpusError, Tokenizer};
use crate::file;

pub struct Output {
    out: PathBuf,
    width: Width,
    /// Number of tokens after which the next document goes to another file.
    most: u64,
    /// Tokens in the files that are full.
    full: Vec<u64>,
    writer: Writer,
}

impl Output {
    /// Begins `out`, or continues after files with `shards` tokens.
    pub fn open(out: &Path, width: Width, most: u64, shards: &[u64]) -> Result<Self, CorpusError> {
        let (last, full) = shards.split_last().unwrap_or((&0, &[]));
        // Files that an earlier call has begun after the place to continue from.
        let later = (full.len() + 1..).map(|i| Writer::part(&shard(out, i)));
        for part in later {
            if file::remove(&part).is_err() {
                break;
            }
        }
        Ok(Self {
            out: out.into(),
            width,
            most,
            full: full.to_vec(),
            writer: Writer::open(&shard(out, full.len()), width, *last)?,
        })
    }

    /// Number of tokens in all.
    pub fn n(&self) -> u64 {
        self.full.iter().sum::<u64>() + self.writer.n()
    }

    pub fn push(&mut self, ids: &[u32]) -> Result<(), CorpusError> {
        self.writer.push(ids)
    }

    /// Begins the next file when this one is full.
    pub fn end_document(&mut self) -> Result<(), CorpusError> {
        if self.writer.n() >= self.most {
            self.writer.sync()?;
            self.full.push(self.writer.n());
            self.writer = Writer::open(&shard(&self.out, self.full.len()), self.width, 0)?;
        }
        Ok(())
    }

    /// Flushes every token so far to disk.
    pub fn sync(&mut self) -> Result<(), CorpusError> {
        self.writer.sync()
    }

    /// Returns the tokens in each file.
    pub fn shards(&self) -> Vec<u64> {
        [&self.full[..], &[self.writer.n()]].concat()
    }

    /// Moves the files into place, and returns their paths.
    pub fn finish(
        mut self,
        tokenizer: &Tokenizer,
        inputs: &[String],
    ) -> Result<Vec<PathBuf>, CorpusError> {
        self.sync()?;
        let shards = self.shards();
        if shards.len() > 1 && shards.last() == Some(&0) {
            self.remove();
        }
        let several = shards.len() > 1 && shards[1] > 0;
        let mut files = Vec::new();
        for (i, n) in shards
            .into_iter()
            .enumerate()
            .filter(|&(i, n)| i == 0 || n > 0)
        {
            let mut writer = Writer::open(&shard(&self.out, i), self.width, n)?;
            if several && i == 0 {
                writer.rename(numbered(&self.out, 0));
            }
            files.push(writer.path().to_path_buf());
            writer.finish(tokenizer, inputs.to_vec())?;
        }
        Ok(files)
    }

    /// Removes the file that is being written.
    pub fn remove(&self) {
        // A file that stays is useless but harmless.
        let _ = file::remove(&Writer::part(self.writer.path()));
    }
}

/// The first file has the output's own name as long as it may be the only one.
fn shard(out: &Path, i: usize) -> PathBuf {
    if i == 0 { out.into() } else { numbered(out, i) }
}

/// `NAME_000001.bin`.
fn numbered(out: &Path, i: usize) -> PathBuf {
    let mut name = out.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("_{i:06}."));
    name.push(out.extension().unwrap_or_default());
    out.with_file_name(name)
}
