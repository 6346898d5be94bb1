//! Errors of the examples.

use crate::rank::RankError;

/// An error that ends an example.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error(transparent)]
    Rank(#[from] RankError),
}
