//! Ranks over MPI, on the CPU: Open MPI, MPICH and their relatives.
//!
//! A thread of its own has the library (`worker`): it starts what a rank asks for, polls while the rank computes, so that
//! sums progress during a backward pass whether or not the library has threads, and watches the other ranks
//! ([`health`](super::health)). Sums are the library's own: for the same number of ranks they are taken in the same order,
//! and every rank has the same result.

mod board;
mod calls;
mod lend;
mod reports;
mod worker;

use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use candle_core::Tensor;

use self::board::Board;
use self::calls::{Group, Kind, Library, Place};
use self::lend::Lent;
use self::worker::{Ask, Memory, Worker};
use super::launch::{Launch, Launcher};
use super::messages::{self, HEAD, PART};
use super::peer::{self, Peer};
use super::{DistError, End, Ranks, Waited};
use crate::threads;

/// Time for all ranks to find each other.
const MEET: Duration = Duration::from_secs(60);

/// The limit of a wait until [`Ranks::set_timeout`] sets another.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of a description of a process on the wire.
const PEER: usize = 512;

/// The algorithm of Open MPI's nonblocking sums. By default it computes sums in place by a reduction to one rank and then a
/// broadcast (`coll_libnbc`'s "binomial"), in which rank 0 sends log2(N) times the values; a ring sends 2 (N-1)/N of them.
const ALGORITHM: (&str, &str) = ("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "ring");

/// Sets what the library reads from the environment, unless the user has set it. Must be called before a thread is started.
pub fn set_environment() {
    let (name, value) = ALGORITHM;
    if std::env::var_os(name).is_none() {
        // SAFETY: no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
}

fn too_long() -> DistError {
    DistError::Library("a message that does not fit into memory".into())
}

/// The ranks that a launcher of MPI has started.
#[derive(Debug)]
pub struct Mpi {
    rank: usize,
    peers: Vec<Peer>,
    library: String,
    board: Arc<Board>,
    asks: Mutex<Sender<Ask>>,
}

impl Mpi {
    /// Meets the other ranks.
    ///
    /// # Errors
    /// When the library refuses, has not started as many processes as the launcher, or ranks do not find each other.
    pub fn connect(launch: &Launch) -> Result<Self, DistError> {
        let board = Arc::new(Board::new(TIMEOUT));
        let (asks, asked) = channel();
        let (sender, met) = sync_channel(1);
        let (own, launch) = (Arc::clone(&board), launch.clone());
        let started = threads::spawn("mpi", move || match meet(&launch) {
            Ok((library, groups, peers)) => {
                let version = library.version();
                let worker = Worker::new(library, groups, &peers, own, asked);
                let _ = sender.send(Ok((groups.0.rank, peers, version)));
                worker.run();
            }
            Err(why) => drop(sender.send(Err(why))),
        });
        started.map_err(|why| DistError::Library(why.to_string()))?;
        let (rank, peers, library) = met.recv_timeout(MEET).unwrap_or_else(|why| {
            Err(match why {
                RecvTimeoutError::Timeout => format!(
                    "ranks have not found each other within {} s: every host must reach every other one under the address that its name \
                     stands for, and the same MPI library must be on all (for Open MPI, --mca btl_tcp_if_include names the network)",
                    MEET.as_secs()
                ),
                RecvTimeoutError::Disconnected => "the MPI library's thread has ended".into(),
            })
        })
        .map_err(DistError::Library)?;
        Ok(Self {
            rank,
            peers,
            library,
            board,
            asks: Mutex::new(asks),
        })
    }

    /// Counts the ranks that are `near` this one, itself included.
    fn count(&self, near: fn(&Peer, &Peer) -> bool) -> usize {
        let own = &self.peers[self.rank];
        self.peers.iter().filter(|peer| near(peer, own)).count()
    }

    fn ask(&self, ask: Ask) -> Result<(), DistError> {
        self.board.check()?;
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        asks.send(ask).map_err(|_| self.board.failure())
    }

    /// Has the worker do something with memory, and waits until that is done.
    fn exchange(&self, ask: impl FnOnce(worker::Done) -> Ask) -> Result<Memory, DistError> {
        let (done, waits) = sync_channel(1);
        self.ask(ask(done))?;
        let memory = self.board.waiting(|| waits.recv());
        memory.map_err(|_| self.board.failure())
    }

    fn exchange_bytes(&self, ask: impl FnOnce(worker::Done) -> Ask) -> Result<Vec<u8>, DistError> {
        match self.exchange(ask)? {
            Memory::Bytes(bytes) => Ok(bytes),
            _ => Err(DistError::Library(
                "an exchange has returned other memory".into(),
            )),
        }
    }

    /// Brings `own`, which has the same length on every rank, of every rank to every rank.
    fn gather_equal(&self, own: &[u8]) -> Result<Vec<u8>, DistError> {
        let n = own.len();
        let mut all = vec![0; n * self.world()];
        all[n * self.rank..][..n].copy_from_slice(own);
        let parts = (0..self.world()).map(|rank| n * rank..n * (rank + 1));
        let parts = parts.collect();
        self.exchange_bytes(|done| Ask::AllGather {
            memory: Memory::Bytes(all),
            parts,
            done,
        })
    }

    fn broadcast_bytes(&self, bytes: Vec<u8>, patient: bool) -> Result<Vec<u8>, DistError> {
        self.exchange_bytes(|done| Ask::Broadcast {
            memory: Memory::Bytes(bytes),
            patient,
            done,
        })
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.peers.len()
    }

    fn start_sum(&self, part: &Tensor) -> Result<(), DistError> {
        let lent = Lent::new(part)?;
        self.board.begin_sum();
        self.ask(Ask::Sum(lent))
    }

    fn finish_sums(&self) -> Result<Waited, DistError> {
        self.board.waiting(|| self.board.wait_for_sums())
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<(), DistError> {
        let own: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let all = self.gather_equal(&own)?;
        numbers.fill(0.0);
        for rank in all.chunks_exact(own.len().max(1)) {
            for (sum, x) in numbers.iter_mut().zip(rank.as_chunks::<8>().0) {
                *sum += f64::from_le_bytes(*x);
            }
        }
        Ok(())
    }

    fn all_gather(&self, flat: &Tensor, parts: &[Range<usize>]) -> Result<(), DistError> {
        let n = flat.elem_count();
        if parts.len() != self.world() || parts.iter().any(|p| p.start > p.end || p.end > n) {
            let message = format!(
                "{} parts of {n} numbers for {} ranks",
                parts.len(),
                self.world()
            );
            return Err(DistError::Library(message));
        }
        let (memory, parts) = (Memory::Tensor(Lent::new(flat)?), parts.to_vec());
        self.exchange(|done| Ask::AllGather {
            memory,
            parts,
            done,
        })
        .map(drop)
    }

    fn broadcast(&self, flat: &Tensor) -> Result<(), DistError> {
        let memory = Memory::Tensor(Lent::new(flat)?);
        self.exchange(|done| Ask::Broadcast {
            memory,
            patient: false,
            done,
        })
        .map(drop)
    }

    fn announce(&self, message: &mut Vec<u8>) -> Result<(), DistError> {
        let head = match self.rank {
            0 => messages::head(message),
            _ => vec![0; HEAD],
        };
        let head = self.broadcast_bytes(head, true)?;
        let (mut read, rest) = messages::read_head(&head).ok_or_else(too_long)?;
        if rest > 0 {
            let rest = match self.rank {
                0 => message[message.len() - rest..].to_vec(),
                _ => vec![0; rest],
            };
            read.extend(self.broadcast_bytes(rest, false)?);
        }
        if self.rank != 0 {
            *message = read;
        }
        Ok(())
    }

    fn gather(&self, message: &[u8]) -> Result<Vec<Vec<u8>>, DistError> {
        let lengths = self.gather_equal(&(message.len() as u64).to_le_bytes())?;
        let lengths = messages::lengths(&lengths).ok_or_else(too_long)?;
        let mut all = vec![Vec::new(); self.world()];
        for (start, size) in messages::rounds(&lengths, PART) {
            let mut end = 0;
            let parts = lengths.iter().map(|length| {
                let begin = end;
                end += messages::within(*length, start, size).len();
                begin..end
            });
            let parts: Vec<_> = parts.collect();
            let own = parts[self.rank].clone();
            let mut bytes = vec![0; end];
            bytes[own].copy_from_slice(&message[messages::within(message.len(), start, size)]);
            let table = parts.clone();
            let bytes = self.exchange_bytes(|done| Ask::AllGather {
                memory: Memory::Bytes(bytes),
                parts: table,
                done,
            })?;
            for (all, part) in all.iter_mut().zip(parts) {
                all.extend_from_slice(&bytes[part]);
            }
        }
        Ok(match self.rank {
            0 => all,
            _ => Vec::new(),
        })
    }

    fn check(&self) -> Result<(), DistError> {
        self.board.check()
    }

    fn set_timeout(&self, timeout: Duration) {
        self.board.set_timeout(timeout);
    }

    fn library(&self) -> String {
        self.library.clone()
    }

    fn hosts(&self) -> Vec<String> {
        peer::hosts(&self.peers)
    }

    fn on_host(&self) -> usize {
        self.count(Peer::is_near)
    }

    fn sharing(&self) -> usize {
        self.count(Peer::shares)
    }

    fn end(&self, how: &End) {
        let (done, waits) = sync_channel(1);
        let ask = Ask::End {
            how: how.clone(),
            done,
        };
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        if asks.send(ask).is_ok() {
            // Returns when the worker ends, which drops the sender.
            let _ = waits.recv();
        }
    }
}

/// The library, its groups and the ranks' processes, with which its thread begins.
type Met = (Library, (Group, Group), Vec<Peer>);

/// Initialises the library and exchanges the descriptions of the ranks' processes.
fn meet(launch: &Launch) -> Result<Met, String> {
    let library = Library::start()?;
    let world = library.world()?;
    if world != launch.world {
        let (launcher, version) = (launch.launcher, library.version());
        let srun = match launch.launcher {
            Launcher::Slurm | Launcher::Pmi => {
                "; with srun, `srun --mpi=list` names what --mpi= can be, and pmix or pmi2 must be one that this library knows"
            }
            _ => "",
        };
        return Err(format!(
            "{launcher} has started {} processes ({} = {}), but MPI sees {world}: heirloom is built with {version}, and must be started \
             by that library's mpirun{srun}",
            launch.world,
            launch.launcher.size_variable(),
            launch.world,
        ));
    }
    let (data, reports) = (library.group()?, library.group()?);
    let own = serde_json::to_vec(&Peer::own()).map_err(|why| why.to_string())?;
    if own.len() > PEER {
        return Err("the host's name is too long".into());
    }
    let mut all = vec![b' '; PEER * world];
    all[PEER * data.rank..][..own.len()].copy_from_slice(&own);
    let parts: Vec<_> = (0..world)
        .map(|rank| PEER * rank..PEER * (rank + 1))
        .collect();
    // SAFETY: the vector lives to the end of this function, and is not touched before the requests are done; an error ends
    // the process.
    let place = unsafe { Place::new(all.as_mut_ptr().cast(), all.len(), Kind::Bytes) };
    let mut requests = Vec::new();
    let _table = library.all_gather(data, place, &parts, &mut requests)?;
    while let Some(pending) = requests.last_mut() {
        match library.is_done(pending)? {
            true => drop(requests.pop()),
            false => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    let peers = all.chunks(PEER).map(serde_json::from_slice);
    let peers: Result<Vec<_>, _> = peers.collect();
    let peers = peers.map_err(|why| format!("a rank has sent no description of itself: {why}"))?;
    Ok((library, (data, reports), peers))
}
