//! Compares ops and models with candle: candle-nn's layers, losses and optimizer and candle's autograd, in f64 on the CPU. These do
//! not share code with the ops, which are checked on any device.
//!
//! Operands of products in bf16 are rounded for the oracle as on the device. The remaining errors are those of sums in f32 and, in
//! bf16, of rounding between an op's products. Distances are relative to an element's size and the root mean square of all
//! ([`Tolerance`](super::compare::Tolerance)):
//!
//! | | f32 | bf16 on the CPU | bf16 on a GPU |
//! |---|---|---|---|
//! | products | 3e-5 | 3e-5 | 2e-2, outputs being bf16 |
//! | norms, activations, embeddings, AdamW | 3e-5 | - | 2e-2 |
//! | Muon's Newton-Schulz steps | 1e-3 | - | - |
//! | a norm's gradient, where 1/std of a row exceeds 16 | 3e-5 / 16 times 1/std | - | the same |
//! | the head's losses, alone | 3e-5 | 3e-5 | 1e-4 |
//! | the head's losses, with gradients | 3e-5 | 3e-5 | 3e-3 |
//! | the head's gradients, rounded once before they are multiplied | 3e-5 | 2e-2 | 4e-2 |
//! | distillation's, the difference of two softmaxes and so the larger | 3e-5 | 4e-2 | 6e-2 |
//! | attention, its probabilities rounded | 3e-5 | 4e-2, in norm 5e-3 | 4e-2, in norm 1e-2 |
//! | its gradient, a difference of nearly equal numbers | 3e-5 | 1.5e-1, in norm 1e-2 | 1.5e-1, in norm 2e-2 |
//! | a model's gradients, in norm | 1e-5 | 8e-2 | three times the CPU's, and 5e-3 |
//! | a model's gradients of a batch in parts, compared with those of the complete batch | 1e-5 | 1e-4 | 2e-2 |

mod attention;
mod composed;
mod distillation;
mod layers;
mod logits;
pub mod models;
mod optimizer;
mod passes;

use candle_core::{DType, Device, Result, Tensor, Var};
use half::bf16;
use rand::Rng;

use super::compare::Tolerance;
use super::{Case, SelfTest};
use crate::model::DecoderConfig;
use crate::ops::{self, Layout, Precision};

/// Tolerance of f32 sums of some hundred terms.
const SUMS: Tolerance = Tolerance(3e-5);

impl Case {
    /// Returns the tolerance of an output of the activations' type.
    fn activation(self) -> Tolerance {
        activation(self.dtype)
    }

    /// Returns one of three tolerances: for f32, for bf16 on the CPU, or for bf16 on a GPU.
    fn one_of(self, f32: f64, cpu: f64, gpu: f64) -> Tolerance {
        Tolerance(match (self.compute, self.dtype) {
            (Precision::F32, _) => f32,
            (Precision::Bf16, DType::BF16) => gpu,
            (Precision::Bf16, _) => cpu,
        })
    }

    /// Returns a tensor's values as products read them, in f64.
    fn operand(self, t: &Tensor) -> Result<Tensor> {
        let values = ops::read(t)?;
        let round = |&v: &f32| match self.compute {
            Precision::F32 => f64::from(v),
            Precision::Bf16 => f64::from(bf16::from_f32(v)),
        };
        let values = values.iter().map(round).collect();
        Tensor::from_vec(values, t.shape(), &Device::Cpu)
    }
}

/// Returns the tolerance of an op's output of this type.
fn activation(dtype: DType) -> Tolerance {
    match dtype {
        DType::BF16 => Tolerance(2e-2),
        _ => SUMS,
    }
}

/// Returns a tensor's values in f64, on the CPU.
fn exact(t: &Tensor) -> Result<Tensor> {
    let values = ops::read(t)?.into_iter().map(f64::from).collect();
    Tensor::from_vec(values, t.shape(), &Device::Cpu)
}

/// Makes a variable, for gradients.
fn variable(t: &Tensor) -> Result<Var> {
    Var::from_tensor(t)
}

/// Returns the gradients of `Σ y dy` for each of `of`.
fn gradients<const N: usize>(y: &Tensor, dy: &Tensor, of: [&Var; N]) -> Result<[Tensor; N]> {
    let grads = (y * dy)?.sum_all()?.backward()?;
    let mut all = Vec::with_capacity(N);
    for var in of {
        match grads.get(var) {
            Some(grad) => all.push(grad.clone()),
            None => candle_core::bail!("candle has lost a gradient of {:?}", var.shape()),
        }
    }
    match all.try_into() {
        Ok(all) => Ok(all),
        Err(_) => candle_core::bail!("not {N} gradients"),
    }
}

/// Returns the shape of a weight of k inputs and n outputs.
fn sides(layout: Layout, k: usize, n: usize) -> [usize; 2] {
    match layout {
        Layout::InOut => [k, n],
        Layout::OutIn => [n, k],
    }
}

impl SelfTest<'_> {
    /// Returns the size itself on the CPU, and on a GPU the next multiple of eight, which its products need.
    fn fit(&self, size: usize) -> usize {
        match self.device.is_cuda() {
            true => size.next_multiple_of(8),
            false => size,
        }
    }

    /// Returns the model's shape with head and MLP sizes of [`Self::fit`].
    fn fitted(&self, config: &DecoderConfig) -> DecoderConfig {
        DecoderConfig {
            head_size: self.fit(config.head_size),
            n_inner: self.fit(config.n_inner),
            ..config.clone()
        }
    }

    /// Returns a random size from 1 to `most`.
    fn ragged(&mut self, most: usize) -> usize {
        let size = self.rng.random_range(1..=most);
        self.fit(size)
    }
}
