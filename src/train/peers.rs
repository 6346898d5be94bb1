//! The trainer's view of the ranks of a run: rank 0 announces operations, the other ranks receive them, and all take part.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::instruction::Instruction;
use super::outcome::Ended;
use crate::dist::{DistError, Ranks, Solo, slice};

/// No operation is under way: rank 0 may announce the next one.
const IDLE: u8 = 0;
/// An operation is under way, or has failed: the ranks may be at different places in it.
const BUSY: u8 = 1;
/// The others have been dismissed.
const OVER: u8 = 2;

/// This process and the other ranks of its run.
///
/// Rank 0 [announces](Self::announce) each operation before it takes part in it, and marks its end with [`done`](Self::done). When this
/// value is dropped on rank 0, the ranks that wait for an operation are dismissed.
#[derive(Debug)]
pub struct Peers {
    ranks: Arc<dyn Ranks>,
    stage: AtomicU8,
}

impl Peers {
    /// Makes the peers of a run that begins.
    pub fn new(ranks: Arc<dyn Ranks>) -> Self {
        Self {
            ranks,
            stage: AtomicU8::new(IDLE),
        }
    }

    /// Makes the peers of a run of one process.
    pub fn none() -> Self {
        Self::new(Arc::new(Solo))
    }

    /// Returns the engine over which the ranks exchange data.
    pub fn ranks(&self) -> &dyn Ranks {
        &*self.ranks
    }

    /// Returns the same engine as a shared pointer.
    pub fn engine(&self) -> Arc<dyn Ranks> {
        Arc::clone(&self.ranks)
    }

    /// Returns this process's rank, and the number of ranks.
    pub fn place(&self) -> (usize, usize) {
        (self.ranks.rank(), self.ranks.world())
    }

    /// Returns this process's part of `n` items.
    pub fn part(&self, n: usize) -> Range<usize> {
        let (rank, world) = self.place();
        slice(n, rank, world)
    }

    /// Checks that all ranks can still be used. Work without an exchange that may take seconds calls this between its parts, so that it
    /// ends when a rank is lost.
    ///
    /// # Errors
    /// When a rank is lost or hangs: names it.
    pub fn check(&self) -> Result<(), DistError> {
        self.ranks.check()
    }

    /// Whether there are other ranks.
    pub fn are_there(&self) -> bool {
        self.ranks.world() > 1
    }

    /// Whether this process is rank 0.
    pub fn leads(&self) -> bool {
        self.ranks.leads()
    }

    /// On rank 0, announces the next operation of all ranks; does nothing on other ranks, and with one process.
    ///
    /// # Errors
    /// When a rank is lost, or an earlier operation has failed on this rank, after which the ranks may be at different places.
    pub fn announce(&self, instruction: impl FnOnce() -> Instruction) -> Result<()> {
        if !self.are_there() || !self.leads() {
            return Ok(());
        }
        self.check()?;
        if self.stage.swap(BUSY, Ordering::Relaxed) != IDLE {
            bail!("the other ranks are out of step after an error: resume the run");
        }
        self.send(&instruction())
    }

    /// Whether no operation is under way. After an error this means that all ranks have had the error.
    pub fn are_in_step(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == IDLE
    }

    /// Ends an operation that was announced.
    pub fn done(&self) {
        let stage = (BUSY, IDLE);
        let (order, same) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.stage.compare_exchange(stage.0, stage.1, order, same);
    }

    /// On ranks other than 0, waits for the next instruction.
    ///
    /// # Errors
    /// When rank 0 is lost, or runs another version of the program.
    pub fn hear(&self) -> Result<Instruction> {
        let instruction = self.receive()?;
        self.stage.store(BUSY, Ordering::Relaxed);
        Ok(instruction)
    }

    fn send(&self, message: &impl Serialize) -> Result<()> {
        let mut bytes = postcard::to_stdvec(message)?;
        Ok(self.ranks.announce(&mut bytes)?)
    }

