//! The optimizer over a model's arena: moments, a step count per tensor, decay groups, clipping, frozen layers. AdamW
//! updates every tensor, or with [`muon`] all but the hidden matrices.

mod exchange;
mod muon;
mod share;
mod spans;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::{OptimizerChoice, TrainConfig};
use crate::dist::{DistError, Ranks, Solo};
use crate::model::{Decoder, DecoderConfig, Param};
use crate::ops::{self, AdamW, Sums};
pub use exchange::PIECE;
pub use muon::Muon;
use muon::{Operands, Room};
use share::common;
pub use share::{Share, parts};
use spans::{Span, spans};

/// Epsilon of AdamW.
const EPS: f32 = 1e-8;

/// The hyperparameters of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters<'a> {
    /// Learning rate.
    pub lr: f64,
    /// beta1 and beta2.
    pub betas: [f64; 2],
    /// Decoupled decay of tensors with two or more dimensions.
    pub weight_decay: f64,
    /// Gradients of a larger norm are scaled down to this norm; 0 disables clipping.
    pub clip: f64,
    /// Layers whose weights, moments and step counts stay as they are.
    pub frozen: &'a [usize],
    /// Muon's settings for the hidden matrices; `None` if AdamW updates them.
    pub muon: Option<Muon>,
}

impl Hyperparameters<'static> {
    /// Returns the hyperparameters of a config, with learning rate `lr` and no frozen layer. Muon's rate follows the same schedule.
    pub fn of(config: &TrainConfig, lr: f64) -> Self {
        let muon = || Muon {
            lr: lr * config.muon_lr.map_or(1.0, |peak| peak / config.lr),
            momentum: config.muon_momentum,
            scale: config.muon_scale,
        };
        Self {
            muon: (config.optimizer == OptimizerChoice::Muon).then(muon),
            lr,
            betas: config.betas,
            weight_decay: config.weight_decay,
            clip: config.clip,
            frozen: &[],
        }
    }
}

impl Hyperparameters<'_> {
    /// Returns the factor on gradients of this norm: less than 1 if they are clipped.
    pub fn grad_scale(&self, grad_norm: f64) -> f64 {
        match self.clip > 0.0 && grad_norm > self.clip {
            true => self.clip / grad_norm,
            false => 1.0,
        }
    }

    /// Whether Muon updates a tensor.
    fn gives_to_muon(&self, p: &Param) -> bool {
        self.muon.is_some() && p.is_hidden_matrix()
    }
}

/// Norms over the trained tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norms {
    /// Norm of the weights.
    pub params: f64,
    /// Norm of the first moments, which are averages of past gradients, with AdamW and with Muon.
    pub momentum: f64,
}

/// One of the two values that AdamW keeps for each parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// The average of past gradients; for hidden matrices that Muon updates, its momentum.
    First,
    /// The average of their squares; zero where Muon updates.
    Second,
}

impl Moment {
    /// Both, in the order of checkpoints.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];
}

/// The optimizer's state for one model, or one rank's part of it.
#[derive(Debug)]
pub struct Optimizer {
    /// The moments of the elements that this rank holds, from [`Share::origin`] on.
    moments: [Tensor; 2],
    /// Number of updates of each tensor, of all ranks' parts; tensors that a growth adds start at zero.
    pub steps: Vec<u32>,
    /// The beginning of each tensor in the flat arena, and the end of the last one.
    offsets: Vec<usize>,
    share: Share,
    ranks: Arc<dyn Ranks>,
    /// Allocated by Muon's first update.
    room: Option<Room>,
}

