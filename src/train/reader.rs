//! This process's part of each batch, read from the training text.

use anyhow::Result;

use super::instruction::Drawn;
use crate::corpus::{Batch, BatchSpec, Batches, Dataset, Sampler};
use crate::dist::slice;

/// The seed and sizes that stay the same from batch to batch.
type Kind = (u64, usize, usize);

/// Reads the windows of this rank for any step; those of the next step are read ahead.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) dataset: Dataset,
    /// This rank, and the number of ranks.
    place: (usize, usize),
    batches: Option<(Kind, Batches)>,
}

impl Reader {
    /// A reader for this rank.
    pub(super) fn new(dataset: Dataset, place: (usize, usize)) -> Self {
        Self {
            dataset,
            place,
            batches: None,
        }
    }

    /// Returns this rank's windows of a batch. [`Self::give_back`] their memory after use.
    ///
    /// # Errors
    /// When the system refuses a thread, or an id is outside the vocabulary.
    pub(super) fn read(&mut self, drawn: &Drawn) -> Result<Batch> {
        let kind = (drawn.seed, drawn.windows, drawn.time);
        let batches = match &mut self.batches {
            Some((of, batches)) if *of == kind => batches,
            other => {
                let draw = draw(&self.dataset, kind, self.place);
                &mut other.insert((kind, Batches::of(draw)?)).1
            }
        };
        if self.dataset.mixture.len() > 1 {
            let mixture = self.dataset.mixture.with_weights(&drawn.weights);
            batches.set_mixture(mixture);
        }
        Ok(batches.take(drawn.stream, drawn.step)?)
    }

    /// Returns the memory of a batch.
    pub(super) fn give_back(&mut self, batch: Batch) {
        if let Some((_, batches)) = &mut self.batches {
            batches.give_back(batch);
        }
    }
}

fn draw(
    dataset: &Dataset,
    (seed, windows, time): Kind,
    (rank, world): (usize, usize),
) -> BatchSpec {
    BatchSpec {
        tokens: dataset.train.clone(),
        mixture: dataset.mixture.clone(),
        sampler: Sampler { seed },
        windows,
        time,
        part: slice(windows, rank, world),
    }
}
