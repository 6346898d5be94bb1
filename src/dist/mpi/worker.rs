//! The thread that owns the library: it starts the requested exchanges, lets them progress while other threads compute,
//! [reports](super::reports) about once a second, and detects lost ranks.

use std::ffi::c_void;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use super::board::Board;
use super::calls::{Group, Kind, Library, Pending, Place};
use super::lend::Lent;
use super::reports::Reports;
use crate::dist::health::{Beat, Health, Waits};
use crate::dist::peer::{Life, Peer};
use crate::dist::{DistError, End};

/// Interval between two checks of processes and reports.
const GLANCE: Duration = Duration::from_millis(100);

/// A pause between two looks at the library while others compute: short enough for a network, too short to take a
/// noticeable share of a core.
const BETWEEN: Duration = Duration::from_micros(60);

/// Time that rank 0 has after a failure to write its journal, and other ranks to see rank 0 end.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Time after a failed call to find out which rank is lost.
const BLAME: Duration = Duration::from_secs(11);

/// Time that rank 0 waits for the others at the end, who have nothing to do by then.
const PARTING: Duration = Duration::from_secs(15);

/// Memory that the library uses: kept here until the library is done with it.
#[derive(Debug)]
pub enum Memory {
    Tensor(Lent),
    Bytes(Vec<u8>),
    None,
}

/// A request of another thread.
#[derive(Debug)]
pub enum Ask {
    /// Add up a tensor; the board counts it.
    Sum(Lent),
    /// Copy rank 0's memory to all. A `patient` rank waits as long as rank 0 lives.
    Broadcast {
        memory: Memory,
        patient: bool,
        done: Done,
    },
    /// Complete memory by every rank's part, in numbers of its kind.
    AllGather {
        memory: Memory,
        parts: Vec<Range<usize>>,
        done: Done,
    },
    /// End this process's part.
    End { how: End, done: Done },
}

/// The channel through which a caller gets its memory back.
pub type Done = SyncSender<Memory>;

/// An exchange under way.
#[derive(Debug)]
struct Exchange {
    number: u64,
    since: Instant,
    patient: bool,
    requests: Vec<Pending>,
    memory: Memory,
    /// Counts and displacements that the library reads.
    table: Vec<i32>,
    /// `None`: a sum.
    done: Option<Done>,
}

/// The state of the thread.
pub struct Worker {
    library: Library,
    data: Group,
    reports: Reports,
    board: Arc<Board>,
    asks: Receiver<Ask>,
    running: Vec<Exchange>,
    health: Health,
    own: Peer,
    leader: Peer,
    beat: Beat,
    glanced: Instant,
    /// The time of the last progress.
    quiet: Instant,
    failed: Option<Instant>,
    /// The time and the message of a call that has failed.
    broken: Option<(Instant, String)>,
    /// The time since which a caller only waits.
    waits: Option<Instant>,
}

impl Worker {
    pub fn new(
        library: Library,
        (data, reports): (Group, Group),
        peers: &[Peer],
        board: Arc<Board>,
        asks: Receiver<Ask>,
    ) -> Self {
        let now = Instant::now();
        let health = Health::new(data.rank, peers, now);
        Self {
            reports: Reports::new(reports, &health),
            health,
            library,
            own: peers[data.rank].clone(),
            leader: peers[0].clone(),
            data,
            board,
            asks,
            running: Vec::new(),
            beat: Beat::default(),
            glanced: now,
            quiet: now,
            failed: None,
            broken: None,
            waits: None,
        }
    }

    /// Serves until the end.
    pub fn run(mut self) {
        loop {
            let now = Instant::now();
            match self.next() {
                Ok(Ask::End { how, done }) => return self.end(how, &done),
                Ok(ask) => {
                    self.quiet = now;
                    // After a failure an ask is dropped: its sender sees its channel close, or, of a sum, the failure on the board.
                    if self.failed.is_none() && self.broken.is_none() {
                        let started = self.start(ask);
                        self.note(started);
                    }
                }
                Err(TryRecvError::Empty) => self.pause(),
                // The process ends without a request to end, as after a panic.
                Err(TryRecvError::Disconnected) => {
                    let how = End::Failed("its process ends".into());
                    return self.end(how, &std::sync::mpsc::sync_channel(1).0);
                }
            }
            if self.failed.is_none() && self.broken.is_none() {
                let progressed = self.progress();
                self.note(progressed);
            }
            self.glance();
        }
    }

