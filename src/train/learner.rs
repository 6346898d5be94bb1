//! The model in training and every buffer that its passes need.
//!
//! The learner knows no journal, no clock and no channel. It holds one model at a time: a successor of another shape gets
//! its memory after the predecessor's has been freed ([`Learner::replace`]), so that a change of phase needs no more memory
//! than the larger of the two phases ([`super::memory`] counts it).

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;

use super::attention::{self, Ranks};
use super::instruction::{Instruction, Order};
use super::objective::Objective;
use super::optimizer::{Hyperparameters, Norms, Optimizer};
use super::passes::Passes;
use super::peers::Peers;
use super::recordings::Recordings;
use crate::config::Measure;
use crate::corpus::{Batch, Tokens};
use crate::eval::Evaluator;
use crate::inherit::Measured;
use crate::inherit::measure::{self, Subject, Watch};
use crate::model::{Arena, Decoder, DecoderConfig, Head, Teacher, Workspace};
use crate::ops::{self, Accumulation, Recording, Sums};

use buckets::Buckets;
pub use buckets::{bucket_bytes, bucket_elements};
pub use pace::Pace;

/// The error where a model should be held.
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
    /// The ranks that hold the same model.
    peers: Arc<Peers>,
    /// Least elements of gradients that are summed over ranks at once; `None`: all, after the backward pass.
    bucket: Option<usize>,
    /// Times of the steps since they were last collected.
    pace: Pace,
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
    /// The sums of the latest step.
    sums: Sums,
    /// Recorded passes of this model.
    recordings: Recordings,
    evaluator: Evaluator,
    /// Made by the first probe.
    probe: Option<attention::Buffers>,
}

