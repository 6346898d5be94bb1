//! What a preparation has done so far, written beside its output as `OUT.part.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::corpus::token_file::{Writer, sidecar};
use crate::corpus::{CorpusError, Tokenizer};
use crate::file;

/// Most bytes of a state file, which names the inputs.
const LARGEST: u64 = 64 << 20;
/// Another way to cut documents, or another meaning of a field, is another version.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    tokenizer: String,
    inputs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    val_share: Option<f64>,
    /// Parts of documents that are encoded and written.
    pub pieces: u64,
    /// Bytes of text in them.
    pub bytes: u64,
    /// BLAKE3 of them.
    pub hash: String,
    pub documents: u64,
    /// Whether the last part ended its file and the end of text after it is written.
    pub closed: bool,
    /// Tokens in each file begun.
    pub train: Vec<u64>,
    pub val: Vec<u64>,
}

impl State {
    /// Nothing is done.
    pub fn new(tokenizer: &Tokenizer, inputs: &[String], val_share: Option<f64>) -> Self {
        Self {
            version: VERSION,
            tokenizer: tokenizer.fingerprint().into(),
            inputs: inputs.to_vec(),
            val_share,
            pieces: 0,
            bytes: 0,
            hash: String::new(),
            documents: 0,
            closed: false,
            train: Vec::new(),
            val: Vec::new(),
        }
    }

    /// Where the state of `out` is.
    pub fn path(out: &Path) -> PathBuf {
        sidecar(&Writer::part(out))
    }

    /// What an earlier call for `out` has left.
    ///
    /// # Errors
    /// When it is damaged, or that call was about something else than `fresh`.
    pub fn read(out: &Path, fresh: &Self) -> Result<Option<Self>, CorpusError> {
        let path = Self::path(out);
        let bytes = match file::read_bytes(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CorpusError::Read { path, source }),
        };
        let unlike = |what: &str| CorpusError::Unlike {
            path: path.clone(),
            what: what.into(),
        };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|e| unlike(&format!("it is damaged: {e}")))?;
        if state.version != fresh.version {
            return Err(unlike("it is of another version of heirloom"));
        }
        if state.tokenizer != fresh.tokenizer {
            return Err(unlike("this preparation was begun with another tokenizer"));
        }
        if state.inputs != fresh.inputs || state.val_share != fresh.val_share {
            return Err(unlike("this preparation was begun with other inputs"));
        }
        Ok(Some(state))
    }

    /// Replaces what is written.
    pub fn write(&self, out: &Path) -> Result<(), CorpusError> {
        let path = Self::path(out);
        let write = || file::replace(&path, &serde_json::to_vec(self)?);
        write().map_err(|source| CorpusError::Write {
            path: path.clone(),
            source,
        })
    }

    pub fn remove(out: &Path) {
        // The token file is in place: what is left is only looked at when it is gone again.
        let _ = file::remove(&Self::path(out));
    }
}