    /// Notes that a call has failed: nothing is exchanged any more, and reports and processes will show which rank is lost.
    fn note(&mut self, done: Result<(), String>) {
        if let Err(why) = done {
            self.broken = Some((Instant::now(), why));
        }
    }

    /// The next thing to do. Waits for it where nothing is under way.
    fn next(&self) -> Result<Ask, TryRecvError> {
        if !self.running.is_empty() {
            return self.asks.try_recv();
        }
        match self.asks.recv_timeout(GLANCE) {
            Ok(ask) => Ok(ask),
            Err(RecvTimeoutError::Timeout) => Err(TryRecvError::Empty),
            Err(RecvTimeoutError::Disconnected) => Err(TryRecvError::Disconnected),
        }
    }

    /// Leaves the core to others between two looks, for longer the longer nothing happens.
    fn pause(&self) {
        if self.running.is_empty() {
            return;
        }
        let quiet = self.quiet.elapsed();
        let pause = match self.board.is_waited_for() {
            false => BETWEEN,
            true if quiet < Duration::from_millis(5) => Duration::ZERO,
            true if quiet < Duration::from_millis(200) => Duration::from_micros(20),
            true if quiet < Duration::from_secs(2) => Duration::from_micros(200),
            true => Duration::from_millis(2),
        };
        match pause.is_zero() {
            true => std::thread::yield_now(),
            false => std::thread::sleep(pause),
        }
    }

    /// Starts what was asked for.
    fn start(&mut self, ask: Ask) -> Result<(), String> {
        self.beat.begun += 1;
        let mut exchange = Exchange {
            number: self.beat.begun,
            since: Instant::now(),
            patient: false,
            requests: Vec::new(),
            memory: Memory::None,
            table: Vec::new(),
            done: None,
        };
        let started = match ask {
            Ask::Sum(lent) => {
                let place = lent.place();
                exchange.memory = Memory::Tensor(lent);
                self.library.sum(self.data, place, &mut exchange.requests)
            }
            Ask::Broadcast {
                memory,
                patient,
                done,
            } => {
                exchange.memory = memory;
                exchange.patient = patient && self.data.rank != 0;
                exchange.done = Some(done);
                let place = place(&mut exchange.memory);
                let requests = &mut exchange.requests;
                self.library.broadcast(self.data, place, 0, requests)
            }
            Ask::AllGather {
                memory,
                parts,
                done,
            } => {
                exchange.memory = memory;
                exchange.done = Some(done);
                let place = place(&mut exchange.memory);
                let requests = &mut exchange.requests;
                let gathered = self.library.all_gather(self.data, place, &parts, requests);
                gathered.map(|table| exchange.table = table)
            }
            // Served by `run`.
            Ask::End { .. } => Ok(()),
        };
        // Also after an error: parts may have been started, to whose memory the library still writes, and its caller is
        // answered with what has been found out.
        self.running.push(exchange);
        started
    }

    /// Lets the library work, and returns the memory of finished exchanges.
    fn progress(&mut self) -> Result<(), String> {
        let mut at = 0;
        while at < self.running.len() {
            let exchange = &mut self.running[at];
            while let Some(pending) = exchange.requests.last_mut() {
                if !self.library.is_done(pending)? {
                    break;
                }
                exchange.requests.pop();
                self.quiet = Instant::now();
            }
            if !exchange.requests.is_empty() {
                at += 1;
                continue;
            }
            let exchange = self.running.remove(at);
            match exchange.done {
                // A caller that has gone needs no answer.
                Some(done) => drop(done.send(exchange.memory)),
                None => {
                    drop(exchange.memory);
                    self.board.end_sum();
                }
            }
        }
        Ok(())
    }

