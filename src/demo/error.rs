//! Errors of the examples.

use crate::rank::RankError;

/// What stops an example.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Rank(#[from] RankError),
}
