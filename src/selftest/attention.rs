//! Checks attention in difficult cases: NaN in a key, large scores, long windows, and the choice of a GPU's kernels.

use candle_core::{DType, Result, Tensor, bail};

use super::compare::{Tolerance, apart};
use super::{Case, SelfTest};
use crate::ops::{self, AttentionShape, Precision};

/// Returns the shape of windows of `time` positions, with two query heads for each key and value head.
fn shape(batch: usize, time: usize, n_kv_head: usize, head_size: usize) -> AttentionShape {
    AttentionShape {
        batch,
        time,
        n_head: 2 * n_kv_head,
        n_kv_head,
        head_size,
        scale: 1.0 / (head_size as f32).sqrt(),
    }
}

impl SelfTest<'_> {
    /// Checks extreme cases of attention. Those that need much memory or time are checked only on a GPU.
    pub fn attention_extremes(&mut self) {
        for case in self.cases() {
            for d in [24, 64, 100, 128] {
                let name = format!("attention {} of {d}, NaN in a key", case.name());
                self.check(&name, |t| t.nan_in_a_key(case, shape(2, 70, 2, d)));
            }
        }
        if !self.device.is_cuda() {
            return;
        }
        for dtype in [DType::F32, DType::BF16] {
            let name = format!("attention {dtype:?}, scores of +-100, 1x4096").to_lowercase();
            self.check(&name, |t| t.large_scores(dtype, 4096));
        }
        self.check("attention matrices of 70 positions, then 13000", |t| {
            t.matrices_of(70)?;
            t.matrices_of(13_000)
        });
        #[cfg(feature = "cuda")]
        self.check("bf16 heads of even sizes go to tensor cores", |t| {
            t.on_tensor_cores()
        });
    }

    /// Checks that a NaN in a key makes every later output of its heads NaN, and does not change other outputs.
    fn nan_in_a_key(&mut self, case: Case, s: AttentionShape) -> Result<String> {
        let rows = s.batch * s.time;
        let qkv = self.normal_there(&[rows, s.row()], case.dtype, 1.0)?;
        let forward = |t: &Self, qkv: &Tensor| -> Result<(Vec<f32>, Vec<f32>)> {
            let out = t.poisoned_there(&[rows, s.width()], case.dtype)?;
            let lse = t.poisoned_there(&[s.batch, s.n_head, s.time], DType::F32)?;
            ops::attention(case.compute, &out, &lse, qkv, s)?;
            Ok((ops::read(&out)?, ops::read(&lse)?))
        };
        let (good, good_lse) = forward(self, &qkv)?;
        let (batch, row, group) = (s.batch - 1, s.time / 2, s.n_kv_head - 1);
        let mut values = ops::read(&qkv)?;
        let key = (s.n_head + group) * s.head_size + s.head_size / 2;
        values[(batch * s.time + row) * s.row() + key] = f32::NAN;
        ops::write(&qkv, &values)?;
        let (bad, bad_lse) = forward(self, &qkv)?;
        let shared = s.n_head / s.n_kv_head;
        let mut reached = 0;
        for b in 0..s.batch {
            for t in 0..s.time {
                for h in 0..s.n_head {
                    let sees = b == batch && t >= row && h / shared == group;
                    let at = (b * s.time + t) * s.width() + h * s.head_size;
                    let both = good[at..at + s.head_size].iter().zip(&bad[at..]);
                    let at = (b * s.n_head + h) * s.time + t;
                    for (good, bad) in both.chain([(&good_lse[at], &bad_lse[at])]) {
                        let right = match sees {
                            true => bad.is_nan(),
                            false => good.to_bits() == bad.to_bits(),
                        };
                        if !right || good.is_nan() {
                            bail!(
                                "window {b}, position {t}, head {h}: {bad} with NaN in the key of position {row}, {good} without"
                            );
                        }
                    }
                    reached += usize::from(sees);
                }
            }
        }
        Ok(format!("reaches {reached} outputs"))
    }

    /// Checks scores of about +-100, which give probabilities from 0 to 1. The gradient is checked only in f32: in bf16 the rounding of
    /// the output is as large as the differences that make up the gradient.
    fn large_scores(&mut self, dtype: DType, time: usize) -> Result<String> {
        let s = AttentionShape {
            scale: 25.0 / 8.0,
            ..shape(1, time, 1, 64)
        };
        let qkv = self.normal(&[time, s.row()], dtype, 1.0)?;
        let out = self.poisoned(&[time, s.width()], dtype)?;
        let lse = self.poisoned(&[1, s.n_head, time], DType::F32)?;
        let (compute, most) = match dtype {
            DType::BF16 => (Precision::Bf16, 4e-2),
            _ => (Precision::F32, 1e-3),
        };
        ops::attention(Precision::F32, &out.cpu, &lse.cpu, &qkv.cpu, s)?;
        ops::attention(compute, &out.gpu, &lse.gpu, &qkv.gpu, s)?;
        lse.agree(Tolerance(1e-4))?;
        let found = out.agree(Tolerance(most))?;
        if dtype != DType::F32 {
            return Ok(found);
        }
        let dout = self.normal(&[time, s.width()], dtype, 1.0)?;
        let d = self.poisoned(&[time, s.row()], dtype)?;
        for (d, dout, out, qkv, lse) in [
            (&d.cpu, &dout.cpu, &out.cpu, &qkv.cpu, &lse.cpu),
            (&d.gpu, &dout.gpu, &out.gpu, &qkv.gpu, &lse.gpu),
        ] {
            ops::attention_backward(compute, d, dout, out, qkv, lse, s)?;
        }
        d.agree(Tolerance(most))
    }

    /// Checks the first and last rows of the attention matrix of a long window.
    fn matrices_of(&mut self, time: usize) -> Result<String> {
        let s = AttentionShape {
            n_head: 1,
            ..shape(1, time, 1, 16)
        };
        let qkv = self.normal_there(&[time, s.row()], DType::F32, 1.0)?;
        let probs = ops::zeros(&[1, 1, time, time], self.device)?;
        ops::attention_probs(&probs, &qkv, s)?;
        let (values, probs, d) = (ops::read(&qkv)?, probs.flatten_all()?, s.head_size);
        let mut found = String::new();
        for i in [0, 1, time / 2, time - 2, time - 1] {
            let score = |j: usize| {
                let (q, k) = (&values[i * s.row()..], &values[j * s.row() + d..]);
                let products = q[..d].iter().zip(&k[..d]);
                let dot: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                (dot * f64::from(s.scale)).exp()
            };
            let mut want: Vec<f64> = (0..=i).map(score).collect();
            let sum: f64 = want.iter().sum();
            want.resize(time, 0.0);
            let want: Vec<f32> = want.iter().map(|w| (w / sum) as f32).collect();
            let got = ops::read(&probs.narrow(0, i * time, time)?)?;
            found = apart(&want, &got, Tolerance(1e-4))?;
        }
        Ok(found)
    }

    #[cfg(feature = "cuda")]
    fn on_tensor_cores(&self) -> Result<String> {
        let mut last = String::new();
        for d in (2..=128).step_by(2) {
            let s = shape(1, 1, 1, d);
            let out = ops::zeros_of(&[1, s.width()], DType::BF16, self.device)?;
            let qkv = ops::zeros_of(&[1, s.row()], DType::BF16, self.device)?;
            last = ops::cuda::attention::kernel(&out, &qkv, s)?;
            if last.starts_with("attention_plain") {
                bail!("heads of {d} channels go to {last}");
            }
        }
        Ok(format!("the last to {last}"))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Runs the checks for GPUs on the CPU at small sizes, to test the checks themselves.
    #[test]
    fn extremes_hold_on_the_cpu() {
        let mut told = |_: bool, _: &str, _: &str| {};
        let mut test = SelfTest::new(&Device::Cpu, 1, &mut told);
        test.large_scores(DType::F32, 130).unwrap();
        test.matrices_of(70).unwrap();
        test.matrices_of(300).unwrap();
    }
}