    /// On rank 0, sends a value that the others [receive](Self::receive).
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn hand_out(&self, value: &impl Serialize) -> Result<()> {
        self.send(value)
    }

    /// On ranks other than 0, receives a value that rank 0 sends.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn receive<T: DeserializeOwned>(&self) -> Result<T> {
        let mut bytes = Vec::new();
        self.ranks.announce(&mut bytes)?;
        postcard::from_bytes(&bytes)
            .context("rank 0 announces what this rank does not know: are the programs the same?")
    }

    /// Returns rank 0's `value` on all ranks.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn share<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<T> {
        match (self.are_there(), self.leads()) {
            (false, _) => Ok(value),
            (true, true) => self.send(&value).map(|()| value),
            (true, false) => self.receive(),
        }
    }

    /// Collects every rank's value on rank 0, in the order of ranks; other ranks get an empty list.
    ///
    /// # Errors
    /// When a rank is lost, or does not take part in time.
    pub fn collect<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<Vec<T>> {
        if !self.are_there() {
            return Ok(vec![value]);
        }
        let bytes = postcard::to_stdvec(&value)?;
        let all = self.ranks.gather(&bytes)?;
        let read = |(rank, bytes): (usize, &Vec<u8>)| {
            let read = postcard::from_bytes(bytes);
            read.with_context(|| format!("rank {rank} answers what this rank does not know"))
        };
        all.iter().enumerate().map(read).collect()
    }

    /// Lets rank 0 decide for all ranks whether an operation continues. The outer result is that of the exchange; the inner one is rank
    /// 0's, whose error the other ranks receive as text.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn follow<T: Serialize + DeserializeOwned>(&self, own: Result<T>) -> Result<Result<T>> {
        if !self.are_there() {
            return Ok(own);
        }
        if !self.leads() {
            let heard: Result<T, String> = self.receive()?;
            return Ok(heard.map_err(|why| anyhow!("rank 0: {why}")));
        }
        match own {
            Ok(value) => {
                let said: Result<&T, String> = Ok(&value);
                self.send(&said)?;
                Ok(Ok(value))
            }
            Err(error) => {
                let said: Result<T, String> = Err(format!("{error:#}"));
                self.send(&said)?;
                Ok(Err(error))
            }
        }
    }

    /// Returns `own` if it is `Ok` on all ranks. The outer result is that of the exchange; the inner error is this rank's own or, if it
    /// has none, that of the first rank that has one.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn agree<T>(&self, own: Result<T>) -> Result<Result<T>> {
        if !self.are_there() {
            return Ok(own);
        }
        let words = own.as_ref().err().map(|error| format!("{error:#}"));
        let all = self.collect(words)?;
        let refused = all.into_iter().enumerate().find_map(|(rank, words)| {
            let words = words?;
            Some(match rank {
                0 => words,
                rank => format!("rank {rank}: {words}"),
            })
        });
        let verdict = self.share(refused)?;
        Ok(match (own, verdict) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(why)) => Err(anyhow!(why)),
            (Ok(value), None) => Ok(value),
        })
    }

    /// Adds up numbers over all ranks.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn sum(&self, numbers: &mut [f64]) -> Result<()> {
        Ok(self.ranks.sum(numbers)?)
    }

    /// On rank 0, announces that the run has ended, upon which the other ranks end. Announces nothing after an operation that has failed
    /// on this rank: the others may still wait for that operation, and the engine ends them together with this process.
    pub fn dismiss(&self, ended: &Ended) {
        let before = self.stage.swap(OVER, Ordering::Relaxed);
        if before == IDLE && self.are_there() && self.leads() {
            // A rank that is lost cannot be dismissed.
            let _ = self.send(&Instruction::End(ended.clone()));
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.dismiss(&Ended::Failed("rank 0 has failed".into()));
    }
}
