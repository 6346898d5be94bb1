//! Activations and rotary positions.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, int, same_type, suffix};
use crate::ops::AttentionShape;

/// An activation, or its gradient in place: a kernel of two tensors of one size.
pub fn activation(kernel: &str, out: &Tensor, x: &Tensor) -> Result<()> {
    same_type(&[out, x])?;
    let n = x.elem_count();
    if out.elem_count() != n {
        bail!("{kernel}: {n} values into {:?}", out.shape());
    }
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address(x)?),
        Arg::Count(n as i64),
    ];
    let name = format!("{kernel}_{}", suffix(x)?);
    // SAFETY: both have n elements of one type.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}

pub fn swiglu(out: &Tensor, gate_up: &Tensor) -> Result<()> {
    same_type(&[out, gate_up])?;
    let (n, f) = (out.elem_count(), out.dim(candle_core::D::Minus1)?);
    if gate_up.elem_count() != 2 * n {
        bail!("swiglu: {:?} into {:?}", gate_up.shape(), out.shape());
    }
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address(gate_up)?),
        Arg::Count(n as i64),
        Arg::Int(int(f)?),
    ];
    let name = format!("swiglu_{}", suffix(out)?);
    // SAFETY: sizes were compared.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}

pub fn swiglu_backward(d_gate_up: &Tensor, d: &Tensor, gate_up: &Tensor) -> Result<()> {
    same_type(&[d_gate_up, d, gate_up])?;
    let (n, f) = (d.elem_count(), d.dim(candle_core::D::Minus1)?);
    if gate_up.elem_count() != 2 * n || d_gate_up.elem_count() != 2 * n {
        bail!("swiglu: {:?} for {:?}", d.shape(), d_gate_up.shape());
    }
    let gpu = Gpu::of(d)?;
    let args = [
        Arg::At(address(d_gate_up)?),
        Arg::At(address(d)?),
        Arg::At(address(gate_up)?),
        Arg::Count(n as i64),
        Arg::Int(int(f)?),
    ];
    let name = format!("swiglu_backward_{}", suffix(d)?);
    // SAFETY: sizes were compared.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}

/// Turns queries and keys by their positions, or back.
pub fn rope(qkv: &Tensor, table: &Tensor, s: AttentionShape, back: bool) -> Result<()> {
    let rows = s.batch * s.time;
    let (d, turned) = (s.head_size, s.n_head + s.n_kv_head);
    if qkv.elem_count() != rows * s.row()
        || table.elem_count() != s.time * d
        || !d.is_multiple_of(2)
    {
        bail!("rope: operands do not fit {s:?}");
    }
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
    // SAFETY: sizes were compared.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}
