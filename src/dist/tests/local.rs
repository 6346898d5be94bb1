//! Ranks that are threads of one process, for tests: exchanges through memory, in the order of ranks, and strict about their order.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::{DistError, Ranks, Waited};
use crate::ops;

/// Time that a rank waits for the others.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rank's contribution to an exchange.
#[derive(Debug, Clone, PartialEq)]
enum Brought {
    Floats(Vec<f32>),
    Numbers(Vec<f64>),
    Message(Vec<u8>),
}

/// The present exchange.
#[derive(Debug, Default)]
struct Exchange {
    /// The method that the ranks have called; they must agree.
    kind: &'static str,
    brought: Vec<Option<Brought>>,
    /// Ranks that have read what the others brought.
    read: usize,
    /// A rank that has ended.
    gone: Option<usize>,
    /// Whether ranks have called different methods.
    mixed: Option<(usize, &'static str)>,
}

#[derive(Debug)]
struct Shared {
    exchange: Mutex<Exchange>,
    changed: Condvar,
}

/// One of several ranks.
#[derive(Debug)]
pub struct Local {
    rank: usize,
    world: usize,
    shared: Arc<Shared>,
    /// Sums that were started: where they belong, and this rank's values at that moment.
    started: Mutex<Vec<(Tensor, Vec<f32>)>>,
}

/// Makes `world` ranks, one for each thread.
pub fn ranks(world: usize) -> Vec<Arc<dyn Ranks>> {
    let shared = Arc::new(Shared {
        exchange: Mutex::new(Exchange {
            brought: vec![None; world],
            ..Exchange::default()
        }),
        changed: Condvar::new(),
    });
    let rank = |rank| -> Arc<dyn Ranks> {
        Arc::new(Local {
            rank,
            world,
            shared: Arc::clone(&shared),
            started: Mutex::default(),
        })
    };
    (0..world).map(rank).collect()
}

/// Runs `f` on `world` threads and returns what they return, in the order of ranks.
///
/// # Panics
/// When a thread panics.
pub fn run<T: Send>(world: usize, f: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let f = &f;
        let start = |rank| scope.spawn(move || f(rank));
        let threads: Vec<_> = ranks(world).into_iter().map(start).collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found.collect()
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    /// Waits until `ready` returns true.
    fn wait<'a>(
        &self,
        mut exchange: MutexGuard<'a, Exchange>,
        ready: impl Fn(&Exchange) -> bool,
    ) -> Result<MutexGuard<'a, Exchange>, DistError> {
        let began = Instant::now();
        while !ready(&exchange) {
            if let Some((rank, kind)) = exchange.mixed {
                let kinds = (exchange.kind, kind);
                return Err(DistError::Library(format!(
                    "rank {rank} calls {}, and others {}",
                    kinds.1, kinds.0
                )));
            }
            if let Some(rank) = exchange.gone {
                let seen = format!("rank {} waited for it in {}", self.rank, exchange.kind);
                return Err(DistError::Lost { rank, seen });
            }
            if began.elapsed() > PATIENCE {
                let rank = exchange.brought.iter().position(Option::is_none);
                let (rank, seen) = (rank.unwrap_or(0), format!("seen by rank {}", self.rank));
                return Err(DistError::Hangs { rank, seen });
            }
            let shared = &self.shared.changed;
            let waited = shared.wait_timeout(exchange, Duration::from_millis(200));
            exchange = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(exchange)
    }

    /// Brings a value, and returns those of all ranks in their order.
    fn exchange(&self, kind: &'static str, own: Brought) -> Result<Vec<Brought>, DistError> {
        // The last one has been read by all.
        let mut exchange = self.wait(lock(&self.shared.exchange), |e| {
            e.brought[self.rank].is_none()
        })?;
        if exchange.brought.iter().all(Option::is_none) {
            exchange.kind = kind;
        } else if exchange.kind != kind {
            exchange.mixed = Some((self.rank, kind));
            self.shared.changed.notify_all();
        }
        exchange.brought[self.rank] = Some(own);
        self.shared.changed.notify_all();
        let mut exchange = self.wait(exchange, |e| {
            e.mixed.is_none() && e.brought.iter().all(Option::is_some)
        })?;
        let all = exchange.brought.iter().flatten().cloned().collect();
        exchange.read += 1;
        if exchange.read == self.world {
            exchange.read = 0;
            exchange.brought.fill(None);
        }
        self.shared.changed.notify_all();
        Ok(all)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        lock(&self.shared.exchange).gone.get_or_insert(self.rank);
        self.shared.changed.notify_all();
    }
}

fn floats(brought: Brought) -> Vec<f32> {
    match brought {
        Brought::Floats(values) => values,
        _ => Vec::new(),
    }
}

impl Ranks for Local {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    /// Takes the part as it is now: what is written to it later is lost, as it may be with an engine.
    fn start_sum(&self, part: &Tensor) -> Result<(), DistError> {
        let values = ops::read(part)?;
        lock(&self.started).push((part.clone(), values));
        Ok(())
    }

