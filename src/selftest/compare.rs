//! Tensors on both devices, and how far their values lie apart.

use candle_core::{DType, Device, Result, Tensor, bail};
use half::bf16;
use rand::Rng;
use rand_distr::StandardNormal;

use super::SelfTest;
use crate::ops;

/// The same values on the CPU, in f32, and on the GPU.
pub struct Twin {
    pub cpu: Tensor,
    pub gpu: Tensor,
}

/// How far an element may lie from the CPU's, relative to its own size and the root mean square of all.
#[derive(Clone, Copy)]
pub struct Tolerance(pub f64);

/// Tolerance of sums of a few hundred terms, for operands of this type.
pub fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        // The output's own rounding, 2^-9, and that of what lies between.
        DType::BF16 => Tolerance(2e-2),
        _ => Tolerance(3e-5),
    }
}

impl SelfTest<'_> {
    /// Normal values, times `scale`; those for bf16 are rounded on both sides.
    pub fn normal(&mut self, shape: &[usize], dtype: DType, scale: f32) -> Result<Twin> {
        let n = shape.iter().product();
        let values = (0..n).map(|_| {
            let value = scale * self.rng.sample::<f32, _>(StandardNormal);
            match dtype {
                DType::BF16 => bf16::from_f32(value).to_f32(),
                _ => value,
            }
        });
        let values = values.collect();
        self.twin(values, shape, dtype)
    }

    /// Outputs: NaN everywhere, so that what is not written shows.
    pub fn poisoned(&self, shape: &[usize], dtype: DType) -> Result<Twin> {
        self.twin(vec![f32::NAN; shape.iter().product()], shape, dtype)
    }

    fn twin(&self, values: Vec<f32>, shape: &[usize], dtype: DType) -> Result<Twin> {
        let gpu = ops::zeros_of(shape, dtype, self.device)?;
        ops::write(&gpu, &values)?;
        Ok(Twin {
            cpu: Tensor::from_vec(values, shape, &Device::Cpu)?,
            gpu,
        })
    }

    /// Token ids below `vocab`, few of them often.
    pub fn ids(&mut self, shape: &[usize], vocab: usize) -> Result<Twin> {
        let most = u32::try_from(vocab).unwrap_or(u32::MAX);
        let n = shape.iter().product();
        let rng = &mut self.rng;
        let draw = |_| match rng.random_bool(0.5) {
            true => rng.random_range(0..most.min(3)),
            false => rng.random_range(0..most),
        };
        let values: Vec<u32> = (0..n).map(draw).collect();
        let gpu = ops::zeros_of(shape, DType::U32, self.device)?;
        ops::write(&gpu, &values)?;
        Ok(Twin {
            cpu: Tensor::from_vec(values, shape, &Device::Cpu)?,
            gpu,
        })
    }
}

impl Twin {
    /// The largest distance of an element.
    ///
    /// # Errors
    /// When one is not finite or lies beyond the tolerance: where, and what both say.
    pub fn agree(&self, tolerance: Tolerance) -> Result<String> {
        apart(&ops::read(&self.cpu)?, &ops::read(&self.gpu)?, tolerance)
    }
}

/// As [`Twin::agree`], of values.
pub fn apart(want: &[f32], got: &[f32], Tolerance(most): Tolerance) -> Result<String> {
    let squares: f64 = want.iter().map(|v| f64::from(*v).powi(2)).sum();
    let rms = (squares / want.len().max(1) as f64).sqrt();
    let mut worst = (0.0, 0);
    for (i, (want, got)) in want.iter().zip(got).enumerate() {
        let (want, got) = (f64::from(*want), f64::from(*got));
        let distance = (want - got).abs() / (want.abs() + rms).max(1e-30);
        if !distance.is_finite() || distance > worst.0 {
            worst = (distance, i);
        }
        if !distance.is_finite() {
            break;
        }
    }
    let (distance, i) = worst;
    if !distance.is_finite() || distance > most {
        bail!(
            "element {i} of {} is {}, the CPU's {} (apart {distance:.1e}, allowed {most:.0e})",
            want.len(),
            got[i],
            want[i]
        );
    }
    Ok(format!("apart {distance:.1e}, allowed {most:.0e}"))
}
