//! Checks each op in f32 and in bf16.

use candle_core::{DType, Result};

use super::SelfTest;
use super::compare::{Tolerance, Twin, tolerance};
use crate::ops::{self, Accumulation, AdamW, AttentionShape, Layout, Precision};

const TYPES: [DType; 2] = [DType::F32, DType::BF16];

fn compute(dtype: DType) -> Precision {
    match dtype {
        DType::BF16 => Precision::Bf16,
        _ => Precision::F32,
    }
}

impl SelfTest<'_> {
    pub(super) fn ops(&mut self) {
        for dtype in TYPES {
            let name = format!("{dtype:?}").to_lowercase();
            for (m, k, n) in [(1, 8, 8), (37, 64, 96), (130, 768, 520), (515, 256, 1024)] {
                for layout in [Layout::InOut, Layout::OutIn] {
                    let what = format!("{name} {m}x{k}x{n} {layout:?}");
                    self.check(&format!("linear {what}"), |t| {
                        t.linear(dtype, (m, k, n), layout)
                    });
                    self.check(&format!("linear and gelu {what}"), |t| {
                        t.linear_gelu(dtype, (m, k, n), layout)
                    });
                    self.check(&format!("linear backward {what}"), |t| {
                        t.linear_backward(dtype, (m, k, n), layout)
                    });
                }
            }
            for (m, c) in [
                (1, 4),
                (3, 64),
                (131, 768),
                (64, 1030),
                (40, 1600),
                (33, 4096),
                (17, 5120),
            ] {
                for rms in [false, true] {
                    let what = format!(
                        "{} {name} {m}x{c}",
                        if rms { "rms norm" } else { "layer norm" }
                    );
                    self.check(&what, |t| t.norm(dtype, m, c, rms));
                    self.check(&format!("{what} backward"), |t| {
                        t.norm_backward(dtype, m, c, rms)
                    });
                }
            }
            for n in [1, 1023, 100_000] {
                self.check(&format!("activations {name} {n}"), |t| {
                    t.activations(dtype, n)
                });
            }
            for (m, f) in [(3, 5), (57, 1536)] {
                self.check(&format!("swiglu {name} {m}x{f}"), |t| t.swiglu(dtype, m, f));
            }
            for (d, heads, kv) in [
                (64, 3, 3),
                (64, 6, 2),
                (128, 2, 2),
                (128, 4, 1),
                (32, 2, 2),
                (80, 3, 1),
                (90, 2, 1),
                (96, 2, 1),
                (100, 4, 4),
                (256, 1, 1),
            ] {
                for (batch, time) in [
                    (2, 1),
                    (1, 17),
                    (2, 64),
                    (1, 65),
                    (2, 129),
                    (1, 333),
                    (1, 1024),
                ] {
                    let s = AttentionShape {
                        batch,
                        time,
                        n_head: heads,
                        n_kv_head: kv,
                        head_size: d,
                        scale: 1.0 / (d as f32).sqrt(),
                    };
                    let what = format!("{name} {batch}x{time} heads {heads}/{kv} of {d}");
                    self.check(&format!("attention {what}"), |t| t.attention(dtype, s));
                    if time < 200 {
                        self.check(&format!("rope, matrices {what}"), |t| {
                            t.rope_and_matrices(dtype, s)
                        });
                    }
                }
            }
            for (m, c, v, chunk) in [(5, 64, 77, 5), (70, 128, 1000, 32), (300, 192, 50257, 128)] {
                let what = format!("head and loss {name} {m}x{c}x{v}");
                self.check(&what, |t| t.head(dtype, (m, c, v), chunk));
            }
        }
        for (b, t, c, v) in [
            (1, 1, 4, 5),
            (3, 50, 96, 33),
            (4, 70, 768, 1000),
            (2, 33, 515, 90),
        ] {
            self.check(&format!("embedding {b}x{t}x{c}, {v} tokens"), |s| {
                s.embedding(b, t, c, v)
            });
        }
        for n in [5, 1000, 60_000, 1_000_003] {
            self.check(&format!("adamw {n}"), |t| t.adamw(n));
        }
    }

    fn linear(
        &mut self,
        dtype: DType,
        (m, k, n): (usize, usize, usize),
        layout: Layout,
    ) -> Result<String> {
        let x = self.normal(&[m, k], dtype, 1.0)?;
        let w = self.normal(&sides(layout, k, n), dtype, 0.1)?;
        let (bias, whole) = (
            self.normal(&[n], dtype, 1.0)?,
            self.normal(&[n], DType::F32, 1.0)?,
        );
        let residual = self.normal(&[m, n], DType::F32, 1.0)?;
        let out = self.poisoned(&[m, n], dtype)?;
        let c = Precision::F32;
        ops::linear(c, &out.cpu, &x.cpu, &w.cpu, layout, Some(&bias.cpu), None)?;
        ops::linear(
            compute(dtype),
            &out.gpu,
            &x.gpu,
            &w.gpu,
            layout,
            Some(&bias.gpu),
            None,
        )?;
        let first = out.agree(tolerance(dtype))?;
        // Added to the residual stream, which is always f32.
        let out = self.poisoned(&[m, n], DType::F32)?;
        let (b, r) = (Some(&whole.cpu), Some(&residual.cpu));
        ops::linear(c, &out.cpu, &x.cpu, &w.cpu, layout, b, r)?;
        let (b, r) = (Some(&whole.gpu), Some(&residual.gpu));
        ops::linear(compute(dtype), &out.gpu, &x.gpu, &w.gpu, layout, b, r)?;
        out.agree(tolerance(DType::F32))?;
        Ok(first)
    }

    fn linear_backward(
        &mut self,
        dtype: DType,
        (m, k, n): (usize, usize, usize),
        layout: Layout,
    ) -> Result<String> {
        let (x, dy) = (
            self.normal(&[m, k], dtype, 1.0)?,
            self.normal(&[m, n], dtype, 1.0)?,
        );
        let w = self.normal(&sides(layout, k, n), dtype, 0.1)?;
        let dx = self.poisoned(&[m, k], dtype)?;
        let dw = self.normal(&sides(layout, k, n), DType::F32, 1.0)?;
        let db = self.normal(&[n], DType::F32, 1.0)?;
        ops::linear_backward_input(Precision::F32, &dx.cpu, &dy.cpu, &w.cpu, layout)?;
        ops::linear_backward_input(compute(dtype), &dx.gpu, &dy.gpu, &w.gpu, layout)?;
        ops::linear_backward_weight(
            Precision::F32,
            Accumulation::Add,
            &dw.cpu,
            layout,
            Some(&db.cpu),
            &x.cpu,
            &dy.cpu,
        )?;
        ops::linear_backward_weight(
            compute(dtype),
            Accumulation::Add,
            &dw.gpu,
            layout,
            Some(&db.gpu),
            &x.gpu,
            &dy.gpu,
        )?;
        dw.agree(tolerance(DType::F32))?;
        db.agree(tolerance(DType::F32))?;
        dx.agree(tolerance(dtype))
    }

    fn linear_gelu(
        &mut self,
        dtype: DType,
        (m, k, n): (usize, usize, usize),
        layout: Layout,
    ) -> Result<String> {
        let x = self.normal(&[m, k], dtype, 1.0)?;
        let w = self.normal(&sides(layout, k, n), dtype, 0.1)?;
        let bias = self.normal(&[n], dtype, 1.0)?;
        let (pre, act) = (
            self.poisoned(&[m, n], dtype)?,
            self.poisoned(&[m, n], dtype)?,
        );
        let (c, own) = (Precision::F32, compute(dtype));
        ops::linear_gelu(
            c,
            &act.cpu,
            &pre.cpu,
            &x.cpu,
            &w.cpu,
            layout,
            Some(&bias.cpu),
        )?;
        ops::linear_gelu(
            own,
            &act.gpu,
            &pre.gpu,
            &x.gpu,
            &w.gpu,
            layout,
            Some(&bias.gpu),
        )?;
        pre.agree(tolerance(dtype))?;
        act.agree(tolerance(dtype))?;
        // The backward pass, in which k and n are exchanged.
        let dy = self.normal(&[m, n], dtype, 1.0)?;
        let (pre, d) = (
            self.normal(&[m, k], dtype, 2.0)?,
            self.poisoned(&[m, k], dtype)?,
        );
        ops::linear_backward_gelu(c, &d.cpu, &dy.cpu, &w.cpu, layout, &pre.cpu)?;
        ops::linear_backward_gelu(own, &d.gpu, &dy.gpu, &w.gpu, layout, &pre.gpu)?;
        d.agree(tolerance(dtype))
    }

    fn activations(&mut self, dtype: DType, n: usize) -> Result<String> {
        let x = self.normal(&[n], dtype, 3.0)?;
        let out = self.poisoned(&[n], dtype)?;
        ops::gelu(&out.cpu, &x.cpu)?;
        ops::gelu(&out.gpu, &x.gpu)?;
        out.agree(tolerance(dtype))?;
        ops::gelu_erf(&out.cpu, &x.cpu)?;
        ops::gelu_erf(&out.gpu, &x.gpu)?;
        out.agree(tolerance(dtype))?;
        let d = self.normal(&[n], dtype, 1.0)?;
        ops::gelu_backward(&d.cpu, &x.cpu)?;
        ops::gelu_backward(&d.gpu, &x.gpu)?;
        d.agree(tolerance(dtype))?;
        let d = self.normal(&[n], dtype, 1.0)?;
        ops::gelu_erf_backward(&d.cpu, &x.cpu)?;
        ops::gelu_erf_backward(&d.gpu, &x.gpu)?;
        d.agree(tolerance(dtype))
    }

    fn swiglu(&mut self, dtype: DType, m: usize, f: usize) -> Result<String> {
        let x = self.normal(&[m, 2 * f], dtype, 2.0)?;
        let (out, dx) = (
            self.poisoned(&[m, f], dtype)?,
            self.poisoned(&[m, 2 * f], dtype)?,
        );
        let d = self.normal(&[m, f], dtype, 1.0)?;
        ops::swiglu(&out.cpu, &x.cpu)?;
        ops::swiglu(&out.gpu, &x.gpu)?;
        out.agree(tolerance(dtype))?;
        ops::swiglu_backward(&dx.cpu, &d.cpu, &x.cpu)?;
        ops::swiglu_backward(&dx.gpu, &d.gpu, &x.gpu)?;
        dx.agree(tolerance(dtype))
    }

    fn attention(&mut self, dtype: DType, s: AttentionShape) -> Result<String> {
        let rows = s.batch * s.time;
        let qkv = self.normal(&[rows, s.row()], dtype, 1.0)?;
        let out = self.poisoned(&[rows, s.width()], dtype)?;
        let lse = self.poisoned(&[s.batch, s.n_head, s.time], DType::F32)?;
        ops::attention(Precision::F32, &out.cpu, &lse.cpu, &qkv.cpu, s)?;
        ops::attention(compute(dtype), &out.gpu, &lse.gpu, &qkv.gpu, s)?;
        lse.agree(Tolerance(if dtype == DType::BF16 { 2e-3 } else { 1e-4 }))?;
        // Probabilities are also rounded.
        out.agree(Tolerance(if dtype == DType::BF16 { 4e-2 } else { 1e-4 }))?;
        let dout = self.normal(&[rows, s.width()], dtype, 1.0)?;
        let d = self.poisoned(&[rows, s.row()], dtype)?;
        ops::attention_backward(
            Precision::F32,
            &d.cpu,
            &dout.cpu,
            &out.cpu,
            &qkv.cpu,
            &lse.cpu,
            s,
        )?;
        ops::attention_backward(
            compute(dtype),
            &d.gpu,
            &dout.gpu,
            &out.gpu,
            &qkv.gpu,
            &lse.gpu,
            s,
        )?;
        // Differences of nearly equal numbers lose more than one rounding.
        d.agree(Tolerance(if dtype == DType::BF16 { 5e-2 } else { 1e-4 }))
    }

    fn rope_and_matrices(&mut self, dtype: DType, s: AttentionShape) -> Result<String> {
        let rows = s.batch * s.time;
        let qkv = self.normal(&[rows, s.row()], dtype, 1.0)?;
        let table = self.normal(&[s.time, s.head_size], DType::F32, 0.7)?;
        let probs = self.poisoned(&[s.batch, s.n_head, s.time, s.time], DType::F32)?;
        ops::attention_probs(&probs.cpu, &qkv.cpu, s)?;
        ops::attention_probs(&probs.gpu, &qkv.gpu, s)?;
        probs.agree(Tolerance(1e-4))?;
        ops::rope(&qkv.cpu, &table.cpu, s)?;
        ops::rope(&qkv.gpu, &table.gpu, s)?;
        qkv.agree(tolerance(dtype))?;
        let back = self.normal(&[rows, s.row()], dtype, 1.0)?;
        ops::rope_backward(&back.cpu, &table.cpu, s)?;
        ops::rope_backward(&back.gpu, &table.gpu, s)?;
        back.agree(tolerance(dtype))
    }

    fn head(
        &mut self,
        dtype: DType,
        (m, c, v): (usize, usize, usize),
        rows: usize,
    ) -> Result<String> {
        let (x, wte) = (
            self.normal(&[m, c], dtype, 1.0)?,
            self.normal(&[v, c], dtype, 0.05)?,
        );
        let targets = self.ids(&[1, m], v)?;
        let losses = self.poisoned(&[m], DType::F32)?;
        let (dx, dwte) = (
            self.poisoned(&[m, c], dtype)?,
            self.normal(&[v, c], DType::F32, 0.01)?,
        );
        let wide = v.next_multiple_of(64);
        let chunk = Twin {
            cpu: self.poisoned(&[rows, v], DType::F32)?.cpu,
            gpu: self.poisoned(&[rows, wide], DType::F32)?.gpu,
        };
        let scale = 1.0 / m as f32;
        ops::head_cross_entropy(
            Precision::F32,
            &losses.cpu,
            Some((&dx.cpu, &dwte.cpu, Accumulation::Add)),
            &chunk.cpu,
            &x.cpu,
            &wte.cpu,
            &targets.cpu,
            scale,
        )?;
        ops::head_cross_entropy(
            compute(dtype),
            &losses.gpu,
            Some((&dx.gpu, &dwte.gpu, Accumulation::Add)),
            &chunk.gpu,
            &x.gpu,
            &wte.gpu,
            &targets.gpu,
            scale,
        )?;
        let allowed = if dtype == DType::BF16 { 2e-2 } else { 1e-4 };
        dwte.agree(Tolerance(allowed))?;
        dx.agree(Tolerance(2.0 * allowed))?;
        losses.agree(Tolerance(if dtype == DType::BF16 { 3e-3 } else { 2e-5 }))?;
        let alone = self.poisoned(&[m], DType::F32)?;
        ops::head_cross_entropy(
            compute(dtype),
            &alone.gpu,
            None,
            &chunk.gpu,
            &x.gpu,
            &wte.gpu,
            &targets.gpu,
            1.0,
        )?;
        // An evaluation's logits are not rounded.
        let alone = Twin {
            cpu: losses.cpu,
            gpu: alone.gpu,
        };
        alone.agree(Tolerance(2e-5))?;
        if dtype == DType::F32 && ops::read(&alone.gpu)? != ops::read(&losses.gpu)? {
            candle_core::bail!("losses without gradients differ");
        }
        let logits = self.poisoned(&[m, v], DType::F32)?;
        ops::head_logits(Precision::F32, &logits.cpu, &x.cpu, &wte.cpu)?;
        ops::head_logits(compute(dtype), &logits.gpu, &x.gpu, &wte.gpu)?;
        logits.agree(tolerance(DType::F32))
    }

    fn embedding(&mut self, b: usize, t: usize, c: usize, v: usize) -> Result<String> {
        let ids = self.ids(&[b, t], v)?;
        let (wte, wpe) = (
            self.normal(&[v, c], DType::F32, 1.0)?,
            self.normal(&[t + 3, c], DType::F32, 1.0)?,
        );
        let out = self.poisoned(&[b * t, c], DType::F32)?;
        ops::embedding(&out.cpu, &ids.cpu, &wte.cpu, Some(&wpe.cpu))?;
        ops::embedding(&out.gpu, &ids.gpu, &wte.gpu, Some(&wpe.gpu))?;
        out.agree(Tolerance(1e-6))?;
        let dx = self.normal(&[b * t, c], DType::F32, 1.0)?;
        ops::embedding_backward(&wte.cpu, Some(&wpe.cpu), &ids.cpu, &dx.cpu)?;
        ops::embedding_backward(&wte.gpu, Some(&wpe.gpu), &ids.gpu, &dx.gpu)?;
        wpe.agree(Tolerance(1e-5))?;
        wte.agree(Tolerance(1e-5))
    }

    fn adamw(&mut self, n: usize) -> Result<String> {
        let (p, g) = (
            self.normal(&[n], DType::F32, 1.0)?,
            self.normal(&[n], DType::F32, 1.0)?,
        );
        let (m, v) = (
            self.normal(&[n], DType::F32, 0.1)?,
            self.normal(&[n], DType::F32, 0.1)?,
        );
        for v in [&v.cpu, &v.gpu] {
            let squares: Vec<f32> = ops::read(v)?.iter().map(|x| x * x).collect();
            ops::write(v, &squares)?;
        }
        let rounded = self.poisoned(&[n], DType::BF16)?;
        let update = AdamW {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            grad_scale: 0.7,
            step: 3,
        };
        // Three tensors, the first of odd length, with and without decay, after different numbers of steps.
        let (one, two) = (n / 3, n - n / 3 - n / 5);
        let other = AdamW {
            weight_decay: 0.0,
            step: 1,
            ..update
        };
        let parts = [(one, update), (two - one, other), (n - two, update)];
        ops::adamw([&p.cpu, &m.cpu, &v.cpu, &g.cpu], None, &parts)?;
        ops::adamw([&p.gpu, &m.gpu, &v.gpu, &g.gpu], Some(&rounded.gpu), &parts)?;
        m.agree(Tolerance(1e-5))?;
        v.agree(Tolerance(1e-5))?;
        let copy = Twin {
            cpu: p.cpu.clone(),
            gpu: rounded.gpu,
        };
        copy.agree(tolerance(DType::BF16))?;
        let (want, got) = (ops::sum_of_squares(&g.cpu)?, ops::sum_of_squares(&g.gpu)?);
        if (want - got).abs() > 1e-9 * want {
            candle_core::bail!("the sum of squares is {got}, the CPU's {want}");
        }
        ops::zero(&g.gpu)?;
        if ops::read(&g.gpu)?.iter().any(|&v| v != 0.0) {
            candle_core::bail!("not all zeros");
        }
        p.agree(Tolerance(1e-5))
    }
}

fn sides(layout: Layout, k: usize, n: usize) -> [usize; 2] {
    match layout {
        Layout::InOut => [k, n],
        Layout::OutIn => [n, k],
    }
}
