//! Checks attention and rotary positions.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::softmax;
use candle_nn::rotary_emb::rope_slow;
use rand::Rng;

use super::super::{Case, SelfTest};
use super::{SUMS, activation, exact, gradients, variable};
use crate::ops::{self, AttentionShape, Branch};

impl SelfTest<'_> {
    /// Checks attention, its matrices, attention over texts of many lengths and with a cache, and rotary positions.
    pub fn attentions(&mut self) {
        for case in self.cases() {
            let name = case.name();
            for s in self.shapes() {
                self.check_shares(&format!("attention {name} {}", words(s)), |t| {
                    t.attention_of(case, s)
                });
                self.check_shares(&format!("ragged attention {name} {}", words(s)), |t| {
                    t.ragged_attention_of(case, s)
                });
            }
        }
        for dtype in self.dtypes() {
            let name = format!("{dtype:?}").to_lowercase();
            for s in self.shapes() {
                self.check_shares(&format!("rope, matrices {name} {}", words(s)), |t| {
                    t.rope_and_matrices_of(dtype, s)
                });
            }
        }
        // Generation runs only on the CPU.
        if self.checks_f32() && !self.device.is_cuda() {
            for s in self.shapes() {
                let s = AttentionShape { batch: 1, ..s };
                self.check_shares(&format!("attention with a cache {}", words(s)), |t| {
                    t.cached_attention_of(s)
                });
            }
        }
    }

    /// Returns shapes with complete and partial blocks, shared keys, and heads of odd and even sizes.
    fn shapes(&mut self) -> Vec<AttentionShape> {
        let kv = self.rng.random_range(1..4);
        let drawn = (
            2 * self.rng.random_range(1..40),
            kv * self.rng.random_range(1..4),
            kv,
            self.rng.random_range(1..4),
            self.rng.random_range(1..200),
        );
        let all = [
            (20, 4, 2, 2, 150),
            (64, 3, 3, 1, 64),
            (64, 2, 1, 2, 65),
            (128, 2, 2, 1, 129),
            (10, 3, 1, 2, 1),
            drawn,
        ];
        all.map(|(d, n_head, n_kv_head, batch, time)| {
            let head_size = self.fit(d);
            AttentionShape {
                batch,
                time,
                n_head,
                n_kv_head,
                head_size,
                scale: 1.3 / (head_size as f32).sqrt(),
            }
        })
        .into()
    }

    fn attention_of(&mut self, case: Case, s: AttentionShape) -> Result<Vec<f64>> {
        let (b, t, h) = (s.batch, s.time, s.n_head);
        let qkv = self.normal_there(&[b * t, s.row()], case.dtype, 1.0)?;
        let dout = self.normal_there(&[b * t, s.width()], case.dtype, 1.0)?;
        let out = self.poisoned_there(&[b * t, s.width()], case.dtype)?;
        let lse = self.poisoned_there(&[b, h, t], DType::F32)?;
        let d = self.poisoned_there(&[b * t, s.row()], case.dtype)?;
        ops::attention(case.compute, &out, &lse, &qkv, s)?;
        ops::attention_backward(case.compute, &d, &dout, &out, &qkv, &lse, s)?;
        let v = variable(&case.operand(&qkv)?)?;
        let want = Attention::of(&v, s)?;
        let [want_d] = gradients(&want.out, &case.operand(&dout)?, [&v])?;
        Ok(vec![
            self.agree(&lse, &want.lse, case.one_of(3e-5, 3e-5, 2e-3))?,
            self.agree(&out, &want.out, case.one_of(3e-5, 4e-2, 4e-2))?,
            self.agree_in_norm(&out, &want.out, case.one_of(3e-5, 5e-3, 1e-2).0)?,
            self.agree(&d, &want_d, case.one_of(3e-5, 1.5e-1, 1.5e-1))?,
            self.agree_in_norm(&d, &want_d, case.one_of(3e-5, 1e-2, 2e-2).0)?,
        ])
    }

    /// Compares texts of different lengths in one pass with each text alone: two of the same length, a shorter one and, on the CPU,
    /// three that continue the first, the last of them through the second.
    fn ragged_attention_of(&mut self, case: Case, s: AttentionShape) -> Result<Vec<f64>> {
        let mut lengths = vec![s.time, s.time, self.rng.random_range(1..=s.time)];
        if !self.device.is_cuda() {
            lengths.extend([
                self.rng.random_range(1..100),
                1,
                self.rng.random_range(1..100),
            ]);
        }
        let mut rows = 0;
        let mut branches = Vec::new();
        for (i, &len) in lengths.iter().enumerate() {
            let after = match i {
                3 | 4 => Some(0),
                5 => Some(3),
                _ => None,
            };
            branches.push(Branch {
                start: rows,
                len,
                after,
            });
            rows += len;
        }
        let qkv = self.normal_there(&[rows, s.row()], case.dtype, 1.0)?;
        let out = self.poisoned_there(&[rows, s.width()], case.dtype)?;
        let lse = self.poisoned_there(&[rows * s.n_head], DType::F32)?;
        ops::attention_ragged(case.compute, &out, &lse, &qkv, &branches, s)?;
        let all = case.operand(&qkv)?;
        let mut wanted = Vec::new();
        for branch in &branches {
            let mut parts = vec![all.narrow(0, branch.start, branch.len)?];
            let mut last = branch;
            while let Some(after) = last.after {
                last = &branches[after];
                parts.insert(0, all.narrow(0, last.start, last.len)?);
            }
            let text = Tensor::cat(&parts, 0)?;
            let time = text.dim(0)?;
            let alone = AttentionShape {
                batch: 1,
                time,
                ..s
            };
            let whole = Attention::of(&text, alone)?.out;
            wanted.push(whole.narrow(0, time - branch.len, branch.len)?);
        }
        let want = Tensor::cat(&wanted, 0)?;
        Ok(vec![self.agree(
            &out,
            &want,
            case.one_of(3e-5, 4e-2, 4e-2),
        )?])
    }

    fn rope_and_matrices_of(&mut self, dtype: DType, s: AttentionShape) -> Result<Vec<f64>> {
        let (b, t, d) = (s.batch, s.time, s.head_size);
        let qkv = self.normal_there(&[b * t, s.row()], dtype, 1.0)?;
        let v = variable(&exact(&qkv)?)?;
        let probs = self.poisoned_there(&[b, s.n_head, t, t], DType::F32)?;
        ops::attention_probs(&probs, &qkv, s)?;
        let mut shares = vec![self.agree(&probs, &Attention::of(&v, s)?.probs, SUMS)?];
        let angles: Vec<f32> = (0..t * d / 2)
            .map(|_| self.rng.random_range(-7.0..7.0))
            .collect();
        let angles = Tensor::from_vec(angles, (t, d / 2), &Device::Cpu)?;
        let table = Tensor::cat(&[angles.cos()?, angles.sin()?], 1)?;
        let there = self.put(&ops::read(&table)?, &[t, d], DType::F32)?;
        ops::rope(&qkv, &there, s)?;
        let want = turned(&v, &exact(&table)?, s)?;
        shares.push(self.agree(&qkv, &want, activation(dtype))?);
        let back = self.normal_there(&[b * t, s.row()], dtype, 1.0)?;
        let [want] = gradients(&want, &exact(&back)?, [&v])?;
        ops::rope_backward(&back, &there, s)?;
        shares.push(self.agree(&back, &want, activation(dtype))?);
        Ok(shares)
    }

    /// Checks that positions that are computed in pieces attend to earlier pieces as in a single pass.
    fn cached_attention_of(&mut self, s: AttentionShape) -> Result<Vec<f64>> {
        let (t, kv, d) = (s.time, s.n_kv_head, s.head_size);
        let qkv = self.normal_there(&[t, s.row()], DType::F32, 1.0)?;
        let room = [kv, t + 2, d];
        let (keys, values) = (
            self.poisoned_there(&room, DType::F32)?,
            self.poisoned_there(&room, DType::F32)?,
        );
        let want = Attention::of(&exact(&qkv)?, s)?.out;
        let mut shares = Vec::new();
        let mut past = 0;
        while past < t {
            let n = self.rng.random_range(1..=t - past);
            let piece = AttentionShape { time: n, ..s };
            let out = self.poisoned_there(&[n, s.width()], DType::F32)?;
            let rows = qkv.narrow(0, past, n)?;
            ops::attention_cached(&out, &keys, &values, &rows, past, piece)?;
            shares.push(self.agree(&out, &want.narrow(0, past, n)?, SUMS)?);
            past += n;
        }
        Ok(shares)
    }
}

