//! Which layers of the reference are inherited.

use serde::{Deserialize, Serialize};

/// Layers to inherit: `"half"`, `"auto"`, `n` (the first n), a range `"a..b"` (without b) or a list of indices from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum LayerChoice {
    First(usize),
    List(Vec<usize>),
    /// The first half.
    Half,
    /// Half, but none from the first collapsing layer on.
    Auto,
    Range(LayerRange),
}

/// A range of layers, which holds at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRange {
    from: usize,
    /// The layer after the last one.
    to: usize,
    /// The range as given, with its spaces, so that a config is written as it was read.
    text: String,
}

/// A choice in TOML.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    First(usize),
    List(Vec<usize>),
    Named(String),
}

impl TryFrom<Written> for LayerChoice {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::First(n) => Ok(Self::First(n)),
            Written::List(list) => Ok(Self::List(list)),
            Written::Named(word) => {
                Self::named(&word).ok_or_else(|| format!("unknown choice of layers {word:?}"))
            }
        }
    }
}

impl From<LayerChoice> for Written {
    fn from(choice: LayerChoice) -> Self {
        match choice {
            LayerChoice::First(n) => Self::First(n),
            LayerChoice::List(list) => Self::List(list),
            LayerChoice::Half => Self::Named("half".into()),
            LayerChoice::Auto => Self::Named("auto".into()),
            LayerChoice::Range(range) => Self::Named(range.text),
        }
    }
}

impl LayerRange {
    /// Reads `a..b`; `None` if it is malformed, or too wide for any model.
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("..")?;
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        let text = text.into();
        (from < to && to <= 1_000_000).then_some(Self { from, to, text })
    }

    /// Returns the layers.
    pub fn layers(&self) -> std::ops::Range<usize> {
        self.from..self.to
    }

    /// Returns the range as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl LayerChoice {
    /// A choice that is a word or a range: `half`, `auto`, `8..16`.
    pub(in crate::config) fn named(word: &str) -> Option<Self> {
        match word {
            "half" => Some(Self::Half),
            "auto" => Some(Self::Auto),
            range => LayerRange::parse(range).map(Self::Range),
        }
    }

    /// Returns the chosen indices for a reference of `n_layer` layers, in order. While ranks are unknown, `auto` is
    /// also half of them ([`crate::inherit::choose`] uses the ranks). A number of first layers that is too large ends
    /// with the index of a missing layer.
    pub fn of(&self, n_layer: usize) -> Vec<usize> {
        match self {
            Self::First(n) => (0..(*n).min(n_layer.saturating_add(1))).collect(),
            Self::List(list) => list.clone(),
            Self::Half | Self::Auto => (0..(n_layer / 2).max(1)).collect(),
            // As for a list that is too long, the last index is that of a missing layer.
            Self::Range(LayerRange { from, to, .. }) => {
                (*from..(*to).min(n_layer.saturating_add(1)).max(from + 1)).collect()
            }
        }
    }

    /// A choice in words, as on the command line: `15`, `8..16`, `0,2,5`, `half`, `auto`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(n) = text.parse() {
            return Some(Self::First(n));
        }
        Self::named(text).or_else(|| {
            let list: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
            list.ok().map(Self::List)
        })
    }
}