impl Optimizer {
    /// Makes zero moments for a model that one process trains.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(model: &Decoder, device: &Device) -> Result<Self> {
        let share = Share::of(&model.params, (0, 1), false, false);
        Self::of_share(model, share, Arc::new(Solo), device)
    }

    /// Makes zero moments for this rank's share of a model.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn of_share(
        model: &Decoder,
        share: Share,
        ranks: Arc<dyn Ranks>,
        device: &Device,
    ) -> Result<Self> {
        let mut end = 0;
        let ends = model.params.iter().map(|p| {
            end += p.len();
            end
        });
        Ok(Self {
            moments: [
                ops::zeros(share.room(), device)?,
                ops::zeros(share.room(), device)?,
            ],
            steps: vec![0; model.params.len()],
            offsets: std::iter::once(0).chain(ends).collect(),
            share,
            ranks,
            room: None,
        })
    }

    /// This rank's share of the model.
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Elements `range` of a moment, which this rank must hold.
    fn moment(&self, moment: Moment, range: &Range<usize>) -> Result<Tensor> {
        let start = range.start - self.share.origin();
        self.moments[moment as usize].narrow(0, start, range.len())
    }

    /// Returns the bytes of both moments of a model of this shape on the rank that holds the most of them.
    pub fn moment_bytes(shape: &DecoderConfig, world: usize, sharded: bool, muon: bool) -> u64 {
        let share = Share::of(&shape.params(), (0, world), sharded, muon);
        (size_of::<f32>() * Moment::BOTH.len() * share.most_room()) as u64
    }

    /// Returns the bytes that updates with Muon need in addition to the moments, for a model of this shape.
    pub fn muon_bytes(shape: &DecoderConfig) -> u64 {
        Room::bytes(shape)
    }

    /// Returns the floating-point operations of the products of one update with Muon, for a model of this shape.
    pub fn muon_flops(shape: &DecoderConfig) -> f64 {
        muon::flops(shape)
    }

    /// Sets the moments and step counts to zero.
    ///
    /// # Errors
    /// When the device cannot be written.
    pub fn reset(&mut self) -> Result<()> {
        self.steps.fill(0);
        self.moments.iter().try_for_each(ops::zero)
    }

    /// Adds the squares of the gradients of all tensors except those of `frozen` layers to `sums`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn add_squares(model: &Decoder, frozen: &[usize], sums: &mut Sums) -> Result<()> {
        let spans = spans(&model.params, |p| !is_frozen(p, frozen));
        let mut spans = spans.iter();
        spans.try_for_each(|span| sums.add_squares(&span.of(&model.grads.flat)?))
    }

    /// Returns the norm of the gradients of all tensors except those of `frozen` layers.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn grad_norm(model: &Decoder, frozen: &[usize]) -> Result<f64> {
        let mut sums = Sums::zero(model.weights.device())?;
        Self::add_squares(model, frozen, &mut sums)?;
        Ok(sums.read()?.squares.sqrt())
    }

    /// Returns the norms of the weights and of the first moments of all tensors except those of `frozen` layers. Every rank
    /// calls this if [they are sharded](Share::is_sharded). The squares are added up part by part, so that the norms have
    /// the same bits with shards and without.
    ///
    /// # Errors
    /// When the device cannot be read, or the exchange fails.
    pub fn norms(
        &self,
        model: &Decoder,
        frozen: &[usize],
    ) -> std::result::Result<Norms, DistError> {
        let mut squares = [0.0; 2];
        match self.share.is_sharded() {
            true => {
                squares = self.squares(model, frozen, &self.share.part())?;
                self.ranks.sum(&mut squares)?;
            }
            false => {
                for part in self.share.parts() {
                    let of_part = self.squares(model, frozen, part)?;
                    squares = [0, 1].map(|i| squares[i] + of_part[i]);
                }
            }
        }
        let [params, momentum] = squares.map(f64::sqrt);
        Ok(Norms { params, momentum })
    }

    /// Returns the sums of squares of the weights and of the first moments in a part, without `frozen` layers.
    fn squares(&self, model: &Decoder, frozen: &[usize], part: &Range<usize>) -> Result<[f64; 2]> {
        let (mut params, mut momentum) = (0.0, 0.0);
        for span in spans(&model.params, |p| !is_frozen(p, frozen)) {
            let own = common(&span.range(), part);
            if own.is_empty() {
                continue;
            }
            params += model.weights.sum_of_squares(own.start, own.len())?;
            momentum += ops::sum_of_squares(&self.moment(Moment::First, &own)?)?;
        }
        Ok([params, momentum])
    }

    /// Updates the weights that this rank holds once; `grad_norm` is [`Self::grad_norm`] with the same frozen layers. If
    /// [they are sharded](Share::is_sharded), the other parts must be fetched from their ranks then: [`Self::complete`].
    ///
    /// # Errors
    /// When an operation fails.
    pub fn step(
        &mut self,
        model: &Decoder,
        grad_norm: f64,
        values: &Hyperparameters<'_>,
    ) -> Result<()> {
        let grad_scale = values.grad_scale(grad_norm);
        let adamw = |p: &Param| !is_frozen(p, values.frozen) && !values.gives_to_muon(p);
        for span in spans(&model.params, adamw) {
            self.adamw(model, &span, grad_scale, values)?;
        }
        match &values.muon {
            Some(muon) => self.muon(model, grad_scale, values, muon),
            None => Ok(()),
        }
    }

    fn adamw(
        &mut self,
        model: &Decoder,
        span: &Span,
        grad_scale: f64,
        values: &Hyperparameters<'_>,
    ) -> Result<()> {
        let own = common(&span.range(), &self.share.held());
        let mut parts = Vec::with_capacity(span.params.len());
        for i in span.params.clone() {
            let p = &model.params[i];
            self.steps[i] += 1;
            let len = common(&self.tensor(i), &own).len();
            if len == 0 {
                continue;
            }
            let decay = if p.decays() { values.weight_decay } else { 0.0 };
            let update = AdamW {
                lr: values.lr as f32,
                beta1: values.betas[0] as f32,
                beta2: values.betas[1] as f32,
                eps: EPS,
                weight_decay: decay as f32,
                grad_scale: grad_scale as f32,
                step: self.steps[i],
            };
            parts.push((len, update));
        }
        if own.is_empty() {
            return Ok(());
        }
        let m = self.moment(Moment::First, &own)?;
        let v = self.moment(Moment::Second, &own)?;
        let of = |flat: &Tensor| flat.narrow(0, own.start, own.len());
        let g = of(&model.grads.flat)?;
        model.weights.update(|p, rounded| {
            let rounded = rounded.map(of).transpose()?;
            ops::adamw([&of(p)?, &m, &v, &g], rounded.as_ref(), &parts)
        })
    }

    /// The elements of tensor `index` in the flat arena.
    pub fn tensor(&self, index: usize) -> Range<usize> {
        self.offsets[index]..self.offsets[index + 1]
    }

    fn muon(
        &mut self,
        model: &Decoder,
        grad_scale: f64,
        values: &Hyperparameters<'_>,
        muon: &Muon,
    ) -> Result<()> {
        let factors = (values.weight_decay, grad_scale);
        let held = self.share.held();
        for (i, param) in model.params.iter().enumerate() {
            if is_frozen(param, values.frozen) || !values.gives_to_muon(param) {
                continue;
            }
            self.steps[i] += 1;
            let one = self.tensor(i);
            if common(&one, &held) != one {
                // Another rank holds it, and all of it.
                continue;
            }
            let m = self.moment(Moment::First, &one)?;
            let of = |flat: &Tensor| flat.narrow(0, one.start, one.len());
            let g = of(&model.grads.flat)?;
            let room = match &mut self.room {
                Some(room) => room,
                none => none.insert(Room::new(&model.config, model.weights.device())?),
            };
            model.weights.update(|p, rounded| {
                let rounded = rounded.map(of).transpose()?;
                let operands = Operands {
                    p: &of(p)?,
                    rounded: rounded.as_ref(),
                    m: &m,
                    g: &g,
                };
                muon::update(&model.config, param, &operands, room, muon, factors)
            })?;
        }
        Ok(())
    }
}

fn is_frozen(p: &Param, frozen: &[usize]) -> bool {
    p.layer.is_some_and(|layer| frozen.contains(&layer))
}
