//! AdamW over a model's arena: moments, a step count per tensor, decay groups, clipping, frozen layers.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use crate::config::TrainConfig;
use crate::model::{Arena, Decoder};
use crate::ops::{self, AdamW};

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
    /// Gradients of a larger norm are scaled down to this; 0: no clipping.
    pub clip: f64,
    /// Layers whose weights, moments and step counts stay as they are.
    pub frozen: &'a [usize],
}

impl Hyperparameters<'static> {
    /// Those of a config, with learning rate `lr` and no frozen layer.
    pub fn of(config: &TrainConfig, lr: f64) -> Self {
        Self {
            lr,
            betas: config.betas,
            weight_decay: config.weight_decay,
            clip: config.clip,
            frozen: &[],
        }
    }
}

/// AdamW's state for one model.
#[derive(Debug)]
pub struct Optimizer {
    /// First moments.
    pub m: Arena,
    /// Second moments.
    pub v: Arena,
    /// Updates each tensor has had: tensors that a growth brings start at zero.
    pub steps: Vec<u32>,
}

impl Optimizer {
    /// Zero moments for a model.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(model: &Decoder, device: &Device) -> Result<Self> {
        Ok(Self {
            m: Arena::zeros(&model.params, device)?,
            v: Arena::zeros(&model.params, device)?,
            steps: vec![0; model.params.len()],
        })
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

    /// Norm of the gradients of all layers but the `frozen` ones.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn grad_norm(model: &Decoder, frozen: &[usize]) -> Result<f64> {
        let mut squares = 0.0;
        for span in trained(model, frozen) {
            squares += ops::sum_of_squares(&span.of(&model.grads.flat)?)?;
        }
        Ok(squares.sqrt())
    }

    /// One update; `grad_norm` is [`Self::grad_norm`] with the same frozen layers.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn step(
        &mut self,
        model: &Decoder,
        grad_norm: f64,
        values: &Hyperparameters<'_>,
    ) -> Result<()> {
        let clipped = values.clip > 0.0 && grad_norm > values.clip;
        let grad_scale = if clipped {
            values.clip / grad_norm
        } else {
            1.0
        };
        for span in trained(model, values.frozen) {
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
            })?;
        }
        Ok(())
    }
}

/// Neighbouring tensors of an arena.
struct Span {
    params: Range<usize>,
    /// First element, and how many.
    offset: usize,
    len: usize,
}

impl Span {
    fn of(&self, flat: &Tensor) -> Result<Tensor> {
        flat.narrow(0, self.offset, self.len)
    }
}

/// The longest spans of tensors that no frozen layer owns, in order: one span where nothing is frozen, so that sums are
/// taken in the same order as over the whole arena.
fn trained(model: &Decoder, frozen: &[usize]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut offset = 0;
    let mut interrupted = true;
    for (i, p) in model.params.iter().enumerate() {
        let is_frozen = p.layer.is_some_and(|layer| frozen.contains(&layer));
        match spans.last_mut() {
            _ if is_frozen => {}
            Some(span) if !interrupted => {
                span.params.end = i + 1;
                span.len += p.len();
            }
            _ => spans.push(Span {
                params: i..i + 1,
                offset,
                len: p.len(),
            }),
        }
        interrupted = is_frozen;
        offset += p.len();
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DecoderConfig, Sizes};

    fn model() -> Decoder {
        let sizes = Sizes {
            n_layer: 4,
            n_head: 2,
            n_embd: 8,
            context_length: 6,
            vocab: 11,
        };
        let model = Decoder::random(DecoderConfig::gpt2(sizes, true), 3, &Device::Cpu).unwrap();
        let n = model.grads.flat.elem_count();
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
        ops::write(&model.grads.flat, &values).unwrap();
        model
    }

    fn values(frozen: &[usize]) -> Hyperparameters<'_> {
        Hyperparameters {
            lr: 1e-2,
            betas: [0.9, 0.95],
            weight_decay: 0.1,
            clip: 1.0,
            frozen,
        }
    }

    /// Weights, moments and counts of one tensor after two updates.
    type State = (Vec<f32>, Vec<f32>, Vec<f32>, u32);

    fn updated(frozen: &[usize]) -> (Decoder, Vec<State>, f64) {
        let model = model();
        let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
        let norm = Optimizer::grad_norm(&model, frozen).unwrap();
        for _ in 0..2 {
            optimizer.step(&model, norm, &values(frozen)).unwrap();
        }
        let state = |i: usize| {
            let read = |arena: &Arena| ops::read(&arena.views[i]).unwrap();
            (
                model.weights.read(i).unwrap(),
                read(&optimizer.m),
                read(&optimizer.v),
                optimizer.steps[i],
            )
        };
        let states = (0..model.params.len()).map(state).collect();
        (model, states, norm)
    }

    #[test]
    fn frozen_layers_do_not_change_by_a_bit_and_do_not_count() {
        let frozen = [0, 2, 3];
        let (model, states, norm) = updated(&frozen);
        let fresh = self::model();
        let mut squares = 0.0;
        for (i, (p, (w, m, v, steps))) in model.params.iter().zip(&states).enumerate() {
            let before = fresh.weights.read(i).unwrap();
            let is_frozen = p.layer.is_some_and(|layer| frozen.contains(&layer));
            if is_frozen {
                assert_eq!(w, &before, "{}", p.name);
                assert!(m.iter().chain(v).all(|&x| x == 0.0) && *steps == 0);
            } else {
                assert_ne!(w, &before, "{}", p.name);
                assert_eq!(*steps, 2);
                let grad = ops::read(&fresh.grads.views[i]).unwrap();
                squares += grad
                    .iter()
                    .map(|&g| f64::from(g) * f64::from(g))
                    .sum::<f64>();
            }
        }
        assert!((norm - squares.sqrt()).abs() < 1e-9 * norm);
    }

    #[test]
    fn layers_that_train_do_so_as_if_alone_were_clipped() {
        // The norm is over what trains: the same scale, and the same update, as a model with other gradients of zero.
        let (_, states, norm) = updated(&[1]);
        let model = model();
        for (p, grad) in model.params.iter().zip(&model.grads.views) {
            if p.layer == Some(1) {
                ops::zero(grad).unwrap();
            }
        }
        assert!((Optimizer::grad_norm(&model, &[]).unwrap() - norm).abs() < 1e-9 * norm);
        let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
        for _ in 0..2 {
            optimizer.step(&model, norm, &values(&[])).unwrap();
        }
        for (i, p) in model.params.iter().enumerate() {
            if p.layer != Some(1) {
                let weights = model.weights.read(i).unwrap();
                assert_eq!(weights, states[i].0, "{}", p.name);
            }
        }
    }
}
