//! AdamW over a model's arena: moments, a step count per tensor, decay groups, clipping.

use candle_core::{Device, Result};

use crate::config::TrainConfig;
use crate::model::{Arena, Decoder};
use crate::ops::{self, AdamW};

/// Epsilon of AdamW.
const EPS: f32 = 1e-8;

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

    /// Norm of all gradients.
    pub fn grad_norm(model: &Decoder) -> Result<f64> {
        Ok(ops::sum_of_squares(&model.grads.flat)?.sqrt())
    }

    /// One update with learning rate `lr`; gradients of a larger norm than `clip` are scaled down to it.
    pub fn step(
        &mut self,
        model: &Decoder,
        lr: f64,
        grad_norm: f64,
        config: &TrainConfig,
    ) -> Result<()> {
        let clipped = config.clip > 0.0 && grad_norm > config.clip;
        let grad_scale = if clipped {
            config.clip / grad_norm
        } else {
            1.0
        };
        let mut parts = Vec::with_capacity(model.params.len());
        for (p, steps) in model.params.iter().zip(&mut self.steps) {
            *steps += 1;
            let decay = if p.decays() { config.weight_decay } else { 0.0 };
            let update = AdamW {
                lr: lr as f32,
                beta1: config.betas[0] as f32,
                beta2: config.betas[1] as f32,
                eps: EPS,
                weight_decay: decay as f32,
                grad_scale: grad_scale as f32,
                step: *steps,
            };
            parts.push((p.len(), update));
        }
        let (m, v, g) = (&self.m.flat, &self.v.flat, &model.grads.flat);
        model
            .weights
            .update(|p, rounded| ops::adamw([p, m, v, g], rounded, &parts))
    }
}
