//! Checks LayerNorm and RMSNorm, forward and backward.

use candle_core::{DType, Result, Tensor};

use super::SelfTest;
use super::compare::{Tolerance, Twin, tolerance};
use crate::ops::{self, Accumulation};

const EPS: f32 = 1e-5;

/// Computes either norm of `x`; RMSNorm has no bias.
fn forward(
    rms: bool,
    [out, stats]: [&Tensor; 2],
    [x, w]: [&Tensor; 2],
    bias: Option<&Tensor>,
) -> Result<()> {
    match rms {
        true => ops::rms_norm(out, stats, x, w, EPS),
        false => ops::layer_norm(out, stats, x, w, bias, EPS),
    }
}

impl SelfTest<'_> {
    pub(super) fn norm(&mut self, dtype: DType, m: usize, c: usize, rms: bool) -> Result<String> {
        let x = self.normal(&[m, c], DType::F32, 2.0)?;
        let (w, b) = (
            self.normal(&[c], DType::F32, 1.0)?,
            self.normal(&[c], DType::F32, 1.0)?,
        );
        let (out, stats) = (
            self.poisoned(&[m, c], dtype)?,
            self.poisoned(&[2, m], DType::F32)?,
        );
        forward(rms, [&out.cpu, &stats.cpu], [&x.cpu, &w.cpu], Some(&b.cpu))?;
        forward(rms, [&out.gpu, &stats.gpu], [&x.gpu, &w.gpu], Some(&b.gpu))?;
        out.agree(tolerance(dtype))
    }

    pub(super) fn norm_backward(
        &mut self,
        dtype: DType,
        m: usize,
        c: usize,
        rms: bool,
    ) -> Result<String> {
        let (x, dy) = (
            self.normal(&[m, c], DType::F32, 2.0)?,
            self.normal(&[m, c], dtype, 1.0)?,
        );
        let w = self.normal(&[c], DType::F32, 1.0)?;
        let (out, stats) = (
            self.poisoned(&[m, c], DType::F32)?,
            self.poisoned(&[2, m], DType::F32)?,
        );
        let dx = self.normal(&[m, c], DType::F32, 1.0)?;
        let dwb = self.normal(&[if rms { c } else { 2 * c }], DType::F32, 1.0)?;
        let rounded = self.poisoned(&[m, c], DType::BF16)?;
        let backward = match rms {
            true => ops::rms_norm_backward,
            false => ops::layer_norm_backward,
        };
        let how = Accumulation::Add;
        forward(rms, [&out.cpu, &stats.cpu], [&x.cpu, &w.cpu], None)?;
        forward(rms, [&out.gpu, &stats.gpu], [&x.gpu, &w.gpu], None)?;
        backward(
            how, &dx.cpu, None, &dwb.cpu, &dy.cpu, &x.cpu, &w.cpu, &stats.cpu,
        )?;
        let half = Some(&rounded.gpu);
        backward(
            how, &dx.gpu, half, &dwb.gpu, &dy.gpu, &x.gpu, &w.gpu, &stats.gpu,
        )?;
        dwb.agree(Tolerance(1e-4))?;
        let copy = Twin {
            cpu: dx.cpu.clone(),
            gpu: rounded.gpu,
        };
        copy.agree(tolerance(DType::BF16))?;
        dx.agree(Tolerance(1e-4))
    }
}
