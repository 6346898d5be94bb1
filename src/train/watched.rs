//! Reads weights on rank 0 while the other ranks wait for them; reading ends with an error when a rank is lost.

use candle_core::Error;

use super::peers::Peers;
use crate::model::{DecoderConfig, ModelError, Weights};

/// Weights that look for lost ranks before each tensor is read.
pub(super) struct Watched<'a> {
    weights: &'a dyn Weights,
    peers: &'a Peers,
}

impl<'a> Watched<'a> {
    pub(super) fn new(weights: &'a dyn Weights, peers: &'a Peers) -> Self {
        Self { weights, peers }
    }

    fn look(&self) -> Result<(), ModelError> {
        Ok(self.peers.check().map_err(Error::wrap)?)
    }
}

impl Weights for Watched<'_> {
    fn config(&self) -> &DecoderConfig {
        self.weights.config()
    }

    fn parameter(
        &self,
        stem: &str,
        layer: Option<usize>,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        self.look()?;
        self.weights.parameter(stem, layer, out)
    }

    fn rows(
        &self,
        stem: &str,
        layer: Option<usize>,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        self.look()?;
        self.weights.rows(stem, layer, first, out)
    }
}
