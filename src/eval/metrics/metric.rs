//! Metrics of downstream tasks.

/// A metric of a task; its name is the harness's.
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
    /// Returns the harness's name.
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

    /// Returns whether it is a share of correct documents, so that guessing has an expected value.
    pub fn is_accuracy(self) -> bool {
        matches!(self, Self::Acc | Self::AccNorm)
    }

    /// Returns whether a higher value is a better one.
    pub fn is_higher_better(self) -> bool {
        matches!(self, Self::Acc | Self::AccNorm)
    }

    /// Returns the measure of a task that models are compared by: its accuracy, else its first measure.
    pub fn main(metrics: &[Self]) -> Option<Self> {
        let acc = metrics.iter().find(|metric| **metric == Self::Acc);
        acc.or(metrics.first()).copied()
    }
}

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    pub value: f64,
    /// Standard error; NaN where it is not defined.
    pub stderr: f64,
    /// Number of documents.
    pub n: usize,
}
