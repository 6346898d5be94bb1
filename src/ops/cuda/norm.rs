//! LayerNorm and RMSNorm of the f32 residual stream.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, address_or_null, aligned, int, is_bf16, reduce, suffix};
use crate::ops::Accumulation;
use crate::ops::operands::{ACTIVATIONS, BF16, F32, Operands};

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Layer,
    Rms,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer_norm",
            Self::Rms => "rms_norm",
        }
    }
}

pub fn forward(
    kind: Kind,
    out: &Tensor,
    stats: &Tensor,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
) -> Result<()> {
    const WARPS: usize = 8;
    let c = w.elem_count();
    let m = x.elem_count() / c;
    let operands = Operands::of("norm", out);
    operands.check("out", out, m * c, ACTIVATIONS)?;
    operands.check("stats", stats, 2 * m, F32)?;
    operands.check("x", x, m * c, F32)?;
    operands.check("the weight", w, c, F32)?;
    operands.check_optional("the bias", bias, c, F32)?;
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address_f32(stats)?),
        Arg::At(address_f32(x)?),
        Arg::At(address_f32(w)?),
        Arg::At(address_or_null(bias)?),
        Arg::Int(int(m)?),
        Arg::Int(int(c)?),
        Arg::Float(eps),
    ];
    let name = format!("{}_{}", kind.name(), suffix(out)?);
    // SAFETY: compared: out [m, c], stats [2, m], x [m, c], w [c], bias [c].
    unsafe {
        gpu.launch(
            &name,
            Launch::blocks(m.div_ceil(WARPS), 32 * WARPS as u32),
            &args,
        )
    }
}

/// `dx += …` (also rounded to `rounded`), `dwb = …` or `dwb += …`. A `dx` of bf16 needs `dy` in bf16 and no rounded copy.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    kind: Kind,
    how: Accumulation,
    dx: &Tensor,
    rounded: Option<&Tensor>,
    dwb: &Tensor,
    dy: &Tensor,
    x: &Tensor,
    w: &Tensor,
    stats: &Tensor,
) -> Result<()> {
    let c = w.elem_count();
    let m = x.elem_count() / c;
    let n = dwb.elem_count();
    let operands = Operands::of("a norm's gradient", dx);
    operands.check("dx", dx, m * c, ACTIVATIONS)?;
    operands.check_optional("the rounded dx", rounded, m * c, BF16)?;
    operands.check("dwb", dwb, if n == c { c } else { 2 * c }, F32)?;
    operands.check("dy", dy, m * c, ACTIVATIONS)?;
    operands.check("x", x, m * c, F32)?;
    operands.check("the weight", w, c, F32)?;
    operands.check("stats", stats, 2 * m, F32)?;
    let half = is_bf16(dx);
    if half && (rounded.is_some() || !is_bf16(dy)) {
        bail!(
            "a norm's gradient: dx in bf16 with dy in {:?} or a rounded copy",
            dy.dtype()
        );
    }
    let gpu = Gpu::of(dx)?;
    let weight = address_f32(w)?;
    let (wide, threads) = match c.is_multiple_of(4) && aligned(weight, 16) {
        true => (4, (c / 4).next_multiple_of(32).min(256)),
        false => (1, 256),
    };
    let groups = c.div_ceil(wide * threads);
    let form = match (wide, groups) {
        (4, 1) => "4x1",
        (4, 2) => "4x2",
        (4, 3..=4) => "4x4",
        (4, 5..=8) => "4x8",
        (1, ..=32) => "1x32",
        _ => bail!("norms of {c} channels are wider than any kernel here"),
    };
    let blocks = m.div_ceil(4).min(8 * gpu.processors as usize);
    let partial = gpu.scratch(4 * blocks * 2 * c)?;
    let args = [
        Arg::At(address(dx)?),
        Arg::At(address_or_null(rounded)?),
        Arg::At(partial),
        Arg::At(address(dy)?),
        Arg::At(address_f32(x)?),
        Arg::At(weight),
        Arg::At(address_f32(stats)?),
        Arg::Int(int(m)?),
        Arg::Int(int(c)?),
    ];
    let of = if half { "half" } else { suffix(dy)? };
    let name = format!("{}_backward_{of}_{form}", kind.name());
    // SAFETY: compared: dx and rounded [m, c], dwb [c] or [2, c], dy and x [m, c], w [c], stats [2, m]; the scratch memory
    // is [blocks, 2, c].
    unsafe {
        gpu.launch(&name, Launch::blocks(blocks, threads as u32), &args)?;
        reduce::sum_rows(&gpu, how, address_f32(dwb)?, partial, blocks, n, 2 * c)
    }
}
