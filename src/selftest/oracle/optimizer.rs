//! Checks AdamW, Muon and sums.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{Optimizer as _, ParamsAdamW};

use super::super::SelfTest;
use super::super::compare::Tolerance;
use super::{SUMS, exact, variable};
use crate::ops::{self, AdamW, Block, MuonRoom};

/// Tolerance of matrices after five Newton-Schulz steps in f32: each step multiplies the rounding errors along small singular
/// values by up to 3.4.
const ORTHOGONAL: Tolerance = Tolerance(1e-3);

/// Returns candle-nn's settings for an update.
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
    /// Checks AdamW, Muon, the sums that a step needs, and zeros.
    pub fn optimizer(&mut self) {
        if !self.checks_f32() {
            return;
        }
        for n in [7, 1000, 40_003, self.ragged(20_000) + 6] {
            self.check_shares(&format!("adamw, sums {n}"), |t| t.adamw_of(n));
        }
        let (some, other) = (self.ragged(70), self.ragged(70));
        for (rows, columns) in [(16, 16), (24, 72), (72, 24), (8, 128), (some, other)] {
            let what = format!("muon {rows}x{columns}");
            self.check_shares(&what, |t| t.muon_of(rows, columns));
        }
    }

    /// Checks three adjacent tensors: the first one has made more steps than the others, and the last one has no decay.
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
            // The first step updates only the first tensor.
            let there = if step == 1 { 1 } else { 3 };
            let mut from = 0;
            let mut updates = Vec::new();
            for (i, len) in parts.into_iter().enumerate().take(there) {
                let grad = exact(&g.narrow(0, from, len)?)?.affine(0.5, 0.0)?;
                // Makes a gradient that equals this tensor.
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

    /// Checks three steps of the middle one of three adjacent matrices. The other two must not change.
    fn muon_of(&mut self, rows: usize, columns: usize) -> Result<Vec<f64>> {
        let block = Block {
            rows,
            columns,
            first: columns,
            stride: 3 * columns,
        };
        let whole = [rows, 3 * columns];
        let [p, m] = [1.0, 0.0].map(|scale| self.normal_there(&whole, DType::F32, scale));
        let (p, m) = (p?, m?);
        let (before, middle) = (exact(&p)?, |t: &Tensor| t.narrow(1, columns, columns));
        let (mut want_p, mut want_m) = (middle(&before)?, middle(&exact(&m)?)?);
        let (momentum, scale, keep, lr) = (0.95, 0.5, 0.99, 0.1);
        let room = MuonRoom::new(rows * columns, rows.min(columns), self.device)?;
        let rounded = match self.device.is_cuda() {
            true => Some(self.poisoned_there(&whole, DType::BF16)?),
            false => None,
        };
        let mut shares = Vec::new();
        for _ in 0..3 {
            let g = self.normal_there(&whole, DType::F32, 0.1)?;
            let grad = middle(&exact(&g)?)?.affine(f64::from(scale), 0.0)?;
            let average = |a: &Tensor| a.affine(f64::from(momentum), 0.0);
            let (of_m, of_g) = (
                average(&want_m)?,
                grad.affine(1.0 - f64::from(momentum), 0.0)?,
            );
            want_m = (of_m + &of_g)?;
            let x = self.poisoned_there(&[rows, columns], DType::F32)?;
            ops::muon_momentum(&x, &m, &g, block, momentum, scale)?;
            shares.push(self.agree(&middle_of(&m, block)?, &want_m, SUMS)?);
            shares.push(self.agree(&x, &(average(&want_m)? + of_g)?, SUMS)?);
            let want = orthogonal(&exact(&x)?)?;
            let x = ops::orthogonalize(&x, &room)?;
            shares.push(self.agree(&x, &want, ORTHOGONAL)?);
            let step = exact(&x)?.affine(f64::from(lr), 0.0)?;
            want_p = (want_p.affine(f64::from(keep), 0.0)? - step)?;
            ops::muon_weights(&p, rounded.as_ref(), &x, block, keep, lr)?;
            shares.push(self.agree(&middle_of(&p, block)?, &want_p, SUMS)?);
        }
        for first in [0, 2 * columns] {
            let side = Block { first, ..block };
            let want = before.narrow(1, first, columns)?.contiguous()?;
            shares.push(self.agree(&middle_of(&p, side)?, &want, Tolerance(1e-12))?);
        }
        if let Some(rounded) = &rounded {
            let copy = middle_of(rounded, block)?;
            shares.push(self.agree(&copy, &want_p, Tolerance(2e-2))?);
        }
        shares.push(self.blends_of(rows * columns)?);
        Ok(shares)
    }

    /// Checks the element-wise steps of a Newton-Schulz iteration.
    fn blends_of(&mut self, n: usize) -> Result<f64> {
        let [out, x] = [1.0, 2.0].map(|scale| self.normal_there(&[n], DType::F32, scale));
        let (out, x) = (out?, x?);
        let want = (exact(&out)?.affine(-1.5, 0.0)? + exact(&x)?.affine(0.5, 0.0)?)?;
        ops::blend(&out, -1.5, &x, 0.5)?;
        let share = self.agree(&out, &want, SUMS)?;
        let norm = exact(&x)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        let want = exact(&x)?.affine(1.0 / norm, 0.0)?;
        ops::to_unit_norm(&x, 1e-7)?;
        Ok(share.max(self.agree(&x, &want, SUMS)?))
    }

    /// Checks sums, which are computed in f64, to a share of 1e-9.
    fn sums_of(&mut self, x: &Tensor) -> Result<f64> {
        let x64 = exact(x)?;
        let squares = x64.sqr()?.sum_all()?.to_scalar::<f64>()?;
        let total = x64.sum_all()?.to_scalar::<f64>()?;
        let size = x64.abs()?.sum_all()?.to_scalar::<f64>()?;
        let mut sums = ops::Sums::zero(self.device)?;
        sums.add_losses(x)?;
        sums.clear()?;
        sums.add_losses(x)?;
        let part = x.flatten_all()?;
        let (half, n) = (part.elem_count() / 2, part.elem_count());
        sums.add_squares(&part.narrow(0, 0, half)?)?;
        sums.add_squares(&part.narrow(0, half, n - half)?)?;
        let (got, alone) = (sums.read()?, ops::sum_of_squares(x)?);
        let (got_squares, got_total) = (got.squares, got.losses);
        let share = |got: f64, want: f64, size: f64| (got - want).abs() / (1e-9 * size);
        let largest = share(got_squares, squares, squares).max(share(got_total, total, size));
        let largest = largest.max(share(alone, squares, squares));
        if largest.is_nan() || largest > 1.0 {
            bail!(
                "the sums are {got_total} and, of squares, {got_squares}, expected {total} and {squares}"
            );
        }
        Ok(largest)
    }
}

/// Returns a block's values, in f32 on the CPU.
fn middle_of(whole: &Tensor, block: Block) -> Result<Tensor> {
    let values = ops::read(whole)?;
    let values = Tensor::from_vec(values, (block.rows, block.stride), &Device::Cpu)?;
    values.narrow(1, block.first, block.columns)?.contiguous()
}

/// Computes [`ops::orthogonalize`] in f64, with candle's products.
fn orthogonal(x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let is_tall = rows > columns;
    let mut x = if is_tall {
        x.t()?.contiguous()?
    } else {
        x.clone()
    };
    let norm = x.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    x = x.affine(1.0 / norm.max(1e-7), 0.0)?;
    for _ in 0..5 {
        let gram = x.matmul(&x.t()?.contiguous()?)?;
        let quartic = gram.matmul(&gram)?.affine(2.0315, 0.0)?;
        let polynomial = (gram.affine(-4.7750, 0.0)? + quartic)?;
        x = (x.affine(3.4445, 0.0)? + polynomial.matmul(&x)?)?;
    }
    if is_tall { x.t()?.contiguous() } else { Ok(x) }
}
