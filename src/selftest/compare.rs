//! Makes random operands, and compares values with their expected values.

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

/// Largest error of an element, relative to its own size and the root mean square of all.
#[derive(Clone, Copy)]
pub struct Tolerance(pub f64);

/// Returns the tolerance of sums of a few hundred terms, for operands of this type.
pub fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        // The rounding of the output, 2^-9, and of intermediate values.
        DType::BF16 => Tolerance(2e-2),
        _ => Tolerance(3e-5),
    }
}

impl SelfTest<'_> {
    /// Draws normal values times `scale`, rounded for bf16.
    fn draw(&mut self, n: usize, dtype: DType, scale: f32) -> Vec<f32> {
        let mut value = || {
            let value = scale * self.rng.sample::<f32, _>(StandardNormal);
            match dtype {
                DType::BF16 => bf16::from_f32(value).to_f32(),
                _ => value,
            }
        };
        (0..n).map(|_| value()).collect()
    }

    /// Makes normal values on the device.
    pub fn normal_there(&mut self, shape: &[usize], dtype: DType, scale: f32) -> Result<Tensor> {
        let values = self.draw(shape.iter().product(), dtype, scale);
        self.put(&values, shape, dtype)
    }

    /// Makes an output on the device that is filled with NaN, so that elements which are not written are noticed.
    pub fn poisoned_there(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        self.put(&vec![f32::NAN; shape.iter().product()], shape, dtype)
    }

    /// Copies values to the device.
    pub fn put(&self, values: &[f32], shape: &[usize], dtype: DType) -> Result<Tensor> {
        let there = ops::zeros_of(shape, dtype, self.device)?;
        ops::write(&there, values)?;
        Ok(there)
    }

    /// Makes normal values times `scale`. Values for bf16 are rounded on both sides.
    pub fn normal(&mut self, shape: &[usize], dtype: DType, scale: f32) -> Result<Twin> {
        let values = self.draw(shape.iter().product(), dtype, scale);
        self.twin(values, shape, dtype)
    }

    /// Makes outputs that are filled with NaN, so that elements which are not written are noticed.
    pub fn poisoned(&self, shape: &[usize], dtype: DType) -> Result<Twin> {
        self.twin(vec![f32::NAN; shape.iter().product()], shape, dtype)
    }

    fn twin(&self, values: Vec<f32>, shape: &[usize], dtype: DType) -> Result<Twin> {
        Ok(Twin {
            gpu: self.put(&values, shape, dtype)?,
            cpu: Tensor::from_vec(values, shape, &Device::Cpu)?,
        })
    }

    /// Makes token ids below `vocab`, a few of which are frequent, on the CPU and on the device.
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

    /// Compares a tensor of the device with the expected values in f64. Returns the largest error as a share of the tolerance.
    ///
    /// # Errors
    /// As [`distance`].
    pub fn agree(&mut self, got: &Tensor, want: &Tensor, tolerance: Tolerance) -> Result<f64> {
        let want = want.flatten_all()?.to_vec1::<f64>()?;
        let mut got = ops::read(got)?;
        self.compared += 1;
        if crate::fault::is_at("selftest", self.compared) {
            // Simulates a wrong op: an error of twice the tolerance in one element.
            let i = got.len() / 2;
            let allowed = tolerance.0 * (want[i].abs() + root_mean_square(&want));
            got[i] += 2.0 * allowed as f32;
        }
        Ok(distance(&want, &got, tolerance)? / tolerance.0)
    }

    /// Compares all elements together: the norm of the errors, relative to the norm of the expected values. Rounding averages out, but
    /// an error in many elements does not.
    ///
    /// # Errors
    /// When it is larger than `most`.
    pub fn agree_in_norm(&self, got: &Tensor, want: &Tensor, most: f64) -> Result<f64> {
        let want = want.flatten_all()?.to_vec1::<f64>()?;
        let pairs = ops::read(got)?.into_iter().zip(&want);
        let off: Vec<f64> = pairs.map(|(g, w)| f64::from(g) - w).collect();
        let share = root_mean_square(&off) / root_mean_square(&want).max(1e-30);
        if share.is_nan() || share > most {
            bail!("off by {share:.1e} of its norm, allowed {most:.0e}");
        }
        Ok(share / most)
    }
}

impl Twin {
    /// Returns the largest distance of an element.
    ///
    /// # Errors
    /// As [`distance`].
    pub fn agree(&self, tolerance: Tolerance) -> Result<String> {
        apart(&ops::read(&self.cpu)?, &ops::read(&self.gpu)?, tolerance)
    }
}

/// Returns [`distance`] from values in f32 as text.
pub fn apart(want: &[f32], got: &[f32], tolerance: Tolerance) -> Result<String> {
    let want: Vec<f64> = want.iter().map(|&v| v.into()).collect();
    let distance = distance(&want, got, tolerance)?;
    Ok(format!("apart {distance:.1e}, allowed {:.0e}", tolerance.0))
}

/// Returns the largest distance of an element from its expected value, relative to its size and the root mean square of all.
///
/// # Errors
/// When an element is not finite or its distance exceeds the tolerance; the error has its place and its expected value.
pub fn distance(want: &[f64], got: &[f32], Tolerance(most): Tolerance) -> Result<f64> {
    if want.len() != got.len() || want.is_empty() {
        bail!("{} elements, expected {}", got.len(), want.len());
    }
    let rms = root_mean_square(want);
    let mut worst = (0.0, 0);
    for (i, (want, got)) in want.iter().zip(got).enumerate() {
        let distance = (want - f64::from(*got)).abs() / (want.abs() + rms).max(1e-30);
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
            "element {i} of {} is {}, expected {} (apart {distance:.1e}, allowed {most:.0e})",
            want.len(),
            got[i],
            want[i] as f32
        );
    }
    Ok(distance)
}

fn root_mean_square(values: &[f64]) -> f64 {
    let squares: f64 = values.iter().map(|v| v.powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_element_is_found() {
        let want: Vec<f64> = (0..100).map(|i| f64::from(i).sin()).collect();
        let right: Vec<f32> = want.iter().map(|&v| v as f32).collect();
        let found = distance(&want, &right, Tolerance(1e-6)).unwrap();
        assert!(found < 1e-7, "{found}");
        for (i, wrong) in [
            (0, f32::NAN),
            (99, f32::INFINITY),
            (50, right[50] + 1e-4),
            (99, -right[99]),
        ] {
            let mut got = right.clone();
            got[i] = wrong;
            let error = distance(&want, &got, Tolerance(3e-5)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.starts_with(&format!("element {i} of 100 is")),
                "{error}"
            );
        }
        // If an expected value is not finite, the comparison fails.
        let mut nan = want.clone();
        nan[7] = f64::NAN;
        assert!(distance(&nan, &right, Tolerance(1.0)).is_err());
    }

    #[test]
    fn missing_elements_do_not_agree() {
        for (want, got) in [
            (&[1.0, 2.0][..], &[1.0][..]),
            (&[1.0], &[1.0, 2.0]),
            (&[], &[]),
        ] {
            let error = distance(want, got, Tolerance(1.0)).unwrap_err();
            assert!(error.to_string().contains("expected"), "{error}");
        }
    }
}
