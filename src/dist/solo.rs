//! A run of one process.

use std::ops::Range;

use candle_core::Tensor;

use super::{DistError, Ranks, Waited};

/// The only rank of a run: every exchange is done at once.
#[derive(Debug, Clone, Copy)]
pub struct Solo;

impl Ranks for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        1
    }

    fn start_sum(&self, _part: &Tensor) -> Result<(), DistError> {
        Ok(())
    }

    fn finish_sums(&self) -> Result<Waited, DistError> {
        Ok(Waited::default())
    }

    fn sum(&self, _numbers: &mut [f64]) -> Result<(), DistError> {
        Ok(())
    }

    fn all_gather(&self, _flat: &Tensor, _parts: &[Range<usize>]) -> Result<(), DistError> {
        Ok(())
    }

    fn broadcast(&self, _flat: &Tensor) -> Result<(), DistError> {
        Ok(())
    }

    fn announce(&self, _message: &mut Vec<u8>) -> Result<(), DistError> {
        Ok(())
    }

    fn gather(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        Ok(vec![message.to_vec()])
    }
}