fn words(s: AttentionShape) -> String {
    format!(
        "{}x{} heads {}/{} of {}",
        s.batch, s.time, s.n_head, s.n_kv_head, s.head_size
    )
}

/// Returns `n` heads of `x[B T, ...]` from column `from` on, as `[B, n, T, D]`.
fn heads(x: &Tensor, from: usize, n: usize, s: AttentionShape) -> Result<Tensor> {
    let x = x.narrow(1, from * s.head_size, n * s.head_size)?;
    x.reshape((s.batch, s.time, n, s.head_size))?
        .transpose(1, 2)?
        .contiguous()
}

/// Returns heads `[B, n, T, D]` as `[B T, n D]`.
fn side_by_side(x: &Tensor) -> Result<Tensor> {
    let (b, n, t, d) = x.dims4()?;
    x.transpose(1, 2)?.reshape((b * t, n * d))
}

/// Attention, and its intermediate values.
pub struct Attention {
    /// `[B T, H D]`.
    pub out: Tensor,
    /// `[B, H, T]`.
    lse: Tensor,
    /// `[B, H, T, T]`.
    probs: Tensor,
}

impl Attention {
    /// Computes causal attention over `qkv[B T, (H + 2K) D]`, with all matrices in memory.
    pub fn of(qkv: &Tensor, s: AttentionShape) -> Result<Self> {
        let (b, t, h, kv, d) = (s.batch, s.time, s.n_head, s.n_kv_head, s.head_size);
        let q = heads(qkv, 0, h, s)?;
        // Every key and value head is repeated for the query heads that share it.
        let shared = |from| -> Result<Tensor> {
            let x = heads(qkv, from, kv, s)?.unsqueeze(2)?;
            x.broadcast_as((b, kv, h / kv, t, d))?
                .contiguous()?
                .reshape((b, h, t, d))
        };
        let (k, v) = (shared(h)?, shared(h + kv)?);
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? * f64::from(s.scale))?;
        let hidden = |i: usize| {
            if i % t > i / t {
                f64::NEG_INFINITY
            } else {
                0.0
            }
        };
        let mask = Tensor::from_vec((0..t * t).map(hidden).collect(), (1, 1, t, t), &Device::Cpu)?;
        let scores = scores.broadcast_add(&mask)?;
        let probs = softmax(&scores, D::Minus1)?;
        Ok(Self {
            out: side_by_side(&probs.matmul(&v)?)?,
            lse: scores.log_sum_exp(D::Minus1)?,
            probs,
        })
    }
}

/// Returns `qkv` with its queries and keys rotated by `table[T, D]`: cosines, then sines.
pub fn turned(qkv: &Tensor, table: &Tensor, s: AttentionShape) -> Result<Tensor> {
    let half = s.head_size / 2;
    let (cos, sin) = (table.narrow(1, 0, half)?, table.narrow(1, half, half)?);
    let n = s.n_head + s.n_kv_head;
    let front = side_by_side(&rope_slow(&heads(qkv, 0, n, s)?, &cos, &sin)?)?;
    let values = qkv.narrow(1, n * s.head_size, s.n_kv_head * s.head_size)?;
    Tensor::cat(&[front, values], 1)
}
