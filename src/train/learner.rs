//! The model in training and every buffer that its passes need.
//!
//! The learner knows no journal, no clock and no channel. It holds one model at a time: a successor of another shape gets
//! its memory after the predecessor's has been freed ([`Learner::replace`]), so that a change of phase needs no more memory
//! than the larger of the two phases ([`super::memory`] counts it).

use anyhow::{Context, Result};
use candle_core::Device;

use super::attention::{self, Ranks};
use super::objective::Objective;
use super::optimizer::{Hyperparameters, Norms, Optimizer};
use super::passes::Passes;
use super::recordings::Recordings;
use crate::config::Measure;
use crate::corpus::{Batch, Tokens};
use crate::device::memory;
use crate::eval::Evaluator;
use crate::inherit::Measured;
use crate::inherit::measure::{self, Subject, Watch};
use crate::model::{Arena, Decoder, DecoderConfig, Head, Mode, Teacher, Workspace};
use crate::ops::{self, Accumulation, Sums};

/// What is wrong where a model should be held.
const NONE_HELD: &str = "no model is in memory: replacing the last one failed";

/// Holds the model, and trains and measures it.
#[derive(Debug)]
pub struct Learner {
    device: Device,
    passes: Passes,
    /// Tokens of the validation text.
    val_tokens: usize,
    shape: DecoderConfig,
    /// `None` before a first model, and after a replacement that has failed.
    held: Option<Held>,
    /// The teacher, if the objective asks for one.
    teacher: Option<Teacher>,
}

/// A model and its buffers. Without an optimizer it is only measured and copied from.
#[derive(Debug)]
struct Held {
    model: Decoder,
    optimizer: Option<Optimizer>,
    buffers: Buffers,
}

/// Evaluations and probes share the workspace's memory.
#[derive(Debug)]
struct Buffers {
    workspace: Workspace,
    /// Of the latest step.
    sums: Sums,
    /// Of passes over this model.
    recordings: Recordings,
    evaluator: Evaluator,
    /// Made by the first probe.
    probe: Option<attention::Buffers>,
}

/// What an optimizer step did.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Mean of the objective over the batch, in nats.
    pub loss: f64,
    /// Norm of the gradients before clipping, without those of frozen layers.
    pub grad_norm: f64,
    /// Whether the gradients were clipped.
    pub clipped: bool,
    /// False when either is not finite: the weights were not touched.
    pub applied: bool,
}

impl Learner {
    /// A learner that holds no model yet; `shape` is that of the model to come.
    pub fn new(shape: DecoderConfig, passes: Passes, val_tokens: usize, device: &Device) -> Self {
        Self {
            device: device.clone(),
            passes,
            val_tokens,
            shape,
            held: None,
            teacher: None,
        }
    }

    /// The shape of the model that is held, or was held last.
    pub fn shape(&self) -> &DecoderConfig {
        &self.shape
    }

    /// Whether the model that is held can be trained; `None` when none is held.
    pub fn holds(&self) -> Option<bool> {
        self.held.as_ref().map(|held| held.optimizer.is_some())
    }

    /// The sizes of passes.
    pub fn passes(&self) -> &Passes {
        &self.passes
    }

    /// Sets the sizes of the passes of the next model. When they change, the present one is freed.
    pub fn set_passes(&mut self, passes: Passes) {
        if self.passes != passes {
            self.passes = passes;
            self.release();
        }
    }

    /// The model.
    ///
    /// # Errors
    /// When none is held.
    pub fn model(&self) -> Result<&Decoder> {
        Ok(&self.held()?.model)
    }

    /// Returns the teacher, if the model has one.
    pub fn teacher(&self) -> Option<&Teacher> {
        self.teacher.as_ref()
    }

    /// Sets the model's teacher, or frees it. Replacing the model also frees the teacher.
    pub fn set_teacher(&mut self, teacher: Option<Teacher>) {
        if self.teacher.take().is_some() {
            memory::return_freed();
        }
        self.teacher = teacher;
    }

    /// The optimizer's state; `None` for a model that is only measured.
    ///
    /// # Errors
    /// When no model is held.
    pub fn optimizer(&self) -> Result<Option<&Optimizer>> {
        Ok(self.held()?.optimizer.as_ref())
    }

