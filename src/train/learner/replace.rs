//! Brings models into the learner's memory and out of it, on all ranks alike.

use anyhow::{Context, Result};

use super::{Buffers, Held, Learner, NONE_HELD};
use crate::device::memory;
use crate::eval::Evaluator;
use crate::model::{Decoder, DecoderConfig, Mode, Workspace};
use crate::ops::{self, Sums};
use crate::train::instruction::Instruction;
use crate::train::optimizer::{Optimizer, Share};
use crate::train::recordings::Recordings;

impl Learner {
    /// Takes a model of `shape` into use, trainable or only to be measured. `fill` writes its weights (all of them), and any parts of the
    /// optimizer's state, which begins at zero. In a run of several ranks, only rank 0 calls this, and the other ranks get the values that
    /// it wrote.
    ///
    /// Memory of the same shape is used again; memory of another shape is freed first. After an error no model is held.
    ///
    /// # Errors
    /// When there is not enough memory (on any rank), or `fill` fails.
    pub fn replace(
        &mut self,
        shape: DecoderConfig,
        trainable: bool,
        fill: impl FnOnce(&Decoder, Option<&mut Optimizer>) -> Result<()>,
    ) -> Result<()> {
        self.peers.announce(|| Instruction::Replace {
            shape: shape.clone(),
            trainable,
        })?;
        self.free_teacher();
        self.shape = shape;
        let held = self.fill_together(trainable, fill)?;
        self.peers.done();
        self.held = Some(held?);
        Ok(())
    }

    /// Makes room for a model of the present shape.
    fn prepare(&mut self, trainable: bool) -> Result<Held> {
        let fits = |held: &Held| {
            held.model.config.has_arenas_of(&self.shape) && held.optimizer.is_some() == trainable
        };
        match self.held.take() {
            Some(held) if fits(&held) => self.cleared(held),
            other => {
                drop(other);
                memory::return_freed();
                self.build(trainable)
            }
        }
    }

    /// Frees the model, its teacher and all buffers.
    pub fn release(&mut self) {
        self.held = None;
        self.teacher = None;
        memory::return_freed();
    }

    fn cleared(&self, mut held: Held) -> Result<Held> {
        held.model.config = self.shape.clone();
        // The scales of attention may differ, and they are recorded with the passes.
        held.buffers.recordings = Recordings::default();
        ops::zero(&held.model.grads.flat)?;
        if let Some(optimizer) = &mut held.optimizer {
            optimizer.reset()?;
        }
        Ok(held)
    }

    fn build(&self, trainable: bool) -> Result<Held> {
        let format = self.passes.format;
        let mut model = Decoder::frozen(self.shape.clone(), format, &self.device)?;
        let optimizer = match trainable {
            true => {
                model.make_trainable()?;
                Some(self.new_optimizer(&model)?)
            }
            false => None,
        };
        Ok(Held {
            buffers: self.buffers(trainable)?,
            model,
            optimizer,
        })
    }

    fn buffers(&self, trainable: bool) -> Result<Buffers> {
        let (p, shape) = (&self.passes, &self.shape);
        let (size, mode) = match trainable {
            true => ((p.micro, p.time), p.mode),
            false => ((p.eval_batch, p.time), Mode::Forward),
        };
        let workspace = Workspace::with_room(shape, size, mode, p.format, p.rows(), &self.device)?;
        let pass = workspace.forward_view(shape, p.eval_batch, p.time, p.format.compute)?;
        Ok(Buffers {
            evaluator: Evaluator::within(pass, self.val_tokens, p.eval_windows)?,
            workspace,
            sums: Sums::zero(&self.device)?,
            recordings: Recordings::default(),
            probe: None,
        })
    }

    /// Allocates what training needs for a model that was only measured so far.
    pub(super) fn make_trainable(&mut self) -> Result<()> {
        let held = self.held.take().context(NONE_HELD)?;
        let Held {
            mut model, buffers, ..
        } = held;
        drop(buffers);
        memory::return_freed();
        model.make_trainable()?;
        self.held = Some(Held {
            optimizer: Some(self.new_optimizer(&model)?),
            buffers: self.buffers(true)?,
            model,
        });
        Ok(())
    }

    /// Makes room for a model on every rank, has rank 0 fill its own, and copies it to the others. The outer error is the
    /// exchange's; the inner one is known to all ranks.
    fn fill_together(
        &mut self,
        trainable: bool,
        fill: impl FnOnce(&Decoder, Option<&mut Optimizer>) -> Result<()>,
    ) -> Result<Result<Held>> {
        let prepared = self.prepare(trainable);
        let mut held = match self.peers.agree(prepared)? {
            Ok(held) => held,
            Err(why) => return Ok(Err(why)),
        };
        let leads = self.peers.leads();
        let filled = match leads {
            true => fill(&held.model, held.optimizer.as_mut()),
            false => Ok(()),
        };
        if let Some(optimizer) = &mut held.optimizer {
            // Moments travel as they are read, to the ranks that hold them; also those that were read before an error.
            match leads {
                true => optimizer.end_filling()?,
                false => optimizer.receive()?,
            }
        }
        // Temporary buffers of `fill` would otherwise stay resident.
        memory::return_freed();
        // Reading weights takes long, and a rank may have been lost meanwhile: that error comes before one of reading.
        self.peers.check()?;
        if let Err(why) = self.peers.follow(filled)? {
            return Ok(Err(why));
        }
        if self.peers.are_there() {
            let ranks = self.peers.ranks();
            held.model.weights.overwrite(|all| ranks.broadcast(all))?;
        }
        Ok(Ok(held))
    }

    /// Makes this rank's optimizer: for all parameters, or for its part of them.
    fn new_optimizer(&self, model: &Decoder) -> Result<Optimizer> {
        let (sharded, muon) = (self.passes.sharded, self.passes.muon);
        let share = Share::of(&model.params, self.peers.place(), sharded, muon);
        let ranks = self.peers.engine();
        Ok(Optimizer::of_share(model, share, ranks, &self.device)?)
    }
}
