//! What an optimizer step does besides gradients: sums, AdamW, zeros.

use candle_core::{DType, Device, Result, Tensor};

use super::access::{none_on_cpu, read, slices, zeros_of};
use super::clock::Part;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{AdamW, cpu};

/// Sum of squares in f64, in a fixed order.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    on_gpu!(Optimizer, x, cuda::reduce::sum_of_squares(x));
    slices([], [x], |[], [x]| {
        Ok(Part::Optimizer.time(|| cpu::optimizer::sum_of_squares(x)))
    })
}

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) with bias correction over neighbouring tensors, of `parts` elements each:
/// `p`, `m` and `v` are updated in place. The parts differ in decay and step alone. On a GPU, `rounded` gets the new `p` in
/// bf16.
pub fn adamw(
    [p, m, v, g]: [&Tensor; 4],
    rounded: Option<&Tensor>,
    parts: &[(usize, AdamW)],
) -> Result<()> {
    on_gpu!(
        Optimizer,
        p,
        cuda::optimizer::adamw([p, m, v, g], rounded, parts)
    );
    none_on_cpu(rounded)?;
    slices([p, m, v], [g], |[p, m, v], [g]| {
        Part::Optimizer.time(|| cpu::optimizer::adamw(p, m, v, g, parts));
        Ok(())
    })
}

/// Rounds `x` to `out`, a tensor of bf16 on a GPU.
pub fn round(out: &Tensor, x: &Tensor) -> Result<()> {
    on_gpu!(Optimizer, out, cuda::access::round(out, x));
    candle_core::bail!(
        "on the CPU, operands are rounded where they are multiplied, not to {:?} and {:?}",
        out.shape(),
        x.shape()
    )
}

/// A sum in f64, in a fixed order, of tensors that come one by one. A GPU's stays there until it is read.
#[derive(Debug)]
pub struct Sum {
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "sums of a GPU"))]
    device: Option<Tensor>,
    host: f64,
}

impl Sum {
    /// Zero.
    pub fn zero(device: &Device) -> Result<Self> {
        let there = |_| zeros_of(1, DType::F64, device);
        Ok(Self {
            device: device.is_cuda().then_some(()).map(there).transpose()?,
            host: 0.0,
        })
    }

    /// Adds all elements of `x`.
    pub fn add(&mut self, x: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(sum) = &self.device {
            return Part::Head.time_on_gpu(x.device(), || cuda::reduce::add_total(sum, x));
        }
        self.host += read(x)?.iter().map(|&v| f64::from(v)).sum::<f64>();
        Ok(())
    }

    /// The sum so far, after all that is queued.
    pub fn read(&self) -> Result<f64> {
        #[cfg(feature = "cuda")]
        if let Some(sum) = &self.device {
            return cuda::reduce::read_total(sum);
        }
        Ok(self.host)
    }
}

/// Sets every element to zero.
pub fn zero(x: &Tensor) -> Result<()> {
    on_gpu!(Optimizer, x, cuda::access::zero(x));
    slices([x], [], |[x], []| {
        Part::Optimizer.time(|| cpu::optimizer::zero(x));
        Ok(())
    })
}
