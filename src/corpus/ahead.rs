//! Training batches, read from the token files by another thread while the step before them runs.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{CorpusError, Mixture, Sampler, Tokens, fill_batch};
use crate::threads;

/// The windows of one optimizer step, one after the other, and their targets: all of them, or those of one rank.
#[derive(Debug, Default)]
pub struct Batch {
    pub inputs: Vec<u32>,
    pub targets: Vec<u32>,
}

/// The stream and the step of a batch.
type Place = (u64, u64);

/// An order for a batch of a mixture, or a batch that has been read, each with the batch's memory.
type Wanted = (Place, Arc<Mixture>, Batch);
type Read = (Place, Batch, Result<(), CorpusError>);

/// The source and the rules of every batch.
#[derive(Debug, Clone)]
pub struct BatchSpec {
    pub tokens: Tokens,
    pub mixture: Mixture,
    pub sampler: Sampler,
    /// Windows of a batch and tokens of a window.
    pub windows: usize,
    pub time: usize,
    /// The windows of a batch that are read; the others are drawn but not read.
    pub part: Range<usize>,
}

impl BatchSpec {
    fn read(
        &self,
        (stream, step): Place,
        mixture: &Mixture,
        batch: &mut Batch,
    ) -> Result<(), CorpusError> {
        let starts = self.starts((stream, step), mixture);
        let n = starts.len() * self.time;
        batch.inputs.resize(n, 0);
        batch.targets.resize(n, 0);
        let (inputs, targets) = (&mut batch.inputs, &mut batch.targets);
        fill_batch(&self.tokens, &starts, self.time, inputs, targets)
    }

    /// Returns the starts of the windows that are read.
    fn starts(&self, (stream, step): Place, mixture: &Mixture) -> Vec<usize> {
        let (all, time) = (self.windows, self.time);
        let mut starts = self.sampler.starts(stream, step, all, mixture, time);
        starts.truncate(self.part.end);
        starts.split_off(self.part.start.min(starts.len()))
    }
}

/// Returns batches of steps in their order; any other order also works, without reading ahead.
#[derive(Debug)]
pub struct Batches {
    wanted: SyncSender<Wanted>,
    read: Receiver<Read>,
    /// The batch that the thread is reading.
    ahead: Option<Place>,
    /// The weights of the batches that are ordered next.
    mixture: Arc<Mixture>,
    spare: Batch,
}