    fn held(&self) -> Result<&Held> {
        self.held.as_ref().context(NONE_HELD)
    }

    /// Takes a model of `shape` into use, trainable or only to be measured. `fill` writes its weights (all of them), and what
    /// it wants of the optimizer's state, which begins at zero.
    ///
    /// Memory of the same shape is used again; memory of another shape is freed first. After an error no model is held.
    ///
    /// # Errors
    /// When there is not enough memory, or `fill` fails.
    pub fn replace(
        &mut self,
        shape: DecoderConfig,
        trainable: bool,
        fill: impl FnOnce(&Decoder, Option<&mut Optimizer>) -> Result<()>,
    ) -> Result<()> {
        self.set_teacher(None);
        self.shape = shape;
        let fits = |held: &Held| {
            held.model.config.has_arenas_of(&self.shape) && held.optimizer.is_some() == trainable
        };
        let mut held = match self.held.take() {
            Some(held) if fits(&held) => self.cleared(held)?,
            other => {
                drop(other);
                memory::return_freed();
                self.build(trainable)?
            }
        };
        fill(&held.model, held.optimizer.as_mut())?;
        // Temporary buffers of `fill` would otherwise stay resident.
        memory::return_freed();
        self.held = Some(held);
        Ok(())
    }

    /// Frees the model, its teacher and all buffers.
    pub fn release(&mut self) {
        self.held = None;
        self.teacher = None;
        memory::return_freed();
    }

    fn cleared(&self, mut held: Held) -> Result<Held> {
        held.model.config = self.shape.clone();
        // Attention's scales may be others, which are recorded with the passes.
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
                Some(Optimizer::new(&model, &self.device)?)
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
    fn make_trainable(&mut self) -> Result<()> {
        let held = self.held.take().context(NONE_HELD)?;
        let Held {
            mut model, buffers, ..
        } = held;
        drop(buffers);
        memory::return_freed();
        model.make_trainable()?;
        self.held = Some(Held {
            optimizer: Some(Optimizer::new(&model, &self.device)?),
            buffers: self.buffers(true)?,
            model,
        });
        Ok(())
    }

    /// One optimizer step on a batch, `micro` windows at a time.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn train_step(
        &mut self,
        batch: &Batch,
        objective: Objective,
        values: &Hyperparameters<'_>,
    ) -> Result<Step> {
        let tokens = batch.inputs.len();
        self.accumulate(batch, objective, tokens)?;
        self.update(tokens, values)
    }

    /// Computes the gradient of the mean loss of a step of `tokens` tokens, of which `batch` may hold a part: the
    /// gradients of all parts add up to the step's. [`Self::sums`] holds the sum of the part's losses then. Gradients
    /// of an earlier step are overwritten.
    ///
    /// # Errors
    /// When the objective needs a teacher that is not set, or an operation fails.
    pub fn accumulate(&mut self, batch: &Batch, objective: Objective, tokens: usize) -> Result<()> {
        if self.optimizer()?.is_none() {
            self.make_trainable()?;
        }
        let teacher = objective.learns_from(self.teacher.as_ref())?;
        let held = self.held.as_mut().context(NONE_HELD)?;
        let (model, buffers) = (&held.model, &mut held.buffers);
        let (ws, sums) = (&buffers.workspace, &mut buffers.sums);
        let recordings = &mut buffers.recordings;
        sums.clear()?;
        let mut how = Accumulation::first(&model.grads.flat)?;
        if batch.inputs.is_empty() {
            ops::zero(&model.grads.flat)?;
        }
        let (micro, scale) = (ws.batch * ws.time, 1.0 / tokens as f32);
        for (inputs, targets) in batch.inputs.chunks(micro).zip(batch.targets.chunks(micro)) {
            ops::write(&ws.inputs, inputs)?;
            ops::write(&ws.targets, targets)?;
            if let Some(teacher) = teacher {
                teacher.read(inputs)?;
            }
            match objective {
                Objective::CrossEntropy => {
                    let recording = recordings.of(how, scale);
                    let loss = |head: Head<'_>| head.cross_entropy(scale);
                    model.forward_backward_recorded(recording, ws, how, loss)?;
                }
                Objective::Distill { .. } => {
                    let loss = |head: Head<'_>| objective.apply(&head, teacher, scale);
                    model.forward_backward_with(ws, how, loss)?;
                }
            }
            sums.add_losses(&ws.losses)?;
            how = Accumulation::Add;
        }
        Ok(())
    }

