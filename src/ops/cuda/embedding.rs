//! Token and position embeddings. An id outside the vocabulary gives a loss of NaN.

use candle_core::{Result, Tensor};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, address_or_null, int, suffix};
use crate::ops::operands::{ACTIVATIONS, F32, IDS, Operands};

/// Ids that a block of the backward kernel owns, as the kernel has it.
const OWN: usize = 32;

/// The first `t` rows of a table of positions, which may have more.
fn positions(
    operands: &Operands<'_>,
    table: Option<&Tensor>,
    t: usize,
    c: usize,
) -> Result<Option<Tensor>> {
    let rows = table.map(|table| table.narrow(0, 0, t)).transpose()?;
    operands.check_optional("the table of positions", rows.as_ref(), t * c, F32)?;
    Ok(rows)
}

pub fn forward(out: &Tensor, ids: &Tensor, wte: &Tensor, wpe: Option<&Tensor>) -> Result<()> {
    let (b, t) = ids.dims2()?;
    let (v, c) = wte.dims2()?;
    let operands = Operands::of("embedding", out);
    operands.check("out", out, b * t * c, F32)?;
    operands.check("ids", ids, b * t, IDS)?;
    operands.check("wte", wte, v * c, F32)?;
    let wpe = positions(&operands, wpe, t, c)?;
    let args = [
        Arg::At(address_f32(out)?),
        Arg::At(address(ids)?),
        Arg::At(address_f32(wte)?),
        Arg::At(address_or_null(wpe.as_ref())?),
        Arg::Int(int(t)?),
        Arg::Int(int(c)?),
        Arg::Int(int(v)?),
    ];
    // SAFETY: compared: out [b, t, c], ids [b, t], wte [v, c], wpe [t, c]. The kernel looks ids up below v only.
    unsafe { Gpu::of(out)?.launch("embedding_f32", Launch::blocks(b * t, 128), &args) }
}

pub fn backward(dwte: &Tensor, dwpe: Option<&Tensor>, ids: &Tensor, dx: &Tensor) -> Result<()> {
    const THREADS: usize = 256;
    let (b, t) = ids.dims2()?;
    let (v, c) = dwte.dims2()?;
    let operands = Operands::of("embedding's gradient", dx);
    operands.check("dx", dx, b * t * c, ACTIVATIONS)?;
    operands.check("ids", ids, b * t, IDS)?;
    operands.check("dwte", dwte, v * c, F32)?;
    let dwpe = positions(&operands, dwpe, t, c)?;
    let (gpu, of) = (Gpu::of(dx)?, suffix(dx)?);
    let shape = Launch {
        grid: (v.div_ceil(OWN) as u32, c.div_ceil(THREADS) as u32, 1),
        block: (THREADS as u32, 1, 1),
        shared: (4 * OWN * THREADS) as u32,
    };
    let args = [
        Arg::At(address_f32(dwte)?),
        Arg::At(address(ids)?),
        Arg::At(address(dx)?),
        Arg::Int(int(b * t)?),
        Arg::Int(int(c)?),
        Arg::Int(int(v)?),
    ];
    // SAFETY: compared: dwte [v, c], ids [b, t], dx [b, t, c]. The kernel adds to ids below v only.
    unsafe { gpu.launch(&format!("embedding_backward_tokens_{of}"), shape, &args)? };
    let Some(dwpe) = dwpe else { return Ok(()) };
    let args = [
        Arg::At(address_f32(&dwpe)?),
        Arg::At(address(dx)?),
        Arg::Int(int(b)?),
        Arg::Int(int(t)?),
        Arg::Int(int(c)?),
    ];
    let shape = Launch::blocks((t * c).div_ceil(256), 256);
    // SAFETY: compared: dwpe [t, c], dx [b, t, c].
    unsafe { gpu.launch(&format!("embedding_backward_positions_{of}"), shape, &args) }
}
