//! AdamW and sums.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::{Optimizer as _, ParamsAdamW};

use super::super::SelfTest;
use super::super::compare::Tolerance;
use super::{SUMS, exact, variable};
use crate::ops::{self, AdamW};

/// candle-nn's settings for an update.
pub fn settings(o: &AdamW) -> ParamsAdamW {
    ParamsAdamW {
        lr: o.lr.into(),
        beta1: o.beta1.into(),
        beta2: o.beta2.into(),
        eps: o.eps.into(),
        weight_decay: o.weight_decay.into(),
    }
}

impl SelfTest<'_> {
    /// Checks AdamW, the sums that a step needs, and zeros.
    pub fn optimizer(&mut self) {
        if !self.checks_f32() {
            return;
        }
        for n in [7, 1000, 40_003, self.ragged(20_000) + 6] {
            self.check_shares(&format!("adamw, sums {n}"), |t| t.adamw_of(n));
        }
    }

    /// Three tensors side by side: the first one older than the others, the last one without decay.
    fn adamw_of(&mut self, n: usize) -> Result<Vec<f64>> {
        let (one, two) = (n / 3, n / 2);
        let parts = [one, two, n - one - two];
        let p = self.normal_there(&[n], DType::F32, 1.0)?;
        let [m, v] = [0.0, 0.0].map(|scale| self.normal_there(&[n], DType::F32, scale));
        let (m, v) = (m?, v?);
        let mut update = AdamW {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            grad_scale: 0.5,
            step: 1,
        };
        let mut vars = Vec::new();
        let mut optimizers = Vec::new();
        let mut from = 0;
        for (i, len) in parts.into_iter().enumerate() {
            let var = variable(&exact(&p.narrow(0, from, len)?.contiguous()?)?)?;
            update.weight_decay = if i == 2 { 0.0 } else { 0.1 };
            optimizers.push(candle_nn::AdamW::new(vec![var.clone()], settings(&update))?);
            vars.push(var);
            from += len;
        }
        let mut shares = Vec::new();
        for step in 1..=4u32 {
            let g = self.normal_there(&[n], DType::F32, 0.1)?;
            // In the first step there is the first tensor alone.
            let there = if step == 1 { 1 } else { 3 };
            let mut from = 0;
            let mut updates = Vec::new();
            for (i, len) in parts.into_iter().enumerate().take(there) {
                let grad = exact(&g.narrow(0, from, len)?)?.affine(0.5, 0.0)?;
                // A gradient that is this tensor.
                let grads = (vars[i].as_tensor() * &grad)?.sum_all()?.backward()?;
                optimizers[i].step(&grads)?;
                update.weight_decay = if i == 2 { 0.0 } else { 0.1 };
                update.step = if i == 0 { step } else { step - 1 };
                updates.push((len, update));
                from += len;
            }
            let of = |t: &Tensor| t.narrow(0, 0, from);
            let (op, om, ov, og) = (of(&p)?, of(&m)?, of(&v)?, of(&g)?);
            let rounded = match self.device.is_cuda() {
                true => Some(self.poisoned_there(&[from], DType::BF16)?),
                false => None,
            };
            ops::adamw([&op, &om, &ov, &og], rounded.as_ref(), &updates)?;
            let all: Vec<_> = vars.iter().map(|var| var.as_tensor().clone()).collect();
            let want = Tensor::cat(&all, 0)?;
            shares.push(self.agree(&p, &want, SUMS)?);
            if let Some(rounded) = &rounded {
                let want = want.narrow(0, 0, from)?;
                shares.push(self.agree(rounded, &want, Tolerance(2e-2))?);
            }
        }
        shares.push(self.sums_of(&p)?);
        if self.device.is_cuda() {
            let rounded = self.poisoned_there(&[n], DType::BF16)?;
            ops::round(&rounded, &p)?;
            shares.push(self.agree(&rounded, &exact(&p)?, Tolerance(2e-2))?);
        }
        ops::zero(&p)?;
        if ops::read(&p)?.iter().any(|&v| v != 0.0) {
            bail!("not all zeros");
        }
        Ok(shares)
    }

    /// Sums are made in f64: a share of 1e-9 of them.
    fn sums_of(&mut self, x: &Tensor) -> Result<f64> {
        let x64 = exact(x)?;
        let squares = x64.sqr()?.sum_all()?.to_scalar::<f64>()?;
        let total = x64.sum_all()?.to_scalar::<f64>()?;
        let size = x64.abs()?.sum_all()?.to_scalar::<f64>()?;
        let mut sum = ops::Sum::zero(self.device)?;
        sum.add(x)?;
        let (got_squares, got_total) = (ops::sum_of_squares(x)?, sum.read()?);
        let share = |got: f64, want: f64, size: f64| (got - want).abs() / (1e-9 * size);
        let largest = share(got_squares, squares, squares).max(share(got_total, total, size));
        if largest.is_nan() || largest > 1.0 {
            bail!(
                "the sums are {got_total} and, of squares, {got_squares}, expected {total} and {squares}"
            );
        }
        Ok(largest)
    }
}
