//! The ranks of a run as training sees them: what rank 0 announces, what the others hear, and when the exchange is over.

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
/// An operation is under way, or has failed: the ranks may stand at different places of it.
const BUSY: u8 = 1;
/// The others have been dismissed.
const OVER: u8 = 2;

/// This process and the other ranks of its run.
///
/// Rank 0 [announces](Self::tell) each operation before it takes part in it, and says so when it is [done](Self::done).
/// Dropped on rank 0, it dismisses ranks that wait for an operation.
#[derive(Debug)]
pub struct Peers {
    ranks: Arc<dyn Ranks>,
    stage: AtomicU8,
}

impl Peers {
    /// The ranks of a run that begins.
    pub fn new(ranks: Arc<dyn Ranks>) -> Self {
        Self {
            ranks,
            stage: AtomicU8::new(IDLE),
        }
    }

    /// A run of one process.
    pub fn none() -> Self {
        Self::new(Arc::new(Solo))
    }

    /// The exchange itself.
    pub fn ranks(&self) -> &dyn Ranks {
        &*self.ranks
    }

    /// The same, to be shared.
    pub fn engine(&self) -> Arc<dyn Ranks> {
        Arc::clone(&self.ranks)
    }

    /// This process's number, and the number of ranks.
    pub fn place(&self) -> (usize, usize) {
        (self.ranks.rank(), self.ranks.world())
    }

    /// This process's part of `n` items.
    pub fn part(&self, n: usize) -> Range<usize> {
        let (rank, world) = self.place();
        slice(n, rank, world)
    }

    /// Whether all ranks can still be used. Work of this rank alone that may take seconds calls it between its parts, so that a
    /// rank that is lost meanwhile ends it.
    ///
    /// # Errors
    /// Names the rank that is lost or hangs.
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

    /// On rank 0, announces what all ranks do next; does nothing on other ranks, and with one process.
    ///
    /// # Errors
    /// When a rank is lost, or an operation before has failed on this rank, after which the ranks may stand at different places.
    pub fn tell(&self, instruction: impl FnOnce() -> Instruction) -> Result<()> {
        if !self.are_there() || !self.leads() {
            return Ok(());
        }
        self.check()?;
        if self.stage.swap(BUSY, Ordering::Relaxed) != IDLE {
            bail!("the other ranks are out of step after an error: resume the run");
        }
        self.announce(&instruction())
    }

    /// Whether no operation is under way: an error was one that all ranks know of.
    pub fn are_in_step(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == IDLE
    }

    /// Ends an operation that was announced.
    pub fn done(&self) {
        let stage = (BUSY, IDLE);
        let (order, same) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.stage.compare_exchange(stage.0, stage.1, order, same);
    }

    /// On other ranks than 0, waits for what is to be done next.
    ///
    /// # Errors
    /// When rank 0 is lost, or is of another version.
    pub fn hear(&self) -> Result<Instruction> {
        let instruction = self.receive()?;
        self.stage.store(BUSY, Ordering::Relaxed);
        Ok(instruction)
    }

    fn announce(&self, message: &impl Serialize) -> Result<()> {
        let mut bytes = postcard::to_stdvec(message)?;
        Ok(self.ranks.announce(&mut bytes)?)
    }

    /// On rank 0, gives the others a value that they [receive](Self::receive).
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn hand_out(&self, value: &impl Serialize) -> Result<()> {
        self.announce(value)
    }

    /// On other ranks than 0, takes what rank 0 hands out.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn receive<T: DeserializeOwned>(&self) -> Result<T> {
        let mut bytes = Vec::new();
        self.ranks.announce(&mut bytes)?;
        postcard::from_bytes(&bytes)
            .context("rank 0 announces what this rank does not know: are the programs the same?")
    }

    /// Brings rank 0's value to all ranks: its `value`, or what another rank hears of it.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn share<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<T> {
        match (self.are_there(), self.leads()) {
            (false, _) => Ok(value),
            (true, true) => self.announce(&value).map(|()| value),
            (true, false) => self.receive(),
        }
    }

    /// Brings every rank's value to rank 0, in the order of ranks; other ranks get none.
    ///
    /// # Errors
    /// When a rank is lost, or does not come in time.
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

    /// Lets rank 0 decide for all whether an operation continues. The outer result is the exchange's, the inner one rank 0's: its
    /// own error there, and its words on the others.
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
                self.announce(&said)?;
                Ok(Ok(value))
            }
            Err(error) => {
                let said: Result<T, String> = Err(format!("{error:#}"));
                self.announce(&said)?;
                Ok(Err(error))
            }
        }
    }

    /// Goes on only if all ranks can. The outer result is the exchange's, the inner one this rank's or, if it could go on, that of
    /// the first rank that cannot.
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

    /// On rank 0, says how the run has ended; the other ranks leave. Nothing after an operation that has failed on this rank, for
    /// which the others may still wait: the engine ends them with this process.
    pub fn dismiss(&self, ended: &Ended) {
        let before = self.stage.swap(OVER, Ordering::Relaxed);
        if before == IDLE && self.are_there() && self.leads() {
            // A rank that is lost cannot be dismissed.
            let _ = self.announce(&Instruction::End(ended.clone()));
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.dismiss(&Ended::Failed("rank 0 has failed".into()));
    }
}
