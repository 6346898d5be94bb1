//! What ranks do together besides measuring: give all of them rank 0's model and teacher, and say how long they took.

use anyhow::Result;

use super::{Held, Learner, Pace, memory};
use crate::model::{Decoder, DecoderConfig, Teacher};
use crate::train::instruction::Instruction;
use crate::train::optimizer::Optimizer;
use crate::train::teacher;

impl Learner {
    /// Makes room for a model on every rank, has rank 0 fill its own, and copies it to the others. The outer error is the
    /// exchange's; the inner one is known to all ranks.
    pub(super) fn fill_together(
        &mut self,
        trainable: bool,
        fill: impl FnOnce(&Decoder, Option<&mut Optimizer>) -> Result<()>,
    ) -> Result<Result<Held>> {
        let prepared = self.prepare(trainable);
        let mut held = match self.peers.agree(prepared)? {
            Ok(held) => held,
            Err(why) => return Ok(Err(why)),
        };
        let filled = match self.peers.leads() {
            true => fill(&held.model, held.optimizer.as_mut()),
            false => Ok(()),
        };
        // Temporary buffers of `fill` would otherwise stay resident.
        memory::return_freed();
        let steps = |optimizer: &Optimizer| optimizer.steps.clone();
        let steps = filled.map(|()| held.optimizer.as_ref().map(steps));
        let steps = match self.peers.follow(steps)? {
            Ok(steps) => steps,
            Err(why) => return Ok(Err(why)),
        };
        if self.peers.are_there() {
            let ranks = self.peers.ranks();
            held.model.weights.overwrite(|all| ranks.broadcast(all))?;
            if let (Some(optimizer), Some(steps)) = (&mut held.optimizer, steps) {
                ranks.broadcast(&optimizer.m.flat)?;
                ranks.broadcast(&optimizer.v.flat)?;
                optimizer.steps = steps;
            }
        }
        Ok(Ok(held))
    }

    /// Sets the model's teacher, or frees it. Replacing the model also frees the teacher. Other ranks get rank 0's.
    ///
    /// # Errors
    /// When a rank has not enough memory for the teacher, or is lost.
    pub fn set_teacher(&mut self, teacher: Option<Teacher>) -> Result<()> {
        let shape = || teacher.as_ref().map(|teacher| teacher.config().clone());
        self.peers.tell(|| Instruction::Teach(shape()))?;
        self.free_teacher();
        match teacher {
            Some(teacher) => self.teach_together(Ok(teacher)),
            None => {
                self.peers.done();
                Ok(())
            }
        }
    }

    /// On other ranks than 0, takes a teacher of this shape, whose weights rank 0 gives.
    ///
    /// # Errors
    /// As [`Self::set_teacher`].
    pub fn take_teacher(&mut self, shape: DecoderConfig) -> Result<()> {
        self.free_teacher();
        let teacher = teacher::blank(shape, &self.passes, &self.device);
        self.teach_together(teacher)
    }

    fn teach_together(&mut self, teacher: Result<Teacher>) -> Result<()> {
        let agreed = self.peers.agree(teacher)?;
        if self.peers.are_there()
            && let Ok(teacher) = &agreed
        {
            let ranks = self.peers.ranks();
            teacher.weights().overwrite(|all| ranks.broadcast(all))?;
        }
        self.peers.done();
        self.teacher = Some(agreed?);
        Ok(())
    }

    /// Frees the teacher on this rank.
    pub(super) fn free_teacher(&mut self) {
        if self.teacher.take().is_some() {
            memory::return_freed();
        }
    }

    /// What each rank did in its steps since this was last called, in the order of ranks; on rank 0.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn take_pace(&mut self) -> Result<Vec<Pace>> {
        self.peers.tell(|| Instruction::Pace)?;
        let all = self.peers.gather(std::mem::take(&mut self.pace))?;
        self.peers.done();
        Ok(all)
    }
}
