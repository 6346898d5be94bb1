//! Checks logits far from zero, and copies of chosen rows.

use candle_core::{DType, Device, Result, Tensor};

use super::super::compare::Tolerance;
use super::super::{Case, SelfTest};
use super::exact;
use crate::ops::{self, Accumulation};

impl SelfTest<'_> {
    /// Returns the stride of rows of logits, in elements.
    pub(super) fn stride(&self, vocab: usize) -> usize {
        match self.device.is_cuda() {
            true => ops::logits::stride(vocab),
            false => vocab,
        }
    }

    /// Checks losses of logits that all lie near -100, like GPT-2's: the error must be at most 1e-3 nats. In training on a GPU, logits
    /// may be rounded to bf16 (`HEIRLOOM_LOGITS`), with steps of 0.5 there.
    pub(super) fn distant_logits(
        &mut self,
        case: Case,
        (m, c, v): (usize, usize, usize),
    ) -> Result<Vec<f64>> {
        const MOST: f64 = 1e-3;
        // The last channel adds the same offset, -100, to every logit, in numbers that bf16 can represent.
        let mut with_channel = |rows: usize, scale: f32, last: f32| -> Result<Tensor> {
            let mut values = ops::read(&self.normal_there(&[rows, c], case.dtype, scale)?)?;
            for row in values.chunks_mut(c) {
                row[c - 1] = last;
            }
            self.put(&values, &[rows, c], case.dtype)
        };
        let (x, wte) = (with_channel(m, 1.0, 8.0)?, with_channel(v, 0.3, -12.5)?);
        let targets = self.ids(&[1, m], v)?;
        let chunk = self.poisoned_there(&[m, self.stride(v)], DType::F32)?;
        let logits = case.operand(&x)?.matmul(&case.operand(&wte)?.t()?)?;
        let target = targets.cpu.flatten_all()?.unsqueeze(1)?;
        let of_rows = candle_nn::ops::log_softmax(&logits, 1)?;
        let want = of_rows.gather(&target, 1)?.neg()?.flatten_all()?;
        let want = want.to_vec1::<f64>()?;

        let (dx, dwte) = (
            self.poisoned_there(&[m, c], case.dtype)?,
            self.poisoned_there(&[v, c], DType::F32)?,
        );
        let rounded = case.dtype == DType::BF16
            && std::env::var_os("HEIRLOOM_LOGITS").is_none_or(|v| v != "f32");
        let mut shares = Vec::new();
        for (grads, most) in [
            (None, MOST),
            (
                Some((&dx, &dwte, Accumulation::Write)),
                if rounded { 0.5 } else { MOST },
            ),
        ] {
            let got = self.poisoned_there(&[m], DType::F32)?;
            let ids = &targets.gpu;
            ops::head_cross_entropy(case.compute, &got, grads, &chunk, &x, &wte, ids, 1.0)?;
            let got = ops::read(&got)?.into_iter().map(f64::from);
            shares.push(largest_difference(got, &want, most)?);
        }
        let ids = &targets.gpu;
        let found = ops::head_log_likelihoods(case.compute, &chunk, &x, &wte, ids)?;
        let got = found.into_iter().map(|l| -l);
        shares.push(largest_difference(got, &want, MOST)?);
        Ok(shares)
    }

    /// Checks copies of rows in a random order, some of them twice.
    pub(super) fn chosen_rows(&mut self, dtype: DType) -> Result<Vec<f64>> {
        let x = self.normal_there(&[40, 24], dtype, 1.0)?;
        let rows = [39, 0, 1, 2, 3, 3, 17, 16, 20, 21];
        let out = self.poisoned_there(&[rows.len(), 24], dtype)?;
        ops::gather_rows(&out, &x, &rows)?;
        let ids = Tensor::new(&rows, &Device::Cpu)?;
        let want = exact(&x)?.index_select(&ids, 0)?;
        Ok(vec![self.agree(&out, &want, Tolerance(1e-12))?])
    }
}

/// Returns the largest difference as a share of `most`.
///
/// # Errors
/// When the difference is larger than `most`, or not a number.
fn largest_difference(got: impl Iterator<Item = f64>, want: &[f64], most: f64) -> Result<f64> {
    let mut largest: f64 = 0.0;
    for (i, (got, want)) in got.zip(want).enumerate() {
        let off = (got - want).abs();
        if off.is_nan() || off > most {
            candle_core::bail!("loss {i} is {got}, expected {want} (allowed {most:.0e} nats)");
        }
        largest = largest.max(off);
    }
    Ok(largest / most)
}
