//! Errors between ranks.

use thiserror::Error;

/// An exchange between ranks that failed. Messages name the rank, the symptom and the rank that saw it.
#[derive(Debug, Error)]
pub enum DistError {
    /// A rank has ended, or cannot be reached.
    #[error("rank {rank} is lost: {seen}")]
    Lost {
        /// The rank that is lost.
        rank: usize,
        /// The symptom, and the rank that saw it.
        seen: String,
    },
    /// Ranks that live did not take part in an exchange within `dist.timeout_s`.
    #[error("rank {rank} does not respond: {seen}")]
    Hangs {
        /// The rank that does not respond.
        rank: usize,
        /// The symptom, and the rank that saw it.
        seen: String,
    },
    /// Ranks that were started differently.
    #[error("rank {rank} differs from rank 0: {what}")]
    Differs {
        /// The rank that differs.
        rank: usize,
        /// The difference, with both values and advice.
        what: String,
    },
    /// Rank 0 has ended the run, for the reason that it reports itself.
    #[error("rank 0 has ended the run: {0}")]
    Verdict(String),
    /// The library refused a call, or is missing.
    #[error("{0}")]
    Library(String),
    /// A tensor could not be read or written.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl DistError {
    /// Returns a copy of the error, for another caller.
    pub fn again(&self) -> Self {
        match self {
            Self::Lost { rank, seen } => Self::Lost {
                rank: *rank,
                seen: seen.clone(),
            },
            Self::Hangs { rank, seen } => Self::Hangs {
                rank: *rank,
                seen: seen.clone(),
            },
            Self::Differs { rank, what } => Self::Differs {
                rank: *rank,
                what: what.clone(),
            },
            Self::Verdict(why) => Self::Verdict(why.clone()),
            Self::Library(why) => Self::Library(why.clone()),
            Self::Tensor(error) => Self::Library(error.to_string()),
        }
    }
}