/// The result of an optimizer step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Mean of the objective over the batch, in nats.
    pub loss: f64,
    /// Norm of the gradients before clipping, without those of frozen layers.
    pub grad_norm: f64,
    /// Whether the gradients were clipped.
    pub clipped: bool,
    /// Whether the weights were updated; false when the loss or the norm is not finite.
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
            peers: Arc::new(Peers::none()),
            bucket: None,
            pace: Pace::default(),
        }
    }

    /// Makes this the learner of one of several ranks, which all hold the same model: each computes its part of steps and measurements. On
    /// rank 0, operations are announced to the others. Gradients are summed in buckets of at least `bucket` elements ([`bucket_elements`]).
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn among(mut self, peers: &Arc<Peers>, bucket: Option<usize>) -> Result<Self> {
        self.peers = Arc::clone(peers);
        // One process has nothing to add up.
        self.bucket = bucket.filter(|_| peers.are_there());
        self.peers.announce(|| Instruction::Begin {
            shape: self.shape.clone(),
            passes: self.passes,
            bucket,
        })?;
        self.peers.done();
        Ok(self)
    }

    /// The ranks that hold the same model.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
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
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn set_passes(&mut self, passes: Passes) -> Result<()> {
        if self.passes != passes {
            self.peers.announce(|| Instruction::Passes(passes))?;
            self.passes = passes;
            self.release();
            self.peers.done();
        }
        Ok(())
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

    /// As [`Self::train_step`], announced to the other ranks; `batch` is this rank's part of the windows that `order` names.
    ///
    /// # Errors
    /// As [`Self::train_step`], and when a rank is lost.
    pub fn lead_step(&mut self, batch: &Batch, order: &Order) -> Result<Step> {
        self.peers.announce(|| Instruction::Step(order.clone()))?;
        self.train_step(batch, order.objective, &order.values())
    }

    /// One optimizer step on a batch, `micro` windows at a time. All ranks of a run take part, each with an equal part of the
    /// batch.
    ///
    /// # Errors
    /// When an operation fails, or a rank is lost.
    pub fn train_step(
        &mut self,
        batch: &Batch,
        objective: Objective,
        values: &Hyperparameters<'_>,
    ) -> Result<Step> {
        let began = Instant::now();
        let tokens = batch.inputs.len() * self.peers.ranks().world();
        self.accumulate(batch, objective, tokens)?;
        let step = self.update(tokens, values)?;
        self.pace.steps += 1;
        self.pace.seconds += began.elapsed().as_secs_f64();
        self.peers.done();
        Ok(step)
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
        let passes = batch.inputs.len().div_ceil(micro);
        let mut buckets = Buckets::new(self.peers.ranks(), &model.grads.flat, self.bucket);
        let overlaps = self.bucket.is_some() && !Recording::replays(&self.device);
        let chunks = batch.inputs.chunks(micro).zip(batch.targets.chunks(micro));
        for (pass, (inputs, targets)) in chunks.enumerate() {
            // A step may be long, and a launcher does not wait for its end.
            self.peers.check()?;
            ops::write(&ws.inputs, inputs)?;
            ops::write(&ws.targets, targets)?;
            if let Some(teacher) = teacher {
                teacher.read(inputs)?;
            }
            match objective {
                // The last pass completes the gradients of the step: sums over ranks start while the remaining gradients are computed.
                _ if overlaps && pass + 1 == passes => {
                    let loss = |head: Head<'_>| objective.apply(&head, teacher, scale);
                    let finished = &mut |from| buckets.finish(from);
                    let passed = model.forward_backward_watched(ws, how, loss, finished);
                    if let Some(lost) = buckets.failure() {
                        return Err(lost.into());
                    }
                    passed?;
                }
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
        Ok(buckets.rest()?)
    }

    /// Updates the weights from the gradients of a step of `tokens` tokens and the sum of its losses.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn update(&mut self, tokens: usize, values: &Hyperparameters<'_>) -> Result<Step> {
        let held = self.held.as_mut().context(NONE_HELD)?;
        let sums = &mut held.buffers.sums;
        let waited = self.peers.ranks().finish_sums()?;
        self.pace.add(waited);
        Optimizer::add_squares(&held.model, values.frozen, sums)?;
        // On a GPU, this is the only wait of a step.
        let totals = sums.read()?;
        let mut losses = [totals.losses];
        let began = Instant::now();
        self.peers.sum(&mut losses)?;
        self.pace.wait += began.elapsed().as_secs_f64();
        let (loss, grad_norm) = (losses[0] / tokens as f64, totals.squares.sqrt());
        let applied = loss.is_finite() && grad_norm.is_finite();
        if let Some(optimizer) = held.optimizer.as_mut().filter(|_| applied) {
            optimizer.step(&held.model, grad_norm, values)?;
            let began = Instant::now();
            optimizer.complete(&held.model)?;
            self.pace.wait += began.elapsed().as_secs_f64();
        }
        Ok(Step {
            loss,
            grad_norm,
            clipped: applied && values.grad_scale(grad_norm) < 1.0,
            applied,
        })
    }

    /// Returns norms of the trained tensors, without the `frozen` layers; `None` for a model that is only measured. With
    /// shards, each rank computes those of its part.
    ///
    /// # Errors
    /// When no model is held, the device cannot be read, or a rank is lost.
    pub fn norms(&self, frozen: &[usize]) -> Result<Option<Norms>> {
        let held = self.held()?;
        let Some(optimizer) = &held.optimizer else {
            return Ok(None);
        };
        let sharded = optimizer.share().is_sharded();
        if sharded {
            self.peers
                .announce(|| Instruction::Norms(frozen.to_vec()))?;
        }
        let norms = optimizer.norms(&held.model, frozen)?;
        if sharded {
            self.peers.done();
        }
        Ok(Some(norms))
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

    /// Mean loss in nats of each validation window. Ranks share the passes; those other than 0 get no losses.
    ///
    /// # Errors
    /// When an operation fails, or a rank is lost.
    pub fn evaluate(&mut self, val: &Tokens) -> Result<Vec<f64>> {
        self.peers.announce(|| Instruction::Evaluate)?;
        let held = self.held.as_mut().context(NONE_HELD)?;
        let evaluator = &mut held.buffers.evaluator;
        let own = self.peers.part(evaluator.passes());
        let mut losses = Vec::new();
        for pass in own {
            // A rank may be lost while an evaluation runs, which can take minutes.
            self.peers.check()?;
            losses.extend(evaluator.losses_of(&held.model, val, pass..pass + 1)?);
        }
        let all = self.peers.collect(losses)?;
        self.peers.done();
        Ok(all.concat())
    }

    /// Validation windows of an evaluation.
    pub fn eval_windows(&self) -> usize {
        self.passes.eval_windows
    }

    /// Attention ranks over the probe's windows of the validation text, with `tau` as the share of k*. Ranks share the passes; the
    /// result is rank 0's.
    ///
    /// # Errors
    /// When an operation fails, or a rank is lost. (Attention that is not finite is an error inside [`Ranks`].)
    pub fn probe(&mut self, val: &Tokens, tau: f64) -> Result<Ranks> {
        self.peers.announce(|| Instruction::Probe { tau })?;
        let held = self.held.as_mut().context(NONE_HELD)?;
        let (buffers, passes) = (&mut held.buffers, &self.passes);
        if buffers.probe.is_none() {
            let made = attention::Buffers::new(&buffers.workspace, &self.shape, passes)?;
            buffers.probe = Some(made);
        }
        let probe = buffers.probe.as_ref().context("made just now")?;
        let found = attention::count(&held.model, probe, val, tau, passes, &self.peers)?;
        let all = self.peers.collect(found)?;
        self.peers.done();
        attention::ranks(&held.model, all, tau, passes)
    }
}

mod buckets;
mod pace;
mod replace;
mod score;
mod shared;
#[cfg(test)]
mod tests;