    /// Reads and sends reports and judges the other ranks, when this is due.
    fn glance(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.glanced) < GLANCE {
            return;
        }
        self.glanced = now;
        let reported = self.report(now);
        if let Some(failed) = self.failed {
            if now.saturating_duration_since(failed) >= LAST_WORDS + Duration::from_secs(3) {
                self.end_by_force();
            }
            return;
        }
        self.waits = match self.board.is_waited_for() {
            true => self.waits.or(Some(now)),
            false => None,
        };
        let waits = self.running.first().filter(|exchange| !exchange.patient);
        let waits = waits.zip(self.waits).map(|(exchange, since)| Waits {
            exchange: exchange.number,
            since: since.max(exchange.since),
        });
        let judged = self.health.judge(now, waits, self.board.timeout());
        if let Err(failure) = judged.and(reported) {
            return self.fail(failure);
        }
        // If a lost rank caused the failure, that is known by now.
        if let Some((since, why)) = &self.broken
            && now.saturating_duration_since(*since) >= BLAME
        {
            self.fail(DistError::Library(why.clone()));
        }
    }

    fn report(&mut self, now: Instant) -> Result<(), DistError> {
        let (library, health) = (&self.library, &mut self.health);
        self.reports.exchange(library, &self.beat, health, now)
    }

    /// Notes that the ranks cannot be used any more, and reports that to those that hear this one.
    fn fail(&mut self, failure: DistError) {
        if self.failed.is_some() {
            return;
        }
        let now = Instant::now();
        self.failed = Some(now);
        self.beat.failed = Some(failure.to_string());
        self.board.fail(failure);
        for mut exchange in self.running.drain(..) {
            // Dropping the sender wakes the caller.
            drop(exchange.done.take());
            // The library may still write to it.
            std::mem::forget(exchange.memory);
            std::mem::forget(exchange.table);
        }
        self.reports.hurry();
        let _ = self.report(now);
    }

    fn end(mut self, how: End, done: &Done) {
        let how = match (how, self.failed) {
            (End::Together, Some(_)) => End::Failed(self.board.failure().to_string()),
            (how, _) => how,
        };
        let together = how == End::Together && self.meet();
        if together {
            let Self {
                library, reports, ..
            } = self;
            // Reports may be under way.
            std::mem::forget(reports);
            library.finish();
            let _ = done.send(Memory::None);
            return;
        }
        if let End::Failed(why) = how {
            self.fail(DistError::Library(why));
        }
        match self.data.rank {
            // Rank 0 has written everything, so the launcher may end the others.
            0 => self.library.abort(1),
            _ => self.outlive_leader(),
        }
        let _ = done.send(Memory::None);
        std::mem::forget(self.reports);
    }

    /// Waits until all ranks have ended their part. Returns false when one is lost before.
    fn meet(&mut self) -> bool {
        let since = Instant::now();
        let Ok(mut pending) = self.library.barrier(self.data) else {
            return false;
        };
        loop {
            match self.library.is_done(&mut pending) {
                Ok(true) => return true,
                Ok(false) => std::thread::sleep(Duration::from_millis(1)),
                Err(_) => return false,
            }
            self.glance();
            let late = self.data.rank == 0 && since.elapsed() >= PARTING;
            if self.failed.is_some() || late {
                return false;
            }
        }
    }

    /// Waits for rank 0's end, so that the launcher does not end rank 0 because of this one before its journal is written; then ends all
    /// ranks, since not every launcher does.
    fn outlive_leader(&mut self) {
        let since = Instant::now();
        while since.elapsed() < LAST_WORDS && self.leader_writes() {
            self.reports.hurry();
            let _ = self.report(Instant::now());
            std::thread::sleep(GLANCE);
        }
        self.library.abort(1);
    }

    /// Whether rank 0 may still write its journal, as far as that can be seen.
    fn leader_writes(&self) -> bool {
        let life = self.leader.look_from(&self.own);
        !matches!(life, Life::Ended | Life::Stopped)
    }

    /// Ends a process whose other threads do not.
    fn end_by_force(&self) -> ! {
        let _ = writeln!(
            std::io::stderr(),
            "rank {}: {}; its work does not end, so that the process does",
            self.data.rank,
            self.board.failure()
        );
        if self.data.rank == 0 {
            self.library.abort(1);
        }
        std::process::exit(1);
    }
}

/// Returns the place of memory, which does not move while an exchange has it.
fn place(memory: &mut Memory) -> Place {
    match memory {
        Memory::Tensor(lent) => lent.place(),
        Memory::Bytes(bytes) => {
            let (begin, n) = (bytes.as_mut_ptr().cast::<c_void>(), bytes.len());
            // SAFETY: a vector's memory stays where it is when the vector is moved; it is neither read nor changed until the
            // exchange is done, and leaked if the ranks fail before.
            unsafe { Place::new(begin, n, Kind::Bytes) }
        }
        // SAFETY: of no bytes.
        Memory::None => unsafe {
            Place::new(std::ptr::NonNull::dangling().as_ptr(), 0, Kind::Bytes)
        },
    }
}
