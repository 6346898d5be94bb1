//! Token and position embeddings. An id outside the vocabulary gives a loss that is no number.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, address_or_null, int};

/// Ids that a block of the backward kernel owns, as the kernel has it.
const OWN: usize = 32;

pub fn forward(out: &Tensor, ids: &Tensor, wte: &Tensor, wpe: Option<&Tensor>) -> Result<()> {
    let (b, t) = ids.dims2()?;
    let (v, c) = wte.dims2()?;
    if out.elem_count() != b * t * c || wpe.is_some_and(|wpe| wpe.elem_count() < t * c) {
        bail!("embedding: {b} windows of {t} into {:?}", out.shape());
    }
    let args = [
        Arg::At(address_f32(out)?),
        Arg::At(address(ids)?),
        Arg::At(address_f32(wte)?),
        Arg::At(address_or_null(wpe)?),
        Arg::Int(int(t)?),
        Arg::Int(int(c)?),
        Arg::Int(int(v)?),
    ];
    // SAFETY: sizes were compared.
    unsafe { Gpu::of(out)?.launch("embedding_f32", Launch::blocks(b * t, 128), &args) }
}

pub fn backward(dwte: &Tensor, dwpe: Option<&Tensor>, ids: &Tensor, dx: &Tensor) -> Result<()> {
    const THREADS: usize = 256;
    let (b, t) = ids.dims2()?;
    let (v, c) = dwte.dims2()?;
    if dx.elem_count() != b * t * c || dwpe.is_some_and(|dwpe| dwpe.elem_count() < t * c) {
        bail!(
            "embedding: gradients {:?} of {b} windows of {t}",
            dx.shape()
        );
    }
    let gpu = Gpu::of(dx)?;
    let shape = Launch {
        grid: (v.div_ceil(OWN) as u32, c.div_ceil(THREADS) as u32, 1),
        block: (THREADS as u32, 1, 1),
        shared: (4 * OWN * THREADS) as u32,
    };
    let args = [
        Arg::At(address_f32(dwte)?),
        Arg::At(address(ids)?),
        Arg::At(address_f32(dx)?),
        Arg::Int(int(b * t)?),
        Arg::Int(int(c)?),
        Arg::Int(int(v)?),
    ];
    // SAFETY: sizes were compared.
    unsafe { gpu.launch("embedding_backward_tokens", shape, &args)? };
    let Some(dwpe) = dwpe else { return Ok(()) };
    let args = [
        Arg::At(address_f32(dwpe)?),
        Arg::At(address_f32(dx)?),
        Arg::Int(int(b)?),
        Arg::Int(int(t)?),
        Arg::Int(int(c)?),
    ];
    let shape = Launch::blocks((t * c).div_ceil(256), 256);
    // SAFETY: as above.
    unsafe { gpu.launch("embedding_backward_positions", shape, &args) }
}
