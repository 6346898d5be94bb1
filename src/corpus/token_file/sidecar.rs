//! `FILE.json` next to a token file: the tokenizer that made it, and its inputs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::corpus::{CorpusError, Tokenizer};
use crate::file;

/// Most bytes of a sidecar file.
const LARGEST: u64 = 1 << 20;

/// The contents of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    pub tokenizer: String,
    /// [`Tokenizer::fingerprint`]; files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    pub vocab: usize,
    pub n_tokens: u64,
    pub sources: Vec<String>,
}

/// Returns the sidecar's path.
pub fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

impl Sidecar {
    /// Makes the sidecar of a file that `tokenizer` has made.
    pub fn new(tokenizer: &Tokenizer, n_tokens: u64, sources: Vec<String>) -> Self {
        Self {
            tokenizer: tokenizer.name().into(),
            fingerprint: Some(tokenizer.fingerprint().into()),
            vocab: tokenizer.size(),
            n_tokens,
            sources,
        }
    }

    /// Reads the sidecar of `path`, if it exists.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(path: &Path) -> Result<Option<Self>, CorpusError> {
        let beside = sidecar(path);
        let text = match file::read_text(&beside, LARGEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| CorpusError::Read {
                path: beside.clone(),
                source,
            })?,
        };
        let side = serde_json::from_str(&text).map_err(|e| CorpusError::TokenFile {
            path: path.into(),
            what: format!("its sidecar {} is damaged: {e}", beside.display()),
        })?;
        Ok(Some(side))
    }

    /// Whether `tokenizer` made the file.
    ///
    /// # Errors
    /// Names the tokenizer that did.
    pub fn made_by(&self, tokenizer: &Tokenizer) -> Result<(), String> {
        let same = match &self.fingerprint {
            Some(fingerprint) => fingerprint == tokenizer.fingerprint(),
            None => self.tokenizer == tokenizer.name(),
        };
        if same {
            return Ok(());
        }
        let other = match self.tokenizer == tokenizer.name() {
            true => "a different tokenizer of that name".into(),
            false => tokenizer.name().to_string(),
        };
        Err(format!(
            "it was made with the {} tokenizer, but data.tokenizer is {other}",
            crate::text::clean(&self.tokenizer)
        ))
    }
}
