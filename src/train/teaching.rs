//! The teacher of the model in training: opened when its phase begins, and again after a resume or a rollback.

use anyhow::{Context, Result};

use super::teacher;
use super::trainer::Trainer;
use crate::config::{self, Distill, ObjectiveChoice};
use crate::model::{DecoderConfig, Teacher};

impl Trainer {
    /// Reads the teacher that a baseline learns from: the run's reference, from its checkpoint, or a model that the config names.
    ///
    /// # Errors
    /// As [`teacher::load`], and when the reference has not been measured yet.
    pub fn open_teacher(&self, distill: &Distill) -> Result<Teacher> {
        let (vocab, passes) = (self.learner.shape().vocab, self.learner.passes());
        let (files, name) = match &distill.teacher {
            config::Teacher::Reference => (self.reference()?, "reference"),
            config::Teacher::Model(name) => (teacher::files(name, &self.teachers)?, name.as_str()),
        };
        let (device, peers) = (self.machine.device(), self.learner.peers());
        teacher::load(&files, vocab, passes, device, peers)
            .with_context(|| format!("the teacher {name} cannot be used"))
    }

    /// As [`teacher::shape`], for the run's own vocabulary and windows.
    ///
    /// # Errors
    /// As [`teacher::shape`].
    pub(super) fn teacher_shape(
        &self,
        objective: &ObjectiveChoice,
        reference: &DecoderConfig,
    ) -> Result<Option<DecoderConfig>> {
        let time = self.learner.passes().time;
        teacher::shape(objective, &self.teachers, reference, time)
    }

    /// Loads the teacher that the objective asks for, or frees one that it does not: at the start of a phase, after a resume and
    /// after a rollback, which all leave the model without a teacher.
    ///
    /// # Errors
    /// As [`Self::open_teacher`].
    pub fn provide_teacher(&mut self, objective: &ObjectiveChoice) -> Result<()> {
        match (objective, self.learner.teacher()) {
            (ObjectiveChoice::CrossEntropy, None) | (ObjectiveChoice::Distill(_), Some(_)) => {}
            (ObjectiveChoice::CrossEntropy, Some(_)) => self.learner.set_teacher(None)?,
            (ObjectiveChoice::Distill(distill), None) => {
                let teacher = self.open_teacher(distill)?;
                self.learner.set_teacher(Some(teacher))?;
            }
        }
        Ok(())
    }
}
