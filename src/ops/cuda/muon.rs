//! Muon's element-wise kernels. Its products are those of linear layers.

use candle_core::{Result, Tensor};

use super::gpu::{Arg, Gpu, Launch};
use super::{address_f32, address_or_null, int, reduce};
use crate::ops::Block;
use crate::ops::operands::{BF16, F32, Operands};

/// Updates the momentum of a block, and writes the direction that follows from it to `x`.
pub fn momentum(
    x: &Tensor,
    m: &Tensor,
    g: &Tensor,
    block: Block,
    momentum: f32,
    grad_scale: f32,
) -> Result<()> {
    let (n, whole) = (block.elements(), block.rows * block.stride);
    let operands = Operands::of("muon's momentum", x);
    operands.check("x", x, n, F32)?;
    operands.check("m", m, whole, F32)?;
    operands.check("g", g, whole, F32)?;
    let gpu = Gpu::of(x)?;
    let args = [
        Arg::At(address_f32(x)?),
        Arg::At(address_f32(m)?),
        Arg::At(address_f32(g)?),
        Arg::Count(n as i64),
        Arg::Int(int(block.columns)?),
        Arg::Int(int(block.first)?),
        Arg::Int(int(block.stride)?),
        Arg::Float(momentum),
        Arg::Float(grad_scale),
    ];
    // SAFETY: compared: x [rows, columns], m and g [rows, stride]; first + columns <= stride was compared by the caller.
    unsafe { gpu.launch("muon_momentum", Launch::elements(&gpu, n), &args) }
}

/// Updates the weights of a block by a step in the direction of `x`.
pub fn weights(
    p: &Tensor,
    rounded: Option<&Tensor>,
    x: &Tensor,
    block: Block,
    keep: f32,
    lr: f32,
) -> Result<()> {
    let (n, whole) = (block.elements(), block.rows * block.stride);
    let operands = Operands::of("muon's weights", p);
    operands.check("x", x, n, F32)?;
    operands.check("p", p, whole, F32)?;
    operands.check_optional("the rounded p", rounded, whole, BF16)?;
    let gpu = Gpu::of(p)?;
    let args = [
        Arg::At(address_f32(p)?),
        Arg::At(address_or_null(rounded)?),
        Arg::At(address_f32(x)?),
        Arg::Count(n as i64),
        Arg::Int(int(block.columns)?),
        Arg::Int(int(block.first)?),
        Arg::Int(int(block.stride)?),
        Arg::Float(keep),
        Arg::Float(lr),
    ];
    // SAFETY: compared: x [rows, columns], p and rounded [rows, stride]; first + columns <= stride was compared by the
    // caller.
    unsafe { gpu.launch("muon_weights", Launch::elements(&gpu, n), &args) }
}

/// Computes `x = x / max(‖x‖, eps)` without waiting for the norm.
pub fn to_unit_norm(x: &Tensor, eps: f32) -> Result<()> {
    let n = x.elem_count();
    Operands::of("a norm", x).check("x", x, n, F32)?;
    let gpu = Gpu::of(x)?;
    let sum = reduce::queue_sum_of_squares(&gpu, x)?;
    let args = [
        Arg::At(address_f32(x)?),
        Arg::At(sum),
        Arg::Count(n as i64),
        Arg::Float(eps),
    ];
    // SAFETY: compared: x [n]; the sum lies in scratch memory that has not been reused since.
    unsafe { gpu.launch("to_unit_norm", Launch::elements(&gpu, n), &args) }
}

/// Computes `out = a out + b x`.
pub fn blend(out: &Tensor, a: f32, x: &Tensor, b: f32) -> Result<()> {
    let n = out.elem_count();
    let operands = Operands::of("a blend", out);
    operands.check("out", out, n, F32)?;
    operands.check("x", x, n, F32)?;
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address_f32(out)?),
        Arg::At(address_f32(x)?),
        Arg::Count(n as i64),
        Arg::Float(a),
        Arg::Float(b),
    ];
    // SAFETY: compared: out and x [n].
    unsafe { gpu.launch("blend", Launch::elements(&gpu, n), &args) }
}