    /// Updates the weights from the gradients of a step of `tokens` tokens and the sum of its losses.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn update(&mut self, tokens: usize, values: &Hyperparameters<'_>) -> Result<Step> {
        let held = self.held.as_mut().context(NONE_HELD)?;
        let sums = &mut held.buffers.sums;
        Optimizer::add_squares(&held.model, values.frozen, sums)?;
        // The one wait of a step on a GPU.
        let totals = sums.read()?;
        let (loss, grad_norm) = (totals.losses / tokens as f64, totals.squares.sqrt());
        let applied = loss.is_finite() && grad_norm.is_finite();
        if let Some(optimizer) = held.optimizer.as_mut().filter(|_| applied) {
            optimizer.step(&held.model, grad_norm, values)?;
        }
        Ok(Step {
            loss,
            grad_norm,
            clipped: applied && values.grad_scale(grad_norm) < 1.0,
            applied,
        })
    }

    /// Returns norms of the trained tensors, without the `frozen` layers; `None` for a model that is only measured.
    ///
    /// # Errors
    /// When no model is held, or the device cannot be read.
    pub fn norms(&self, frozen: &[usize]) -> Result<Option<Norms>> {
        let held = self.held()?;
        let optimizer = held.optimizer.as_ref();
        let norms = optimizer.map(|optimizer| optimizer.norms(&held.model, frozen));
        Ok(norms.transpose()?)
    }

    /// Measures the layers of the model on the windows of the validation text that start at `starts`, and chooses `keep` of
    /// them. `None` if `watch` has stopped it.
    ///
    /// # Errors
    /// When an operation fails, or a figure is not finite.
    pub fn measure_layers(
        &self,
        val: &Tokens,
        starts: &[usize],
        measure: Measure,
        keep: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Measured>> {
        let held = self.held()?;
        let subject = Subject {
            model: &held.model,
            workspace: held.buffers.evaluator.workspace(),
            tokens: val,
            starts,
            vocab: held.model.config.vocab,
        };
        Ok(measure::measure(measure, keep, subject, watch)?)
    }

    /// The sums of the latest step: of its losses after [`Self::accumulate`], and of the squares of its gradients after
    /// [`Self::update`].
    ///
    /// # Errors
    /// When no model is held.
    pub fn sums(&self) -> Result<&Sums> {
        Ok(&self.held()?.buffers.sums)
    }

    /// The gradients of the latest step, in the order of the model's parameters; zeros before a first one.
    ///
    /// # Errors
    /// When no model is held.
    pub fn gradients(&self) -> Result<&Arena> {
        Ok(&self.held()?.model.grads)
    }

    /// Mean loss in nats of each validation window.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn evaluate(&mut self, val: &Tokens) -> Result<Vec<f64>> {
        let held = self.held.as_mut().context(NONE_HELD)?;
        Ok(held.buffers.evaluator.losses(&held.model, val)?)
    }

    /// Validation windows of an evaluation.
    pub fn eval_windows(&self) -> usize {
        self.passes.eval_windows
    }

    /// Attention ranks over the probe's windows of the validation text, with `tau` as the share of k*.
    ///
    /// # Errors
    /// When an operation fails. (Attention that is not finite is an error inside [`Ranks`].)
    pub fn probe(&mut self, val: &Tokens, tau: f64) -> Result<Ranks> {
        let held = self.held.as_mut().context(NONE_HELD)?;
        let (buffers, passes) = (&mut held.buffers, &self.passes);
        if buffers.probe.is_none() {
            let made = attention::Buffers::new(&buffers.workspace, &self.shape, passes)?;
            buffers.probe = Some(made);
        }
        let probe = buffers.probe.as_ref().context("made just now")?;
        attention::ranks(&held.model, probe, val, tau, passes)
    }
}

#[cfg(test)]
mod tests;
