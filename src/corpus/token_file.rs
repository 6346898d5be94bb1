//! Token files: llm.c's header (256 little-endian i32: magic 20240520, version 1, number of tokens), then u16 ids; and
//! nanoGPT's, which have no header. A sidecar `FILE.json` says which tokenizer made the ids.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::{CorpusError, Tokenizer, Tokens};

const MAGIC: i32 = 20_240_520;
const VERSION: i32 = 1;
const HEADER_BYTES: usize = 256 * 4;

/// What the sidecar tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    pub tokenizer: String,
    pub vocab: usize,
    pub n_tokens: u64,
    pub sources: Vec<String>,
}

/// The sidecar's path.
pub fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Maps a token file and checks it against the tokenizer it is to be read with.
pub fn open(path: &Path, tokenizer: Tokenizer) -> Result<Tokens, CorpusError> {
    let fail = |what: String| CorpusError::TokenFile {
        path: path.into(),
        what,
    };
    let mut promised = None;
    if let Ok(text) = std::fs::read_to_string(sidecar(path)) {
        let side: Sidecar = serde_json::from_str(&text).map_err(|e| {
            fail(format!(
                "its sidecar {} is damaged: {e}",
                sidecar(path).display()
            ))
        })?;
        if side.tokenizer != tokenizer.name() {
            return Err(fail(format!(
                "it was made with the {} tokenizer, but data.tokenizer is {}",
                side.tokenizer,
                tokenizer.name()
            )));
        }
        promised = Some(side.n_tokens);
    }
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    // SAFETY: the map is read only. Another process that shortens the file meanwhile would end this one, as with every
    // reader of mapped data; `data prepare` replaces files by renaming.
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    let (offset, n) = extent(&map).map_err(fail)?;
    if promised.is_some_and(|promised| promised != n as u64) {
        return Err(fail(format!(
            "its sidecar {} belongs to another file; prepare the text again",
            sidecar(path).display()
        )));
    }
    let tokens = Tokens::mapped(map, offset, n);
    if let Some((i, id)) = tokens.first_outside(tokenizer.size()) {
        return Err(fail(format!(
            "token {i} is {id}, outside the {} tokenizer's {} ids",
            tokenizer.name(),
            tokenizer.size()
        )));
    }
    Ok(tokens)
}

/// Where the ids begin and how many there are.
fn extent(bytes: &[u8]) -> Result<(usize, usize), String> {
    let word = |i: usize| -> Option<i32> {
        let bytes = bytes.get(4 * i..4 * i + 4)?;
        Some(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if word(0) != Some(MAGIC) {
        if !bytes.len().is_multiple_of(2) {
            return Err(format!(
                "{} bytes are no whole number of u16 tokens",
                bytes.len()
            ));
        }
        return Ok((0, bytes.len() / 2));
    }
    if bytes.len() < HEADER_BYTES {
        return Err("it ends within its header".into());
    }
    if word(1) != Some(VERSION) {
        return Err(format!("version {} is not known", word(1).unwrap_or(0)));
    }
    let n = word(2).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let have = (bytes.len() - HEADER_BYTES) / 2;
    if have < n {
        return Err(format!(
            "it is cut off: the header tells of {n} tokens, there are {have}"
        ));
    }
    Ok((HEADER_BYTES, n))
}

/// Writes a token file piece by piece under a temporary name; [`Self::finish`] puts it in place.
pub struct Writer {
    path: PathBuf,
    tmp: PathBuf,
    file: BufWriter<File>,
    n: u64,
}

impl Writer {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self, CorpusError> {
        let mut tmp = path.as_os_str().to_owned();
        tmp.push(".writing");
        let tmp = PathBuf::from(tmp);
        let fail = |source| CorpusError::Write {
            path: tmp.clone(),
            source,
        };
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&tmp).map_err(fail)?);
        file.write_all(&[0; HEADER_BYTES]).map_err(fail)?;
        Ok(Self {
            path: path.into(),
            tmp,
            file,
            n: 0,
        })
    }

    /// Adds ids.
    pub fn push(&mut self, ids: &[u16]) -> Result<(), CorpusError> {
        self.n += ids.len() as u64;
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        self.file
            .write_all(&bytes)
            .map_err(|source| CorpusError::Write {
                path: self.tmp.clone(),
                source,
            })
    }

    /// Writes header and sidecar and renames the file to its name. Returns the number of tokens.
    pub fn finish(
        mut self,
        tokenizer: Tokenizer,
        sources: Vec<String>,
    ) -> Result<u64, CorpusError> {
        let result = self.seal(tokenizer, sources);
        if result.is_err() {
            let _ = std::fs::remove_file(&self.tmp);
        }
        result.map(|()| self.n)
    }

    fn seal(&mut self, tokenizer: Tokenizer, sources: Vec<String>) -> Result<(), CorpusError> {
        let n = i32::try_from(self.n).map_err(|_| CorpusError::TokenFile {
            path: self.path.clone(),
            what: format!(
                "{} tokens are more than one file can hold; split the text",
                self.n
            ),
        })?;
        let tmp = self.tmp.clone();
        let fail = |source| CorpusError::Write {
            path: tmp.clone(),
            source,
        };
        self.file.flush().map_err(fail)?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        for word in [MAGIC, VERSION, n] {
            file.write_all(&word.to_le_bytes()).map_err(fail)?;
        }
        file.sync_all().map_err(fail)?;
        let side = Sidecar {
            tokenizer: tokenizer.name().into(),
            vocab: tokenizer.size(),
            n_tokens: self.n,
            sources,
        };
        let text = serde_json::to_string_pretty(&side).map_err(|e| fail(e.into()))?;
        // The new sidecar waits beside its place, so that a failure leaves the old pair as it was.
        let beside = sidecar(&self.tmp);
        std::fs::write(&beside, text + "\n").map_err(fail)?;
        std::fs::rename(&self.tmp, &self.path)
            .and_then(|()| std::fs::rename(&beside, sidecar(&self.path)))
            .map_err(fail)
    }

    /// Removes what was written so far.
    pub fn abandon(self) {
        let _ = std::fs::remove_file(&self.tmp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let mut writer = Writer::create(&path).unwrap();
        writer.push(&[1, 2, 256]).unwrap();
        writer.push(&[77]).unwrap();
        assert_eq!(
            writer
                .finish(Tokenizer::Byte, vec!["a.txt".into()])
                .unwrap(),
            4
        );
        let tokens = open(&path, Tokenizer::Byte).unwrap();
        assert_eq!(
            (0..4).map(|i| tokens.get(i)).collect::<Vec<_>>(),
            [1, 2, 256, 77]
        );

        let error = open(&path, Tokenizer::Gpt2).unwrap_err().to_string();
        assert!(error.contains("made with the byte tokenizer"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
        let error = open(&path, Tokenizer::Byte).unwrap_err().to_string();
        assert!(error.contains("tells of 4 tokens, there are 3"), "{error}");
    }

    #[test]
    fn nanogpts_headerless_files_are_read_and_foreign_ids_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.bin");
        std::fs::write(&path, [5u16, 300].map(u16::to_le_bytes).concat()).unwrap();
        assert_eq!(open(&path, Tokenizer::Gpt2).unwrap().get(1), 300);
        let error = open(&path, Tokenizer::Byte).unwrap_err().to_string();
        assert!(error.contains("token 1 is 300"), "{error}");
    }
}
