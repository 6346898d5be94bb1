//! The completed work of a preparation, stored next to its output as `OUT.part.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::corpus::token_file::{Writer, sidecar};
use crate::corpus::{CorpusError, TEXT_FIELD, Tokenizer};
use crate::file;

/// Most bytes of a state file, which names the inputs.
const LARGEST: u64 = 64 << 20;
/// Changes with how documents are cut and with the meaning of fields.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    tokenizer: String,
    inputs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    val_share: Option<f64>,
    /// The field of rows that holds the text; absent: the default field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Whether it ended with an error, which the next call should correct.
    #[serde(default)]
    pub failed: bool,
    /// Complete input files that are done, and the work for them.
    #[serde(default)]
    pub files: Option<(usize, Done)>,
    #[serde(flatten)]
    pub done: Done,
}

/// Completed work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
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
    /// Makes a state without completed work.
    pub fn new(
        tokenizer: &Tokenizer,
        inputs: &[String],
        val_share: Option<f64>,
        field: &str,
    ) -> Self {
        Self {
            version: VERSION,
            tokenizer: tokenizer.fingerprint().into(),
            inputs: inputs.to_vec(),
            val_share,
            field: (field != TEXT_FIELD).then(|| field.into()),
            failed: false,
            files: None,
            done: Done::default(),
        }
    }

    /// Returns the path of the state of `out`.
    pub fn path(out: &Path) -> PathBuf {
        sidecar(&Writer::part(out))
    }

    /// Returns the states that a call may continue from, best first: the state that an earlier call for `out` has left, the work of that
    /// call on the files that both begin with, and `self`, which has no completed work. The work of an interrupted call is not discarded
    /// for another one.
    ///
    /// # Errors
    /// When the state is damaged, or belongs to an interrupted call with other inputs.
    pub fn candidates(&self, out: &Path) -> Result<Vec<Self>, CorpusError> {
        let path = Self::path(out);
        let bytes = match file::read_bytes(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![self.clone()]),
            Err(source) => return Err(CorpusError::Read { path, source }),
        };
        let unlike = |what: &str| CorpusError::Unlike {
            path: path.clone(),
            what: what.into(),
        };
        let left: Self =
            serde_json::from_slice(&bytes).map_err(|e| unlike(&format!("it is damaged: {e}")))?;
        if left.version != self.version {
            return Err(unlike("it was begun by another version of heirloom"));
        }
        let same_texts = left.tokenizer == self.tokenizer && left.field == self.field;
        let same_share = left.val_share == self.val_share;
        let mut candidates = Vec::new();
        if same_texts && same_share {
            if left.inputs == self.inputs {
                candidates.push(left.clone());
            }
            if let Some((n, done)) = &left.files
                && self.inputs.len() >= *n
                && left.inputs.get(..*n) == self.inputs.get(..*n)
            {
                candidates.push(Self {
                    done: done.clone(),
                    files: left.files.clone(),
                    ..self.clone()
                });
            }
        }
        if left.failed {
            candidates.push(self.clone());
        }
        if candidates.is_empty() {
            return Err(unlike(
                match (same_texts, left.tokenizer == self.tokenizer) {
                    (true, _) => "this preparation was begun with other inputs",
                    (false, true) => "this preparation was begun with another field of texts",
                    (false, false) => "this preparation was begun with another tokenizer",
                },
            ));
        }
        Ok(candidates)
    }

    /// Replaces the state file.
    pub fn write(&self, out: &Path) -> Result<(), CorpusError> {
        let path = Self::path(out);
        let write = || file::replace(&path, &serde_json::to_vec(self)?);
        write().map_err(|source| CorpusError::Write {
            path: path.clone(),
            source,
        })
    }

    pub fn remove(out: &Path) {
        // The token file is in place: a leftover state is only read if the token file is removed again.
        let _ = file::remove(&Self::path(out));
    }
}
