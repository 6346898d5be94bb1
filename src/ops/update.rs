//! Operations of an optimizer step besides gradients: sums, AdamW, zeros.

use candle_core::{DType, Device, Result, Tensor};

use super::access::{none_on_cpu, read, slices, zeros_of};
use super::clock::Part;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Accumulation, AdamW, GpuFeature, cpu};

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

/// The sums that decide about an optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Sum of the losses of all tokens.
    pub losses: f64,
    /// Sum of the squares of all gradients.
    pub squares: f64,
}

/// Adds up the [`Totals`] of a step, in f64 and in a fixed order, from tensors that are given one by one. The sums of a GPU stay there
/// until both are read, with one wait.
#[derive(Debug)]
pub struct Sums {
    /// Losses and squares, on a GPU.
    device: Option<Tensor>,
    host: Totals,
}

impl Sums {
    /// Makes sums of zero.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn zero(device: &Device) -> Result<Self> {
        let there = |_| zeros_of(2, DType::F64, device);
        Ok(Self {
            device: device.is_cuda().then_some(()).map(there).transpose()?,
            host: Totals::default(),
        })
    }

    /// Sets both sums to zero.
    ///
    /// # Errors
    /// When the device cannot be written.
    pub fn clear(&mut self) -> Result<()> {
        self.host = Totals::default();
        self.device.as_ref().map_or(Ok(()), zero)
    }

    /// Adds losses.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn add_losses(&mut self, x: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(sums) = &self.device {
            let sum = sums.narrow(0, 0, 1)?;
            return Part::Head.time_on_gpu(x.device(), || cuda::reduce::add_total(&sum, x));
        }
        self.host.losses += read(x)?.iter().map(|&v| f64::from(v)).sum::<f64>();
        Ok(())
    }

    /// Adds the squares of gradients.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn add_squares(&mut self, x: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(sums) = &self.device {
            let sum = sums.narrow(0, 1, 1)?;
            return Part::Optimizer.time_on_gpu(x.device(), || cuda::reduce::add_squares(&sum, x));
        }
        self.host.squares += sum_of_squares(x)?;
        Ok(())
    }

    /// Returns both sums, after all that is queued.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn read(&self) -> Result<Totals> {
        #[cfg(feature = "cuda")]
        if let Some(sums) = &self.device {
            let [losses, squares] = cuda::reduce::read_totals(sums)?;
            return Ok(Totals { losses, squares });
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

impl Accumulation {
    /// Prepares the gradients of all weights, which lie in `flat`, for the first pass of a step, and returns how that pass writes them.
    /// They are zeroed where the pass adds to them.
    ///
    /// # Errors
    /// When the device cannot be written.
    pub fn first(flat: &Tensor) -> Result<Self> {
        if flat.device().is_cuda() && GpuFeature::WriteGradients.is_on() {
            return Ok(Self::Write);
        }
        zero(flat)?;
        Ok(Self::Add)
    }

    /// Prepares destinations for an op that can only add: zeros them where they are to be replaced.
    pub(super) fn prepare<'a>(self, dst: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
        match self {
            Self::Write => dst.into_iter().try_for_each(zero),
            Self::Add => Ok(()),
        }
    }
}
