//! Checks a GPU on operands of models with unusual widths, long windows and large vocabularies, for which cards and versions of
//! cuBLASLt behave differently.

use candle_core::{DType, Result, bail};

use super::SelfTest;
use super::compare::{Twin, tolerance};
use crate::ops::{self, Accumulation, AttentionShape, Layout, Precision};

/// Offsets of views in elements: 24, 72 and 200 bytes in bf16.
const OFFSETS: [usize; 3] = [12, 36, 100];

impl SelfTest<'_> {
    pub(super) fn unusual_operands(&mut self) {
        for (m, k, n) in [(37, 100, 100), (37, 104, 104), (64, 96, 36)] {
            for offset in OFFSETS {
                let what = format!("linear bf16 {m}x{k}x{n}, {offset} elements into a buffer");
                self.check(&what, |t| t.linear_within(offset, (m, k, n)));
            }
        }
        self.check("head's input gradient bf16 64x768x50257", |t| {
            t.head_gradient((64, 768, 50257))
        });
        self.check("attention matrices of 70 positions, then 13000", |t| {
            t.matrices(70)?;
            t.matrices(13_000)
        });
    }

    /// Makes normal values that are a view into a larger buffer on the device.
    fn normal_within(&mut self, offset: usize, shape: &[usize], scale: f32) -> Result<Twin> {
        let own = self.normal(shape, DType::BF16, scale)?;
        let n = own.cpu.elem_count();
        let mut values = vec![f32::NAN; offset];
        values.extend(ops::read(&own.cpu)?);
        values.extend([f32::NAN; 8]);
        let all = self.put(&values, &[values.len()], DType::BF16)?;
        Ok(Twin {
            cpu: own.cpu,
            gpu: all.narrow(0, offset, n)?.reshape(shape)?,
        })
    }

    /// Checks a layer whose input, weight and bias have the offsets of a model without padding between its tensors.
    fn linear_within(&mut self, offset: usize, (m, k, n): (usize, usize, usize)) -> Result<String> {
        let layout = Layout::InOut;
        let x = self.normal_within(offset, &[m, k], 1.0)?;
        let w = self.normal_within(offset, &[k, n], 0.1)?;
        let bias = self.normal_within(offset, &[n], 1.0)?;
        let out = self.normal_within(offset, &[m, n], 1.0)?;
        let (f32, bf16) = (Precision::F32, Precision::Bf16);
        let b = Some(&bias.cpu);
        ops::linear(f32, &out.cpu, &x.cpu, &w.cpu, layout, b, None)?;
        let b = Some(&bias.gpu);
        ops::linear(bf16, &out.gpu, &x.gpu, &w.gpu, layout, b, None)?;
        let found = out.agree(tolerance(DType::BF16))?;
        let (pre, act) = (
            self.normal_within(offset, &[m, n], 1.0)?,
            self.normal_within(offset, &[m, n], 1.0)?,
        );
        let b = Some(&bias.cpu);
        ops::linear_gelu(f32, &act.cpu, &pre.cpu, &x.cpu, &w.cpu, layout, b)?;
        let b = Some(&bias.gpu);
        ops::linear_gelu(bf16, &act.gpu, &pre.gpu, &x.gpu, &w.gpu, layout, b)?;
        pre.agree(tolerance(DType::BF16))?;
        act.agree(tolerance(DType::BF16))?;
        Ok(found)
    }

    /// Checks a product with few rows and a long sum, which cuBLASLt splits: partial sums must not be added in bf16.
    fn head_gradient(&mut self, (m, c, v): (usize, usize, usize)) -> Result<String> {
        /// The error of rounding the output.
        const MOST: f64 = 1.0 / 256.0;
        let (x, wte) = (
            self.normal(&[m, c], DType::BF16, 1.0)?,
            self.normal(&[v, c], DType::BF16, 0.05)?,
        );
        let targets = self.ids(&[1, m], v)?;
        let dx = self.poisoned(&[m, c], DType::BF16)?;
        let losses = self.poisoned(&[m], DType::F32)?;
        let dwte = self.poisoned(&[v, c], DType::F32)?;
        for (compute, device) in [(Precision::F32, false), (Precision::Bf16, true)] {
            let pick = |twin: &Twin| match device {
                true => twin.gpu.clone(),
                false => twin.cpu.clone(),
            };
            let stride = ops::logits::stride(v);
            let chunk = ops::zeros((m, stride), pick(&x).device())?;
            ops::head_cross_entropy(
                compute,
                &pick(&losses),
                Some((&pick(&dx), &pick(&dwte), Accumulation::Add)),
                &chunk,
                &pick(&x),
                &pick(&wte),
                &pick(&targets),
                1.0,
            )?;
        }
        let (want, got) = (ops::read(&dx.cpu)?, ops::read(&dx.gpu)?);
        let square = |v: f32| f64::from(v).powi(2);
        let off: f64 = want.iter().zip(&got).map(|(w, g)| square(w - g)).sum();
        let all: f64 = want.iter().map(|w| square(*w)).sum();
        let share = (off / all).sqrt();
        if share.is_nan() || share > MOST {
            bail!("off by {share:.1e} of its norm, allowed {MOST:.1e}");
        }
        Ok(format!(
            "off by {share:.1e} of its norm, allowed {MOST:.1e}"
        ))
    }

    /// Compares some rows of the attention matrices of a window of `time` positions, whose kernel needs shared memory for a row, with a
    /// softmax in f64.
    fn matrices(&mut self, time: usize) -> Result<String> {
        const D: usize = 8;
        let s = AttentionShape {
            batch: 1,
            time,
            n_head: 1,
            n_kv_head: 1,
            head_size: D,
            scale: 1.0 / (D as f32).sqrt(),
        };
        let qkv = self.normal(&[time, s.row()], DType::F32, 1.0)?;
        let probs = ops::zeros((time, time), self.device)?;
        ops::attention_probs(&probs.reshape((1, 1, time, time))?, &qkv.gpu, s)?;
        let values = ops::read(&qkv.cpu)?;
        let row = |t: usize| &values[t * s.row()..][..s.row()];
        let mut worst: f64 = 0.0;
        for t in [0, 1, time / 2, time - 1] {
            let score = |key: usize| {
                let (q, k) = (&row(t)[..D], &row(key)[D..2 * D]);
                let dot: f64 = q
                    .iter()
                    .zip(k)
                    .map(|(&q, &k)| f64::from(q) * f64::from(k))
                    .sum();
                (dot * f64::from(s.scale)).exp()
            };
            let scores: Vec<f64> = (0..=t).map(score).collect();
            let all: f64 = scores.iter().sum();
            let want = scores.iter().map(|score| score / all);
            let got = ops::read(&probs.narrow(0, t, 1)?)?;
            for (want, got) in want.chain(std::iter::repeat(0.0)).zip(got) {
                let off = (f64::from(got) - want).abs() / (want + 1.0 / time as f64);
                if off.is_nan() || off > 1e-4 {
                    bail!("a probability of row {t} of {time} is {got}, expected {want:.3e}");
                }
                worst = worst.max(off);
            }
        }
        Ok(format!("four rows, apart {worst:.1e}, allowed 1e-4"))
    }
}
