//! Files of token ids, recognised by their content: nanoGPT's (no header), llm.c's, lit-gpt's packed ones and FineWeb's
//! `.npy` shards. A sidecar `FILE.json` names the tokenizer of files that this program wrote.
//!
//! Headers are read by [`header`] from bytes alone; their sizes are compared with the file's length before anything is
//! mapped or allocated.

pub mod header;
mod sidecar;
mod writer;

use std::path::Path;

use memmap2::Mmap;

use super::{CorpusError, Tokenizer, Tokens};
use crate::file;
pub use header::{Format, Layout, Named};
pub use sidecar::{Sidecar, sidecar};
pub use writer::{LARGEST, Writer};

/// A mapped token file that has not been checked against a tokenizer.
pub struct Opened {
    map: Mmap,
    pub layout: Layout,
    pub side: Option<Sidecar>,
}

/// Maps a token file and reads its header and sidecar.
///
/// # Errors
/// When it cannot be read, is damaged, or its sidecar is another file's.
pub fn look(path: &Path) -> Result<Opened, CorpusError> {
    let fail = |what: String| CorpusError::TokenFile {
        path: path.into(),
        what,
    };
    let read = |source| CorpusError::Read {
        path: path.into(),
        source,
    };
    let side = Sidecar::read(path)?;
    let file = file::open(path).map_err(read)?;
    // SAFETY: the map is read only. If another process shortens the file meanwhile, this process ends, as with every
    // reader of mapped data; `data prepare` replaces files by renaming.
    let map = unsafe { Mmap::map(&file) }.map_err(read)?;
    let layout = header::layout(&map, Named::of(path)).map_err(fail)?;
    if side
        .as_ref()
        .is_some_and(|side| side.n_tokens != layout.n as u64)
    {
        return Err(fail(format!(
            "its sidecar {} belongs to another file; prepare the text again",
            sidecar(path).display()
        )));
    }
    Ok(Opened { map, layout, side })
}

/// Maps a token file and checks it against the tokenizer it is to be read with.
///
/// # Errors
/// When it cannot be read, is damaged, made by another tokenizer, or has ids outside the vocabulary.
pub fn open(path: &Path, tokenizer: &Tokenizer) -> Result<Tokens, CorpusError> {
    let opened = look(path)?;
    if let Some(side) = &opened.side {
        let fail = |what: String| CorpusError::TokenFile {
            path: path.into(),
            what,
        };
        side.made_by(tokenizer).map_err(fail)?;
    }
    below(path, opened, tokenizer.size())
}

/// Maps a token file whose ids must be below `size`, made by any tokenizer.
///
/// # Errors
/// When it cannot be read, is damaged, or has other ids.
pub fn open_below(path: &Path, size: usize) -> Result<Tokens, CorpusError> {
    below(path, look(path)?, size)
}

fn below(path: &Path, opened: Opened, size: usize) -> Result<Tokens, CorpusError> {
    let Opened { map, layout, .. } = opened;
    let Layout {
        offset, width, n, ..
    } = layout;
    let name = path.display().to_string();
    let outside = |(at, id)| CorpusError::Outside {
        name: name.clone(),
        at,
        id,
        size,
    };
    Tokens::mapped(map, offset, width, n, &name, size).map_err(outside)
}

impl Opened {
    /// Ids in order.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        let Layout {
            offset, width, n, ..
        } = self.layout;
        let bytes = &self.map[offset..offset + n * width.bytes()];
        bytes.chunks_exact(width.bytes()).map(|b| match *b {
            [a, b] => u32::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => unreachable!("two or four bytes"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanogpts_headerless_files_are_read_and_foreign_ids_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.bin");
        std::fs::write(&path, [5u16, 300].map(u16::to_le_bytes).concat()).unwrap();
        assert_eq!(open(&path, &Tokenizer::gpt2()).unwrap().get(1), 300);
        let error = open(&path, &Tokenizer::byte()).unwrap_err().to_string();
        assert!(
            error.contains("n.bin: token 1 is 300, outside the vocabulary of 257"),
            "{error}"
        );
        std::fs::write(&path, b"").unwrap();
        assert_eq!(open(&path, &Tokenizer::byte()).unwrap().len(), 0);
    }
}
