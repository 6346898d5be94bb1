//! The choice of a tokenizer.

use serde::{Deserialize, Serialize};

/// Tokenizers that are named and not read from a path.
pub const TOKENIZERS: [&str; 3] = ["byte", "gpt2", "reference"];

/// The tokenizer that a config names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TokenizerChoice {
    Byte,
    Gpt2,
    /// The tokenizer of the reference at `reference.path`.
    Reference,
    /// A `tokenizer.json`, or a directory with one.
    Path(String),
}

impl TokenizerChoice {
    /// Reads a name or a path; `None` when it is neither.
    pub(in crate::config) fn parse(text: &str) -> Option<Self> {
        match text {
            "byte" => Some(Self::Byte),
            "gpt2" => Some(Self::Gpt2),
            "reference" => Some(Self::Reference),
            path => Self::is_path(path).then(|| Self::Path(path.into())),
        }
    }

    /// Whether a text is a path: a name has neither `/` nor `.` in it.
    pub(in crate::config) fn is_path(text: &str) -> bool {
        text.contains(['/', '.', '$'])
    }

    /// Returns the name or the path, as in the config.
    pub fn name(&self) -> &str {
        match self {
            Self::Byte => "byte",
            Self::Gpt2 => "gpt2",
            Self::Reference => "reference",
            Self::Path(path) => path,
        }
    }
}

impl TryFrom<String> for TokenizerChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("unknown tokenizer {text:?}"))
    }
}

impl From<TokenizerChoice> for String {
    fn from(choice: TokenizerChoice) -> Self {
        choice.name().into()
    }
}
