//! Checks the gradient of the residual stream in bf16, which a GPU can keep in place of one in f32 and a rounded copy.

use candle_core::{DType, Result};

use super::SelfTest;
use super::compare::{Tolerance, tolerance};
use crate::ops::{self, Accumulation};

impl SelfTest<'_> {
    pub(super) fn half_streams(&mut self) {
        // A width for each variant of the kernel.
        for (m, c) in [
            (3, 64),
            (131, 768),
            (40, 1600),
            (9, 4096),
            (5, 8192),
            (64, 1030),
        ] {
            for rms in [false, true] {
                let name = if rms { "rms" } else { "layer" };
                self.check(&format!("{name} norm {m}x{c}, gradient in bf16"), |t| {
                    t.half_norm(m, c, rms)
                });
            }
        }
        self.check(
            "embedding 3x50 to 300, gradient in bf16",
            Self::half_embedding,
        );
    }

    fn half_norm(&mut self, m: usize, c: usize, rms: bool) -> Result<String> {
        let x = self.normal(&[m, c], DType::F32, 2.0)?;
        let dy = self.normal(&[m, c], DType::BF16, 1.0)?;
        let w = self.normal(&[c], DType::F32, 1.0)?;
        let (out, stats) = (
            self.poisoned(&[m, c], DType::F32)?,
            self.poisoned(&[2, m], DType::F32)?,
        );
        let dx = self.normal(&[m, c], DType::BF16, 1.0)?;
        let dwb = self.poisoned(&[if rms { c } else { 2 * c }], DType::F32)?;
        let write = Accumulation::Write;
        for (out, stats, x, w, dx, dwb, dy) in [
            (
                &out.cpu, &stats.cpu, &x.cpu, &w.cpu, &dx.cpu, &dwb.cpu, &dy.cpu,
            ),
            (
                &out.gpu, &stats.gpu, &x.gpu, &w.gpu, &dx.gpu, &dwb.gpu, &dy.gpu,
            ),
        ] {
            if rms {
                ops::rms_norm(out, stats, x, w, 1e-5)?;
                ops::rms_norm_backward(write, dx, None, dwb, dy, x, w, stats)?;
            } else {
                ops::layer_norm(out, stats, x, w, None, 1e-5)?;
                ops::layer_norm_backward(write, dx, None, dwb, dy, x, w, stats)?;
            }
        }
        dwb.agree(Tolerance(1e-4))?;
        dx.agree(tolerance(DType::BF16))
    }

    fn half_embedding(&mut self) -> Result<String> {
        let (b, t, c, v) = (3, 50, 300, 70);
        let ids = self.ids(&[b, t], v)?;
        let (wte, wpe) = (
            self.normal(&[v, c], DType::F32, 1.0)?,
            self.normal(&[t + 3, c], DType::F32, 1.0)?,
        );
        let dx = self.normal(&[b * t, c], DType::BF16, 1.0)?;
        ops::embedding_backward(&wte.cpu, Some(&wpe.cpu), &ids.cpu, &dx.cpu)?;
        ops::embedding_backward(&wte.gpu, Some(&wpe.gpu), &ids.gpu, &dx.gpu)?;
        wpe.agree(Tolerance(1e-5))?;
        wte.agree(Tolerance(1e-5))
    }
}
