//! Operations of all ranks besides training and measuring: taking rank 0's teacher, collecting moments, and collecting times.

use std::ops::Range;

use anyhow::{Context, Result};

use super::{Learner, Pace};
use crate::device::memory;
use crate::model::{DecoderConfig, Teacher};
use crate::train::instruction::Instruction;
use crate::train::optimizer::Moment;
use crate::train::teacher;

impl Learner {
    /// Brings elements `range` of a moment of all parameters to rank 0 from the ranks that hold them.
    ///
    /// # Errors
    /// When no model that is trained is held, or a rank is lost.
    pub fn gather_moments(&self, moment: Moment, range: Range<usize>) -> Result<Vec<f32>> {
        let optimizer = self.optimizer()?.context("the model is not trained")?;
        if !optimizer.share().is_sharded() {
            return Ok(optimizer.gather(moment, range)?);
        }
        self.peers.announce(|| Instruction::Moments {
            moment,
            range: range.clone(),
        })?;
        let values = optimizer.gather(moment, range)?;
        self.peers.done();
        Ok(values)
    }

    /// Sets the model's teacher, or frees it. Replacing the model also frees the teacher. Other ranks get rank 0's.
    ///
    /// # Errors
    /// When a rank has not enough memory for the teacher, or is lost.
    pub fn set_teacher(&mut self, teacher: Option<Teacher>) -> Result<()> {
        let shape = || teacher.as_ref().map(|teacher| teacher.config().clone());
        self.peers.announce(|| Instruction::Teach(shape()))?;
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

    /// Collects on rank 0 the times of each rank's steps since the last call, in the order of ranks.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn take_pace(&mut self) -> Result<Vec<Pace>> {
        self.peers.announce(|| Instruction::Pace)?;
        let all = self.peers.collect(std::mem::take(&mut self.pace))?;
        self.peers.done();
        Ok(all)
    }
}
