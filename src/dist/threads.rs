//! Ranks that are threads of one process, for tests.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use candle_core::Tensor;

use super::{DistError, Ranks, Waited};
use crate::ops;

/// A rank that does not come for so long has failed its test.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of several threads that exchange through shared memory. Only tensors of f32 on the CPU are exchanged.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    world: usize,
    board: Arc<Board>,
    sums: Mutex<Vec<Tensor>>,
}

/// What the threads have brought to the present exchange.
#[derive(Debug, Default)]
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    posts: Vec<Option<Vec<u8>>>,
    /// Ranks that have read all posts.
    readers: usize,
}

impl Threads {
    /// Runs `f` on `world` threads and returns what they return, in the order of ranks.
    ///
    /// # Panics
    /// When a thread panics.
    pub fn run<R: Send>(world: usize, f: impl Fn(Arc<dyn Ranks>) -> R + Sync) -> Vec<R> {
        let board = Arc::new(Board::default());
        board.lock().posts = vec![None; world];
        std::thread::scope(|scope| {
            let start = |rank| {
                let ranks = Self {
                    rank,
                    world,
                    board: Arc::clone(&board),
                    sums: Mutex::default(),
                };
                let f = &f;
                scope.spawn(move || f(Arc::new(ranks)))
            };
            let threads: Vec<_> = (0..world).map(start).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.collect()
        })
    }

    /// Brings every rank's bytes to every rank.
    fn exchange(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        let mut state = self.board.wait(|state| state.posts[self.rank].is_none())?;
        state.posts[self.rank] = Some(bytes.to_vec());
        self.board.changed.notify_all();
        drop(state);
        let mut state = self
            .board
            .wait(|state| state.posts.iter().all(Option::is_some))?;
        let all = state.posts.iter().flatten().cloned().collect();
        state.readers += 1;
        if state.readers == self.world {
            *state = State {
                posts: vec![None; self.world],
                readers: 0,
            };
            self.board.changed.notify_all();
            return Ok(all);
        }
        drop(state);
        // A fast rank must not post to the next exchange before all have read this one.
        drop(self.board.wait(|state| state.posts[self.rank].is_none())?);
        Ok(all)
    }
}

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(
        &self,
        ready: impl Fn(&State) -> bool,
    ) -> Result<std::sync::MutexGuard<'_, State>, DistError> {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |s| !ready(s));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match timeout.timed_out() {
            true => {
                let missing = state.posts.iter().position(Option::is_none);
                Err(DistError::Hangs {
                    rank: missing.unwrap_or(0),
                    seen: "a thread of a test did not come".into(),
                })
            }
            false => Ok(state),
        }
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks();
    floats
        .iter()
        .map(|bytes| f32::from_ne_bytes(*bytes))
        .collect()
}

impl Ranks for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    fn start_sum(&self, part: &Tensor) -> Result<(), DistError> {
        self.sums.lock().unwrap().push(part.clone());
        Ok(())
    }

    fn finish_sums(&self) -> Result<Waited, DistError> {
        for part in std::mem::take(&mut *self.sums.lock().unwrap()) {
            let own = ops::read(&part)?;
            let mut all = self.exchange(bytemuck::cast_slice(&own))?.into_iter();
            let mut sum = floats(&all.next().unwrap_or_default());
            for other in all {
                let pairs = sum.iter_mut().zip(floats(&other));
                pairs.for_each(|(sum, other)| *sum += other);
            }
            ops::write(&part, &sum)?;
        }
        Ok(Waited::default())
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), DistError> {
        let all = self.exchange(bytemuck::cast_slice(numbers))?;
        numbers.fill(0.0);
        for other in all {
            let (other, _) = other.as_chunks();
            let other = other.iter().map(|bytes| f64::from_ne_bytes(*bytes));
            numbers.iter_mut().zip(other).for_each(|(sum, n)| *sum += n);
        }
        Ok(())
    }

    fn all_gather(&self, flat: &Tensor, parts: &[Range<usize>]) -> Result<(), DistError> {
        let mut values = ops::read(flat)?;
        let own = &values[parts[self.rank].clone()];
        let all = self.exchange(bytemuck::cast_slice(own))?;
        for (part, bytes) in parts.iter().zip(all) {
            values[part.clone()].copy_from_slice(&floats(&bytes));
        }
        Ok(ops::write(flat, &values)?)
    }

    fn broadcast(&self, flat: &Tensor) -> Result<(), DistError> {
        let own = match self.leads() {
            true => ops::read(flat)?,
            false => Vec::new(),
        };
        let all = self.exchange(bytemuck::cast_slice(&own))?;
        Ok(ops::write(flat, &floats(&all[0]))?)
    }

    fn announce(&self, message: &mut Vec<u8>) -> Result<(), DistError> {
        let own = if self.leads() {
            message.as_slice()
        } else {
            &[]
        };
        *message = self.exchange(own)?.swap_remove(0);
        Ok(())
    }

    fn gather(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        let all = self.exchange(message)?;
        Ok(if self.leads() { all } else { Vec::new() })
    }
}
