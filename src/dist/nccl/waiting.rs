//! Waits for the GPU while other ranks may be lost: every wait here also checks the other ranks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::cuda_backend::cudarc::driver::CudaEvent;

use super::communicator::Communicator;
use super::limit::Limit;
use super::machines::{Process, named_in};
use crate::dist::peer::{self, Life, Peer};
use crate::dist::{DistError, Ranks};

/// Time at the beginning of a wait in which the event is checked without pauses.
const BUSY: Duration = Duration::from_millis(2);
/// Pause between two checks after that.
const OFTEN: Duration = Duration::from_micros(50);
/// Pause between two checks in a wait that takes longer than [`LONG`].
const SELDOM: Duration = Duration::from_micros(500);
const LONG: Duration = Duration::from_millis(50);
/// Interval between two checks of NCCL's state and the others' processes.
const LOOKS: Duration = Duration::from_millis(200);
/// Time after a process's end in which the data that it sent before may still arrive.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// The time limit of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// `dist.timeout_s`.
    Limited,
    /// As long as the others live.
    Unlimited,
}

/// One rank's view of the other ranks.
#[derive(Debug)]
pub(super) struct Watch {
    rank: usize,
    limit: Limit,
    processes: Vec<Process>,
    /// Another library, which also sees ranks of other machines.
    over: Option<Arc<dyn Ranks>>,
}

impl Watch {
    /// Makes a watch that knows no process yet.
    pub(super) fn new(rank: usize, limit: Limit, over: Option<Arc<dyn Ranks>>) -> Self {
        Self {
            rank,
            limit,
            processes: Vec::new(),
            over,
        }
    }

    pub(super) fn over(&self) -> Option<&Arc<dyn Ranks>> {
        self.over.as_ref()
    }

    /// The names of the hosts, each once, in the order of their first rank.
    pub(super) fn hosts(&self) -> Vec<String> {
        peer::hosts(self.processes.iter().map(|process| &process.peer))
    }

    /// Counts the ranks that are `near` this one, itself included.
    pub(super) fn count(&self, near: fn(&Peer, &Peer) -> bool) -> usize {
        let own = self.processes.get(self.rank);
        let near = |p: &&Process| own.is_some_and(|own| near(&p.peer, &own.peer));
        self.processes.iter().filter(near).count().max(1)
    }

    pub(super) fn know(&mut self, processes: Vec<Process>) {
        self.processes = processes;
    }

    /// Waits until an event has come; fails when another rank is lost.
    pub(super) fn wait(
        &self,
        event: &CudaEvent,
        comm: &Communicator,
        what: &str,
        patience: Patience,
    ) -> Result<(), DistError> {
        let start = Instant::now();
        let (mut looked, mut ended) = (start, None);
        loop {
            match event.try_is_complete() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    let seen = format!("while {what}, the GPU's driver reports {error}");
                    return Err(self.lost_in(&seen));
                }
            }
            let now = Instant::now();
            let waited = now - start;
            if now - looked >= LOOKS {
                looked = now;
                if let Some(over) = &self.over {
                    over.check()?;
                }
                if let Some(error) = comm.error() {
                    return Err(self.lost_in(&format!("while {what}, NCCL reports {error}")));
                }
                let (rank, since) = match ended.take() {
                    Some(known) => known,
                    None => (self.is_any(Life::Ended), now),
                };
                ended = rank.map(|rank| (Some(rank), since));
                if let Some(rank) = rank
                    && now - since >= ON_ITS_WAY
                {
                    return Err(self.ended(rank, what));
                }
            }
            if patience == Patience::Limited && waited > self.limit.get() {
                return Err(self.hangs(what));
            }
            match waited {
                w if w < BUSY => std::thread::yield_now(),
                w if w < LONG => std::thread::sleep(OFTEN),
                _ => std::thread::sleep(SELDOM),
            }
        }
    }

    /// Checks the other ranks once.
    pub(super) fn look(&self, comm: &Communicator) -> Result<(), DistError> {
        const WHAT: &str = "working alone";
        if let Some(over) = &self.over {
            over.check()?;
        }
        if let Some(error) = comm.error() {
            return Err(self.lost_in(&format!("while {WHAT}, NCCL reports {error}")));
        }
        match self.is_any(Life::Ended) {
            Some(rank) => Err(self.ended(rank, WHAT)),
            None => Ok(()),
        }
    }

    fn ended(&self, rank: usize, what: &str) -> DistError {
        let (name, by) = (self.name(rank), self.rank);
        DistError::Lost {
            rank,
            seen: format!("{name} has ended, as rank {by} saw while {what}"),
        }
    }

    fn name(&self, rank: usize) -> String {
        self.processes
            .get(rank)
            .map_or_else(|| "its process".into(), Process::name)
    }

    /// Returns the first other rank whose process is in this state.
    fn is_any(&self, life: Life) -> Option<usize> {
        let own = self.processes.get(self.rank)?;
        let mut others = self.processes.iter().enumerate();
        let found =
            others.find(|(rank, p)| *rank != self.rank && p.peer.look_from(&own.peer) == life);
        found.map(|(rank, _)| rank)
    }

    /// Attributes an error of NCCL to the rank whose process has ended, or whose machine the message names.
    fn lost_in(&self, seen: &str) -> DistError {
        let by = format!("{seen} (seen by rank {})", self.rank);
        // The kernel may need a moment to end a process whose connection has gone.
        std::thread::sleep(LOOKS);
        if let Some(rank) = self.is_any(Life::Ended) {
            let name = self.name(rank);
            return DistError::Lost {
                rank,
                seen: format!("{name} has ended; {by}"),
            };
        }
        match named_in(seen, &self.processes, self.rank).as_slice() {
            [] => DistError::Library(by),
            [rank] => DistError::Lost {
                rank: *rank,
                seen: by,
            },
            [first, .., last] => DistError::Lost {
                rank: *first,
                seen: format!(
                    "or one of ranks {first} to {last}, all on {}: {by}",
                    self.processes[*first].peer.host
                ),
            },
        }
    }

    fn hangs(&self, what: &str) -> DistError {
        let seconds = self.limit.get().as_secs();
        let waited = format!(
            "rank {} waited {seconds} s (dist.timeout_s) while {what}",
            self.rank
        );
        if let Some(rank) = self.is_any(Life::Stopped) {
            let name = self.name(rank);
            return DistError::Hangs {
                rank,
                seen: format!("{name} is stopped; {waited}"),
            };
        }
        match (self.rank, self.processes.len()) {
            (rank @ (0 | 1), 2) => DistError::Hangs {
                rank: 1 - rank,
                seen: waited,
            },
            _ => DistError::Library(format!(
                "{waited}, and NCCL does not report for which rank: see the last lines of every rank"
            )),
        }
    }
}
