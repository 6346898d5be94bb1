//! What stops a toy.

use crate::rank::RankError;

/// What stops a toy.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Rank(#[from] RankError),
}