impl Batches {
    /// Starts the thread; it ends when this is dropped.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn of(draw: BatchSpec) -> io::Result<Self> {
        let (wanted, orders) = sync_channel::<Wanted>(1);
        let (done, read) = sync_channel::<Read>(1);
        let mixture = Arc::new(draw.mixture.clone());
        threads::spawn("batches", move || {
            for (place, mixture, mut batch) in orders {
                let result = draw.read(place, &mixture, &mut batch);
                if done.send((place, batch, result)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            wanted,
            read,
            ahead: None,
            mixture,
            spare: Batch::default(),
        })
    }

    /// Takes the batch of `step` of `stream`, and has the next step's read. [`Self::give_back`] its memory after use.
    ///
    /// # Errors
    /// When an id is outside the vocabulary ([`Tokens::copy_to`]).
    pub fn take(&mut self, stream: u64, step: u64) -> Result<Batch, CorpusError> {
        let place = (stream, step);
        if self.ahead.is_some_and(|ahead| ahead != place) {
            // After a growth or a rollback: a step other than the next one.
            self.spare = self.receive().1;
        }
        if self.ahead.is_none() {
            self.order(place);
        }
        let (_, batch, result) = self.receive();
        self.order((stream, step + 1));
        result.map(|()| batch)
    }

    /// Draws the next batches from the same sources with other weights. One that was read ahead is read again.
    pub fn set_mixture(&mut self, mixture: Mixture) {
        if *self.mixture != mixture {
            if self.ahead.is_some() {
                self.spare = self.receive().1;
            }
            self.mixture = Arc::new(mixture);
        }
    }

    /// Returns the memory of a batch.
    pub fn give_back(&mut self, batch: Batch) {
        self.spare = batch;
    }

    fn order(&mut self, place: Place) {
        let batch = std::mem::take(&mut self.spare);
        self.ahead = Some(place);
        let order = (place, Arc::clone(&self.mixture), batch);
        if self.wanted.send(order).is_err() {
            unreachable!("the thread lives as long as orders can come");
        }
    }

    fn receive(&mut self) -> Read {
        self.ahead = None;
        match self.read.recv() {
            Ok(read) => read,
            Err(_) => unreachable!("the thread answers every order"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::slice;

    fn draw(tokens: Tokens) -> BatchSpec {
        BatchSpec {
            mixture: Mixture::single(tokens.len()),
            tokens,
            sampler: Sampler { seed: 5 },
            windows: 3,
            time: 10,
            part: 0..3,
        }
    }

    /// Over 1,000 steps, the parts of 2, 3 and 4 ranks are together the windows of one process, in its order.
    #[test]
    fn the_parts_of_ranks_are_the_windows_of_the_step() {
        let mixture = Mixture::new([(5000, 2.0), (900, 1.0)]);
        let whole = BatchSpec {
            mixture: mixture.clone(),
            windows: 12,
            part: 0..12,
            ..draw(Tokens::owned((0..5900).map(|i| (i % 50) as u16).collect()))
        };
        for step in 0..1000 {
            let all = whole.starts((3, step), &mixture);
            assert_eq!(all.len(), 12);
            for world in 2..=4 {
                let part = |rank| BatchSpec {
                    part: slice(12, rank, world),
                    ..whole.clone()
                };
                let parts = (0..world).map(|rank| part(rank).starts((3, step), &mixture));
                let parts: Vec<Vec<usize>> = parts.collect();
                assert!(parts.iter().all(|p| p.len() == 12 / world));
                assert_eq!(parts.concat(), all, "step {step} of {world} ranks");
            }
        }
    }

    #[test]
    fn a_part_is_read_as_it_stands_in_the_whole_batch() {
        let whole = draw(Tokens::owned((0..1000).collect()));
        let part = BatchSpec {
            part: 1..3,
            ..whole.clone()
        };
        let all = Batches::of(whole).unwrap().take(2, 7).unwrap();
        let own = Batches::of(part).unwrap().take(2, 7).unwrap();
        assert_eq!(own.inputs, all.inputs[10..]);
        assert_eq!(own.targets, all.targets[10..]);
    }

    /// Steps in order, repeated, out of order or of another stream always get their own windows.
    #[test]
    fn every_step_gets_its_own_windows() {
        let draw = draw(Tokens::owned((0..1000).collect()));
        let mut batches = Batches::of(draw.clone()).unwrap();
        let steps = [
            (0, 0),
            (0, 1),
            (0, 2),
            (0, 2),
            (0, 9),
            (4, 9),
            (4, 10),
            (0, 0),
        ];
        for place in steps {
            let mut want = Batch::default();
            draw.read(place, &draw.mixture, &mut want).unwrap();
            let got = batches.take(place.0, place.1).unwrap();
            assert_eq!(got.inputs, want.inputs, "{place:?}");
            assert_eq!(got.targets, want.targets, "{place:?}");
            assert_eq!(got.inputs[1] as usize, got.targets[0] as usize);
            batches.give_back(got);
        }
    }

    /// This includes the batch that was read ahead with the weights before.
    #[test]
    fn new_weights_count_from_the_next_batch_on() {
        let mut draw = draw(Tokens::owned((0..1000).collect()));
        draw.mixture = Mixture::new([(500, 1.0), (500, 1.0)]);
        let mut batches = Batches::of(draw.clone()).unwrap();
        let sources = |batch: &Batch| {
            let second = batch.inputs.chunks(10).filter(|w| w[0] >= 500).count();
            (batch.inputs.len() / 10 - second, second)
        };
        let both: usize = (0..20)
            .map(|step| sources(&batches.take(0, step).unwrap()).0)
            .sum();
        assert!((15..45).contains(&both), "{both} of 60");
        for (weights, wanted) in [([1.0, 0.0], (3, 0)), ([0.0, 2.0], (0, 3))] {
            batches.set_mixture(draw.mixture.with_weights(&weights));
            for step in 20..25 {
                assert_eq!(sources(&batches.take(0, step).unwrap()), wanted);
            }
        }
        batches.set_mixture(draw.mixture.clone());
        let mut want = Batch::default();
        draw.read((0, 25), &draw.mixture, &mut want).unwrap();
        assert_eq!(batches.take(0, 25).unwrap().inputs, want.inputs);
    }
}
