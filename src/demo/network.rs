//! Trains a network of a single attention layer on noise.

use candle_core::{Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::error::DemoError;
use super::math::{noise, ranks, softmax};
use super::sizes::{Sizes, Steps};

/// Adam's other constants.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;

/// The state of the network after some steps.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Probe {
    pub step: usize,
    /// k* of each head's attention on fixed windows, averaged over them.
    pub ranks: Vec<usize>,
    /// Mean squared error of the last step; an output of zeros has an error of 1.
    pub loss: f32,
}

impl Probe {
    /// Returns the mean over the heads.
    pub fn mean(&self) -> f64 {
        self.ranks.iter().sum::<usize>() as f64 / self.ranks.len() as f64
    }
}

struct Network {
    sizes: Sizes,
    /// W_Q, W_K, W_V and W_O, `[in, out]`.
    weights: [Var; 4],
    moments: Vec<[Tensor; 2]>,
    steps: i32,
}

impl Network {
    /// Makes a network with Kaiming normal weights, whose fan-in is the width.
    fn new(sizes: Sizes, rng: &mut ChaCha8Rng) -> candle_core::Result<Self> {
        let deviation = (2.0 / sizes.width as f64).sqrt();
        let shape = [sizes.width, sizes.width];
        let mut one = || Var::from_tensor(&noise(rng, &shape, deviation)?);
        let weights = [one()?, one()?, one()?, one()?];
        let moments = weights
            .iter()
            .map(|w| Ok([w.zeros_like()?, w.zeros_like()?]));
        Ok(Self {
            sizes,
            moments: moments.collect::<candle_core::Result<_>>()?,
            weights,
            steps: 0,
        })
    }

    fn windows(&self, rng: &mut ChaCha8Rng) -> candle_core::Result<Tensor> {
        let Sizes {
            batch, time, width, ..
        } = self.sizes;
        noise(rng, &[batch * time, width], 1.0)
    }

    /// Returns attention `[B, H, T, T]` and values `[B, H, T, D]` of windows `[B T, C]`.
    fn attend(&self, x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let Sizes {
            batch, time, heads, ..
        } = self.sizes;
        let size = self.sizes.head_size();
        let of = |weight: &Var| -> candle_core::Result<Tensor> {
            let all = x.matmul(weight)?.reshape((batch, time, heads, size))?;
            all.transpose(1, 2)?.contiguous()
        };
        let [w_q, w_k, w_v, _] = &self.weights;
        let keys = of(w_k)?.transpose(2, 3)?.contiguous()?;
        let scores = of(w_q)?.matmul(&keys)?;
        let attention = softmax(&scores.affine(1.0 / (size as f64).sqrt(), 0.0)?)?;
        Ok((attention, of(w_v)?))
    }

    /// Makes one training step towards random targets. Returns the loss.
    fn step(&mut self, rng: &mut ChaCha8Rng, lr: f64) -> candle_core::Result<f32> {
        let x = self.windows(rng)?;
        let target = self.windows(rng)?;
        let (attention, values) = self.attend(&x)?;
        let mixed = attention.matmul(&values)?.transpose(1, 2)?.contiguous()?;
        let out = mixed.reshape(x.shape())?.matmul(&self.weights[3])?;
        let loss = (out - target)?.sqr()?.mean_all()?;
        let gradients = loss.backward()?;
        self.steps += 1;
        let unbias = BETAS.map(|beta| 1.0 / (1.0 - beta.powi(self.steps)));
        for (weight, [m, v]) in self.weights.iter().zip(&mut self.moments) {
            // Detached: its history would keep every step's tensors in memory.
            let Some(g) = gradients.get(weight).map(Tensor::detach) else {
                candle_core::bail!("a weight without a gradient");
            };
            *m = (m.affine(BETAS[0], 0.0)? + g.affine(1.0 - BETAS[0], 0.0)?)?;
            *v = (v.affine(BETAS[1], 0.0)? + g.sqr()?.affine(1.0 - BETAS[1], 0.0)?)?;
            let root = v.affine(unbias[1], 0.0)?.sqrt()?.affine(1.0, EPS)?;
            let update = m.affine(unbias[0] * lr, 0.0)?.div(&root)?;
            weight.set(&weight.as_detached_tensor().sub(&update)?)?;
        }
        loss.to_scalar()
    }
}

/// Trains the network. Calls `each` with its ranks before, during and after training, and stops when `each` returns false.
///
/// # Errors
/// When a tensor cannot be made.
pub fn train(
    sizes: Sizes,
    steps: Steps,
    seed: u64,
    each: &mut dyn FnMut(Probe) -> bool,
) -> Result<(), DemoError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut network = Network::new(sizes, &mut rng)?;
    let fixed = network.windows(&mut rng)?;
    let mut loss = f32::NAN;
    for step in 0..=steps.all {
        if step % steps.every == 0 || step == steps.all {
            let mean = network.attend(&fixed)?.0.detach().mean(0)?;
            let ranks = ranks(&mean)?;
            if !each(Probe { step, ranks, loss }) {
                break;
            }
        }
        if step < steps.all {
            loss = network.step(&mut rng, steps.lr)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_reaches_every_weight() {
        let sizes = Sizes {
            time: 6,
            width: 8,
            heads: 2,
            batch: 2,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut network = Network::new(sizes, &mut rng).unwrap();
        let before: Vec<Vec<f32>> = network.weights.iter().map(flat).collect();
        network.step(&mut rng, 1e-3).unwrap();
        for (weight, before) in network.weights.iter().zip(before) {
            // Adam's first step is the learning rate along each gradient's sign.
            for (now, then) in flat(weight).iter().zip(before) {
                assert!(((now - then).abs() - 1e-3).abs() < 1e-5);
            }
        }
    }

    fn flat(weight: &Var) -> Vec<f32> {
        weight.flatten_all().unwrap().to_vec1().unwrap()
    }
}
