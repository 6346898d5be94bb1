//! The optimizer over a model's arena: moments, a step count per tensor, decay groups, clipping, frozen layers. AdamW
//! updates every tensor, or with [`muon`] all but the hidden matrices.

mod muon;
mod spans;
#[cfg(test)]
mod tests;

use candle_core::{Device, Result};

use crate::config::{OptimizerChoice, TrainConfig};
use crate::model::{Arena, Decoder, DecoderConfig, Param};
use crate::ops::{self, AdamW, Sums};
pub use muon::Muon;
use muon::{Operands, Room};
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

/// The optimizer's state for one model.
#[derive(Debug)]
pub struct Optimizer {
    /// First moments; for hidden matrices that Muon updates, its momentum.
    pub m: Arena,
    /// Second moments; zero where Muon updates.
    pub v: Arena,
    /// Number of updates of each tensor; tensors that a growth adds start at zero.
    pub steps: Vec<u32>,
    /// Allocated by Muon's first update.
    room: Option<Room>,
}

impl Optimizer {
    /// Makes zero moments for a model.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(model: &Decoder, device: &Device) -> Result<Self> {
        Ok(Self {
            m: Arena::zeros(&model.params, device)?,
            v: Arena::zeros(&model.params, device)?,
            steps: vec![0; model.params.len()],
            room: None,
        })
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
        ops::zero(&self.m.flat)?;
        ops::zero(&self.v.flat)
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

    /// Returns the norms of the weights and of the first moments of all tensors except those of `frozen` layers.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn norms(&self, model: &Decoder, frozen: &[usize]) -> Result<Norms> {
        let (mut params, mut momentum) = (0.0, 0.0);
        for span in spans(&model.params, |p| !is_frozen(p, frozen)) {
            params += model.weights.sum_of_squares(span.offset, span.len)?;
            momentum += ops::sum_of_squares(&span.of(&self.m.flat)?)?;
        }
        Ok(Norms {
            params: params.sqrt(),
            momentum: momentum.sqrt(),
        })
    }

    /// Updates the weights once; `grad_norm` is [`Self::grad_norm`] with the same frozen layers.
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
        let mut parts = Vec::with_capacity(span.params.len());
        for i in span.params.clone() {
            let p = &model.params[i];
            self.steps[i] += 1;
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
            parts.push((p.len(), update));
        }
        let (m, v) = (span.of(&self.m.flat)?, span.of(&self.v.flat)?);
        let g = span.of(&model.grads.flat)?;
        model.weights.update(|p, rounded| {
            let rounded = rounded.map(|all| span.of(all)).transpose()?;
            ops::adamw([&span.of(p)?, &m, &v, &g], rounded.as_ref(), &parts)
        })
    }

    fn muon(
        &mut self,
        model: &Decoder,
        grad_scale: f64,
        values: &Hyperparameters<'_>,
        muon: &Muon,
    ) -> Result<()> {
        let room = match &mut self.room {
            Some(room) => room,
            none => none.insert(Room::new(&model.config, model.weights.device())?),
        };
        let factors = (values.weight_decay, grad_scale);
        let mut offset = 0;
        for (i, param) in model.params.iter().enumerate() {
            let one = Span {
                params: i..i + 1,
                offset,
                len: param.len(),
            };
            offset += param.len();
            if is_frozen(param, values.frozen) || !values.gives_to_muon(param) {
                continue;
            }
            self.steps[i] += 1;
            let (m, g) = (one.of(&self.m.flat)?, one.of(&model.grads.flat)?);
            model.weights.update(|p, rounded| {
                let rounded = rounded.map(|all| one.of(all)).transpose()?;
                let operands = Operands {
                    p: &one.of(p)?,
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
