//! AdamW over all tensors at once.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch};
use super::{address_f32, address_or_null, aligned, int};
use crate::ops::AdamW;
use crate::ops::operands::{BF16, F32, Operands};

/// The values that differ between tensors; the same fields as the kernel's `Segment`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Segment {
    end: i64,
    keep: f32,
    c1: f32,
    c2: f32,
    unused: f32,
}

/// One update of neighbouring tensors, of `parts` elements each; `rounded` gets the weights in bf16.
pub fn adamw(
    [p, m, v, g]: [&Tensor; 4],
    rounded: Option<&Tensor>,
    parts: &[(usize, AdamW)],
) -> Result<()> {
    let n = p.elem_count();
    let Some((_, o)) = parts.first() else {
        return Ok(());
    };
    let mut end = 0;
    let segments: Vec<Segment> = parts
        .iter()
        .map(|(len, o)| {
            end += len;
            let (c1, c2) = o.corrections();
            Segment {
                end: end as i64,
                keep: 1.0 - o.lr * o.weight_decay,
                c1,
                c2,
                unused: 0.0,
            }
        })
        .collect();
    if end != n {
        bail!("adamw: parts of {end} elements do not fit {:?}", p.shape());
    }
    let operands = Operands::of("adamw", p);
    for (name, t) in [("p", p), ("m", m), ("v", v), ("g", g)] {
        operands.check(name, t, n, F32)?;
    }
    operands.check_optional("the rounded p", rounded, n, BF16)?;
    let gpu = Gpu::of(p)?;
    let table = gpu.scratch(size_of_val(segments.as_slice()))?;
    let places = [
        address_f32(p)?,
        address_f32(m)?,
        address_f32(v)?,
        address_f32(g)?,
    ];
    let whole = segments.iter().all(|s| s.end % 4 == 0) && places.iter().all(|at| aligned(*at, 16));
    let rounded = address_or_null(rounded)?;
    let wide = if whole && aligned(rounded, 8) { 4 } else { 1 };
    let args = [
        Arg::At(places[0]),
        Arg::At(places[1]),
        Arg::At(places[2]),
        Arg::At(rounded),
        Arg::At(places[3]),
        Arg::Count(n as i64),
        Arg::At(table),
        Arg::Int(int(segments.len())?),
        Arg::Float(o.lr),
        Arg::Float(o.beta1),
        Arg::Float(o.beta2),
        Arg::Float(o.eps),
        Arg::Float(o.grad_scale),
    ];
    // SAFETY: compared: p, m, v, g and rounded [n], the parts end at n; the table is in scratch memory of its size.
    unsafe {
        gpu.upload(table, &segments)?;
        gpu.launch(&format!("adamw_{wide}"), Launch::elements(&gpu, n), &args)
    }
}
