//! Activations and rotary positions.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, int, suffix};
use crate::ops::AttentionShape;
use crate::ops::operands::{ACTIVATIONS, F32, Operands};

/// An activation, or its gradient in place: a kernel of two tensors of one size.
pub fn activation(kernel: &str, out: &Tensor, x: &Tensor) -> Result<()> {
    let n = x.elem_count();
    let operands = Operands::of(kernel, out);
    operands.check("x", x, n, ACTIVATIONS)?;
    operands.check("out", out, n, ACTIVATIONS)?;
    operands.same_type(&[out, x])?;
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address(x)?),
        Arg::Count(n as i64),
    ];
    let name = format!("{kernel}_{}", suffix(x)?);
    // SAFETY: compared: out and x [n], of one type.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}

pub fn swiglu(out: &Tensor, gate_up: &Tensor) -> Result<()> {
    let (n, f) = (out.elem_count(), out.dim(candle_core::D::Minus1)?);
    let operands = Operands::of("swiglu", out);
    operands.check("out", out, n, ACTIVATIONS)?;
    operands.check("gate and up", gate_up, 2 * n, ACTIVATIONS)?;
    operands.same_type(&[out, gate_up])?;
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address(gate_up)?),
        Arg::Count(n as i64),
        Arg::Int(int(f)?),
    ];
    let name = format!("swiglu_{}", suffix(out)?);
    // SAFETY: compared: out [n], gate_up [2 n], of one type; rows of f divide n.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}

pub fn swiglu_backward(d_gate_up: &Tensor, d: &Tensor, gate_up: &Tensor) -> Result<()> {
    let (n, f) = (d.elem_count(), d.dim(candle_core::D::Minus1)?);
    let operands = Operands::of("swiglu's gradient", d);
    operands.check("d", d, n, ACTIVATIONS)?;
    operands.check("gate and up", gate_up, 2 * n, ACTIVATIONS)?;
    operands.check("their gradient", d_gate_up, 2 * n, ACTIVATIONS)?;
    operands.same_type(&[d_gate_up, d, gate_up])?;
    let gpu = Gpu::of(d)?;
    let args = [
        Arg::At(address(d_gate_up)?),
        Arg::At(address(d)?),
        Arg::At(address(gate_up)?),
        Arg::Count(n as i64),
        Arg::Int(int(f)?),
    ];
    let name = format!("swiglu_backward_{}", suffix(d)?);
    // SAFETY: compared: d [n], gate_up and d_gate_up [2 n], of one type; rows of f divide n.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}

/// Turns queries and keys by their positions, or back.
pub fn rope(qkv: &Tensor, table: &Tensor, s: AttentionShape, back: bool) -> Result<()> {
    let rows = s.batch * s.time;
    let (d, turned) = (s.head_size, s.n_head + s.n_kv_head);
    if !d.is_multiple_of(2) {
        bail!("rope: an even number of channels per head is needed, got {d}");
    }
    let operands = Operands::of("rope", qkv);
    operands.check("qkv", qkv, rows * s.row(), ACTIVATIONS)?;
    operands.check("the table of angles", table, s.time * d, F32)?;
    let gpu = Gpu::of(qkv)?;
    let n = rows * turned * d / 2;
    let args = [
        Arg::At(address(qkv)?),
        Arg::At(address_f32(table)?),
        Arg::Count(n as i64),
        Arg::Int(int(s.time)?),
        Arg::Int(int(s.row())?),
        Arg::Int(int(turned)?),
        Arg::Int(int(d)?),
        Arg::Float(if back { -1.0 } else { 1.0 }),
    ];
    let name = format!("rope_{}", suffix(qkv)?);
    // SAFETY: compared: qkv [rows, row], whose first heads are turned, table [time, d] with d even.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}
