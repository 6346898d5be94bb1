//! The part of ranks other than 0: they carry out what rank 0's trainer announces, on their own device and texts.
//!
//! They know no recipe, no journal and no clock, and write nothing.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::instruction::Instruction;
use super::learner::Learner;
use super::outcome::Ended;
use super::peers::Peers;
use super::reader::Reader;
use crate::corpus::Dataset;
use crate::dist::Ranks;

/// The inputs of a rank other than 0. Shapes, sizes, weights and teachers come from rank 0.
pub struct FollowSetup {
    /// The texts of rank 0's run, encoded by the same tokenizer.
    pub dataset: Dataset,
    pub device: Device,
    pub ranks: Arc<dyn Ranks>,
}

/// Takes part in a run until rank 0 has ended it, and returns how it ended.
///
/// # Errors
/// When rank 0 is lost, or an operation fails on this rank; the other ranks then wait for it until its process ends.
pub fn run(setup: FollowSetup) -> Result<Ended> {
    let peers = Arc::new(Peers::new(setup.ranks));
    let place = peers.place();
    if place.0 == 0 {
        bail!("rank 0 leads: it follows no other rank");
    }
    let follower = Follower {
        reader: Reader::new(setup.dataset, place),
        device: setup.device,
        learner: None,
        peers,
    };
    let rank = place.0;
    follower.run().with_context(|| format!("rank {rank}"))
}

struct Follower {
    reader: Reader,
    device: Device,
    peers: Arc<Peers>,
    /// `None` until rank 0's first instruction.
    learner: Option<Learner>,
}

impl Follower {
    fn run(mut self) -> Result<Ended> {
        loop {
            match self.peers.hear()? {
                Instruction::End(ended) => return Ok(ended),
                Instruction::Begin {
                    shape,
                    passes,
                    bucket,
                } => {
                    let val = self.reader.dataset.val.len();
                    let learner = Learner::new(shape, passes, val, &self.device);
                    self.learner = Some(learner.among(&self.peers, bucket)?);
                }
                other => {
                    let learner = self.learner.as_mut().context("no learner was announced")?;
                    let done = carry_out(other, learner, &mut self.reader);
                    // If all ranks know of a failure, rank 0 decides what follows.
                    if let Err(why) = done
                        && !self.peers.are_in_step()
                    {
                        return Err(why);
                    }
                }
            }
        }
    }
}

fn carry_out(instruction: Instruction, learner: &mut Learner, reader: &mut Reader) -> Result<()> {
    match instruction {
        Instruction::Begin { .. } | Instruction::End(_) => {}
        Instruction::Passes(passes) => learner.set_passes(passes)?,
        Instruction::Replace { shape, trainable } => {
            learner.replace(shape, trainable, |_, _| Ok(()))?;
        }
        Instruction::Teach(Some(shape)) => learner.take_teacher(shape)?,
        Instruction::Teach(None) => learner.set_teacher(None)?,
        Instruction::Step(order) => {
            let batch = reader.read(&order.drawn)?;
            let step = learner.train_step(&batch, order.objective, &order.values());
            reader.give_back(batch);
            step?;
        }
        Instruction::Evaluate => {
            learner.evaluate(&reader.dataset.val)?;
        }
        Instruction::Probe { tau } => {
            let _ = learner.probe(&reader.dataset.val, tau)?;
        }
        Instruction::Norms(frozen) => {
            learner.norms(&frozen)?;
        }
        Instruction::Moments { moment, range } => {
            learner.gather_moments(moment, range)?;
        }
        Instruction::Score { vocab } => learner.help_score(vocab)?,
        Instruction::Pace => {
            learner.take_pace()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
