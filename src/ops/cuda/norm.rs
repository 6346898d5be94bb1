//! LayerNorm and RMSNorm of the f32 residual stream.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, address_or_null, aligned, int, reduce, suffix};

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
    if out.elem_count() != m * c || stats.elem_count() != 2 * m {
        bail!(
            "a norm of {m} rows into {:?} and {:?}",
            out.shape(),
            stats.shape()
        );
    }
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
    // SAFETY: sizes were compared.
    unsafe {
        gpu.launch(
            &name,
            Launch::blocks(m.div_ceil(WARPS), 32 * WARPS as u32),
            &args,
        )
    }
}

/// `dx += …` (also rounded to `rounded`), `dwb += …`.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    kind: Kind,
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
    if dx.elem_count() != m * c || dy.elem_count() != m * c || (n != c && n != 2 * c) {
        bail!(
            "a norm's gradient of {m} rows of {c}: {:?}, {:?}",
            dx.shape(),
            dwb.shape()
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
        Arg::At(address_f32(dx)?),
        Arg::At(address_or_null(rounded)?),
        Arg::At(partial),
        Arg::At(address(dy)?),
        Arg::At(address_f32(x)?),
        Arg::At(weight),
        Arg::At(address_f32(stats)?),
        Arg::Int(int(m)?),
        Arg::Int(int(c)?),
    ];
    let name = format!("{}_backward_{}_{form}", kind.name(), suffix(dy)?);
    // SAFETY: sizes were compared; the scratch memory is [blocks, 2, c].
    unsafe {
        gpu.launch(&name, Launch::blocks(blocks, threads as u32), &args)?;
        reduce::add_rows(&gpu, address_f32(dwb)?, partial, blocks, n, 2 * c)
    }
}