    fn finish_sums(&self) -> Result<Waited, DistError> {
        let began = Instant::now();
        let started = std::mem::take(&mut *lock(&self.started));
        for (part, own) in started {
            let mut all = self
                .exchange("sum of a part", Brought::Floats(own))?
                .into_iter();
            let mut total = all.next().map(floats).unwrap_or_default();
            for other in all.map(floats) {
                assert_eq!(other.len(), total.len(), "parts of different sizes");
                total.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
            }
            ops::write(&part, &total)?;
        }
        Ok(Waited {
            wait: began.elapsed(),
            exchange: began.elapsed(),
        })
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), DistError> {
        let all = self.exchange("sum", Brought::Numbers(numbers.to_vec()))?;
        numbers.fill(0.0);
        for brought in all {
            if let Brought::Numbers(other) = brought {
                numbers.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
            }
        }
        Ok(())
    }

    fn all_gather(&self, flat: &Tensor, parts: &[Range<usize>]) -> Result<(), DistError> {
        let own = ops::read(flat)?;
        let all = self.exchange("all_gather", Brought::Floats(own))?;
        for (part, other) in parts.iter().zip(all) {
            let view = flat.narrow(0, part.start, part.len())?;
            ops::write(&view, &floats(other)[part.clone()])?;
        }
        Ok(())
    }

    fn broadcast(&self, flat: &Tensor) -> Result<(), DistError> {
        let own = match self.rank {
            0 => ops::read(flat)?,
            _ => Vec::new(),
        };
        let first = self.exchange("broadcast", Brought::Floats(own))?;
        let first = first.into_iter().next().map(floats).unwrap_or_default();
        Ok(ops::write(flat, &first)?)
    }

    fn announce(&self, message: &mut Vec<u8>) -> Result<(), DistError> {
        let own = Brought::Message(std::mem::take(message));
        let first = self.exchange("announce", own)?.into_iter().next();
        if let Some(Brought::Message(first)) = first {
            *message = first;
        }
        Ok(())
    }

    fn gather(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        let all = self.exchange("gather", Brought::Message(message.to_vec()))?;
        let messages = all.into_iter().filter_map(|brought| match brought {
            Brought::Message(message) => Some(message),
            _ => None,
        });
        Ok(match self.rank {
            0 => messages.collect(),
            _ => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn every_rank_gets_the_same_sums_copies_and_parts() {
        let all = run(3, |ranks| {
            let own = vec![ranks.rank() as f32 + 0.5; 4];
            let x = Tensor::new(own, &Device::Cpu).unwrap();
            ranks.start_sum(&x.narrow(0, 0, 2).unwrap()).unwrap();
            ranks.start_sum(&x.narrow(0, 2, 1).unwrap()).unwrap();
            ranks.finish_sums().unwrap();
            let sums = ops::read(&x).unwrap();
            ranks.broadcast(&x).unwrap();
            let first = ops::read(&x).unwrap();
            ops::write(&x, &[ranks.rank() as f32; 4]).unwrap();
            ranks.all_gather(&x, &[0..1, 1..2, 2..4]).unwrap();
            let mut numbers = [1.0, ranks.rank() as f64];
            ranks.sum(&mut numbers).unwrap();
            let mut said = vec![ranks.rank() as u8];
            ranks.announce(&mut said).unwrap();
            let gathered = ranks.gather(&[7, ranks.rank() as u8]).unwrap();
            (sums, first, ops::read(&x).unwrap(), numbers, said, gathered)
        });
        for (rank, found) in all.into_iter().enumerate() {
            let (sums, first, parts, numbers, said, gathered) = found;
            assert_eq!(sums, [4.5, 4.5, 4.5, rank as f32 + 0.5]);
            assert_eq!(first, [4.5, 4.5, 4.5, 0.5]);
            assert_eq!(parts, [0.0, 1.0, 2.0, 2.0]);
            assert_eq!((numbers, said), ([3.0, 3.0], vec![0]));
            let wanted: Vec<Vec<u8>> = (0..3).map(|r| vec![7, r]).collect();
            assert_eq!(gathered, if rank == 0 { wanted } else { Vec::new() });
        }
    }

    #[test]
    fn a_rank_that_ends_or_calls_another_method_ends_the_exchange() {
        let all = run(2, |ranks| match ranks.rank() {
            0 => ranks.sum(&mut [0.0]).map_err(|e| e.to_string()),
            _ => Ok(()),
        });
        assert!(all[0].as_ref().unwrap_err().contains("rank 1 is lost"));
        let all = run(2, |ranks| match ranks.rank() {
            0 => ranks.sum(&mut [0.0]),
            _ => ranks.announce(&mut Vec::new()),
        });
        assert!(all.iter().all(Result::is_err));
    }
}
