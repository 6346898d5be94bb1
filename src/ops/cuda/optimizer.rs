//! AdamW.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address_f32, address_or_null};
use crate::ops::AdamW;

/// One update of one tensor; `rounded` gets the weights in bf16.
pub fn adamw(
    p: &Tensor,
    m: &Tensor,
    v: &Tensor,
    rounded: Option<&Tensor>,
    g: &Tensor,
    o: AdamW,
) -> Result<()> {
    let n = p.elem_count();
    if [m, v, g]
        .iter()
        .chain(&rounded)
        .any(|t| t.elem_count() != n)
    {
        bail!("adamw: moments or gradients do not fit {:?}", p.shape());
    }
    let gpu = Gpu::of(p)?;
    let (c1, c2) = o.corrections();
    let args = [
        Arg::At(address_f32(p)?),
        Arg::At(address_f32(m)?),
        Arg::At(address_f32(v)?),
        Arg::At(address_or_null(rounded)?),
        Arg::At(address_f32(g)?),
        Arg::Count(n as i64),
        Arg::Float(o.lr),
        Arg::Float(o.beta1),
        Arg::Float(o.beta2),
        Arg::Float(o.eps),
        Arg::Float(1.0 - o.lr * o.weight_decay),
        Arg::Float(o.grad_scale),
        Arg::Float(c1),
        Arg::Float(c2),
    ];
    // SAFETY: all have n elements.
    unsafe { gpu.launch("adamw", Launch::elements(&gpu, n), &args) }
}
