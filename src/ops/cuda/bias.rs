//! A bias onto the rows of a product that could not add it.

use candle_core::{Result, Tensor};

use super::gpu::{Arg, Gpu, Launch};
use super::{address, int, suffix};
use crate::ops::operands::{ACTIVATIONS, Operands};

/// `out[M, N] += bias[N]`, of one type.
pub fn add(out: &Tensor, bias: &Tensor) -> Result<()> {
    let (n, columns) = (out.elem_count(), bias.elem_count());
    let operands = Operands::of("a bias", out);
    operands.check("out", out, n.next_multiple_of(columns), ACTIVATIONS)?;
    operands.check("the bias", bias, columns, ACTIVATIONS)?;
    operands.same_type(&[out, bias])?;
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address(bias)?),
        Arg::Count(n as i64),
        Arg::Int(int(columns)?),
    ];
    let name = format!("add_bias_{}", suffix(out)?);
    // SAFETY: compared: out [n], in whole rows of the bias' columns, and bias [columns], of one type.
    unsafe { gpu.launch(&name, Launch::elements(&gpu, n), &args) }
}
