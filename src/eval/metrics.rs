//! Results of a task from the scores of its requests.

/// A measure of how well a task is solved; its name is the harness's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    Acc,
    AccNorm,
    Perplexity,
    WordPerplexity,
    BytePerplexity,
    BitsPerByte,
}

impl Metric {
    /// The harness's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::Perplexity => "perplexity",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::BitsPerByte => "bits_per_byte",
        }
    }

    /// Whether it is a share of documents, which guessing has a level of.
    pub fn is_accuracy(self) -> bool {
        matches!(self, Self::Acc | Self::AccNorm)
    }
}

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    pub value: f64,
    /// Standard error; NaN where it is not defined.
    pub stderr: f64,
    /// Documents.
    pub n: usize,
}
