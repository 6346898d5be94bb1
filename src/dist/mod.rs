//! The processes (ranks) that train one run together, and their exchanges.
//!
//! [`Ranks`] is the interface that training uses: sums, copies and parts of tensors, and short messages, over an existing engine (MPI,
//! NCCL). [`Solo`] is a run of one process. Nothing here depends on models, runs or the trainer, and no transport of our own is to be
//! added.

mod error;
// Only MPI uses all of it; without MPI it is compiled only for its tests.
#[cfg(any(feature = "mpi", test))]
#[cfg_attr(not(feature = "mpi"), allow(dead_code))]
mod health;
pub mod launch;
#[cfg(test)]
#[path = "tests/local.rs"]
pub(crate) mod local;
#[cfg(test)]
#[path = "tests/lossy.rs"]
pub(crate) mod lossy;
pub mod messages;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod nccl;
pub mod peer;
mod solo;

use std::ops::Range;
use std::time::Duration;

use candle_core::Tensor;

pub use error::DistError;
pub use solo::Solo;

/// The times of a wait for other ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waited {
    /// Time in which this rank's trainer did nothing but wait.
    pub wait: Duration,
    /// Time from the start of the first exchange to the end of the last one, computation meanwhile included.
    pub exchange: Duration,
}

/// The way in which a rank's part ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Together with all others: each rank waits for the last one.
    Together,
    /// The rank cannot continue, for this reason.
    Failed(String),
}

/// The ranks of a run, as one of them sees them. Rank 0 leads: it owns the run directory and the clock.
///
/// Every rank calls the same methods in the same order with tensors and parts of the same sizes. Each call has the same
/// result in every run of as many ranks. A call that fails leaves the ranks unusable: the process ends.
pub trait Ranks: std::fmt::Debug + Send + Sync {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn world(&self) -> usize;

    /// Starts adding up `part` (f32, contiguous, on this rank's device) over all ranks, in place. Until
    /// [`Self::finish_sums`], the part must not be read or written. Sums are taken in the order in which they were started.
    ///
    /// # Errors
    /// When the engine refuses the tensor, or a rank is lost.
    fn start_sum(&self, part: &Tensor) -> Result<(), DistError>;

    /// Waits for all sums that were started.
    ///
    /// # Errors
    /// When a rank is lost, or does not come within the time limit.
    fn finish_sums(&self) -> Result<Waited, DistError>;

    /// Adds up numbers over all ranks, in the order of ranks, in place.
    ///
    /// # Errors
    /// As [`Self::finish_sums`].
    fn sum(&self, numbers: &mut [f64]) -> Result<(), DistError>;

    /// Completes `flat` (contiguous) on every rank: elements `parts[r]` come from rank r.
    ///
    /// # Errors
    /// As [`Self::finish_sums`].
    fn all_gather(&self, flat: &Tensor, parts: &[Range<usize>]) -> Result<(), DistError>;

    /// Copies rank 0's `flat` (contiguous) to every rank, in place.
    ///
    /// # Errors
    /// As [`Self::finish_sums`].
    fn broadcast(&self, flat: &Tensor) -> Result<(), DistError>;

    /// Copies rank 0's message to every rank. A follower may wait for a message as long as rank 0 lives.
    ///
    /// # Errors
    /// When a rank is lost.
    fn announce(&self, message: &mut Vec<u8>) -> Result<(), DistError>;

    /// Brings every rank's message to rank 0, in the order of ranks; empty on other ranks.
    ///
    /// # Errors
    /// As [`Self::finish_sums`].
    fn gather(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, DistError>;

    /// Checks that the ranks can still be used. Costs next to nothing and needs no other rank's part, so a rank
    /// can call it often during long work.
    ///
    /// # Errors
    /// When a rank is lost or hangs.
    fn check(&self) -> Result<(), DistError> {
        Ok(())
    }

    /// Sets how long a rank waits for another one that lives but does not come.
    fn set_timeout(&self, _timeout: Duration) {}

    /// The engine's name and release.
    fn library(&self) -> String {
        String::new()
    }

    /// The names of the hosts, each once, in the order of their first rank.
    fn hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// The number of ranks on the same host as this one, itself included. Ranks in other containers, which have memory limits of their own,
    /// are not counted.
    fn on_host(&self) -> usize {
        1
    }

    /// The number of ranks that run on the same cores as this one, itself included.
    fn sharing(&self) -> usize {
        1
    }

    /// Ends this process's part when all its work is done: returns when all ranks may exit. After a failure it does not wait for other
    /// ranks, which are ended.
    fn end(&self, _how: &End) {}

    /// Whether this rank leads.
    fn leads(&self) -> bool {
        self.rank() == 0
    }
}

/// Cuts `n` items into `world` adjacent slices whose sizes differ by at most one, and returns that of `rank`.
pub fn slice(n: usize, rank: usize, world: usize) -> Range<usize> {
    let start = |rank: usize| rank * (n / world) + rank.min(n % world);
    start(rank)..start(rank + 1)
}

#[cfg(test)]
mod tests {
    use super::slice;

    #[test]
    fn slices_are_adjacent_and_differ_by_one_at_most() {
        for n in [0, 1, 5, 64, 257] {
            for world in [1, 2, 3, 4, 7] {
                let slices: Vec<_> = (0..world).map(|rank| slice(n, rank, world)).collect();
                assert_eq!((slices[0].start, slices[world - 1].end), (0, n));
                assert!(slices.windows(2).all(|two| two[0].end == two[1].start));
                let sizes = || slices.iter().map(ExactSizeIterator::len);
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
            }
        }
    }
}
