//! Simulates, for tests, a second rank that does the same as this one until it is lost.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;

use super::{DistError, End, Ranks, Waited};
use crate::ops;

/// Rank 0 of two. The loss of rank 1 is reported by [`Ranks::check`] only, never by an exchange.
#[derive(Debug)]
pub struct Lossy {
    /// Number of checks that still find rank 1.
    looks: AtomicUsize,
    ended: Mutex<Option<End>>,
}

impl Lossy {
    /// Makes the pair of ranks; rank 1 is not lost.
    pub fn new() -> Self {
        Self {
            looks: AtomicUsize::new(usize::MAX),
            ended: Mutex::default(),
        }
    }

    /// Loses rank 1 after `looks` more checks.
    pub fn lose_after(&self, looks: usize) {
        self.looks.store(looks, Ordering::Relaxed);
    }

    /// Returns the end that this rank has announced, if any.
    pub fn ended(&self) -> Option<End> {
        self.ended.lock().unwrap().clone()
    }
}

impl Ranks for Lossy {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        2
    }

    fn start_sum(&self, part: &Tensor) -> Result<(), DistError> {
        let mut values = ops::read(part)?;
        values.iter_mut().for_each(|x| *x *= 2.0);
        Ok(ops::write(part, &values)?)
    }

    fn finish_sums(&self) -> Result<Waited, DistError> {
        Ok(Waited::default())
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), DistError> {
        numbers.iter_mut().for_each(|x| *x *= 2.0);
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
        Ok(vec![message.to_vec(); 2])
    }

    fn check(&self) -> Result<(), DistError> {
        let left = |looks: usize| match looks {
            usize::MAX => Some(looks),
            looks => looks.checked_sub(1),
        };
        let order = Ordering::Relaxed;
        let looked = self.looks.fetch_update(order, order, left);
        looked.map(drop).map_err(|_| DistError::Lost {
            rank: 1,
            seen: "rank 0 has looked for it".into(),
        })
    }

    fn end(&self, how: &End) {
        *self.ended.lock().unwrap() = Some(how.clone());
    }
}
