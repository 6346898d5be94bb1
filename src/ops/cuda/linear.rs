//! Linear layers. The input, the weight and `dy` are of one type (f32 or bf16), weights' gradients f32.
//!
//! Where cuBLASLt lacks an algorithm that adds a bias or takes a GELU within the product (older libraries, cards that they do not know), a
//! kernel follows the plain product.

use candle_core::{DType, Result, Tensor, bail};

use super::bias::add as add_bias;
use super::gemm::{Accumulate, Epilogue, Matmul, Operand};
use super::gpu::Gpu;
use super::{address, address_f32, bias_gradient, is_bf16, pointwise, reduce};
use crate::ops::operands::{ACTIVATIONS, F32, Operands};
use crate::ops::{Accumulation, GpuFeature, Layout};

/// `out[M, N] = x[M, K] w (+ bias) (+ residual)`; the bias is of the output's type.
pub fn forward(
    out: &Tensor,
    x: &Tensor,
    w: &Tensor,
    layout: Layout,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<()> {
    let (k, n) = layout.sizes(w)?;
    let m = x.elem_count() / k;
    let operands = Operands::of("linear", out);
    operands.check("x", x, m * k, ACTIVATIONS)?;
    operands.check("the weight", w, k * n, ACTIVATIONS)?;
    operands.same_type(&[x, w])?;
    operands.check("out", out, m * n, ACTIVATIONS)?;
    operands.check_optional("the bias", bias, n, &[out.dtype()])?;
    operands.check_optional("the residual", residual, m * n, F32)?;
    if residual.is_some() && out.dtype() != DType::F32 {
        bail!("linear: a residual stream of {:?}", out.dtype());
    }
    let onto = match residual {
        Some(r) => Accumulate::Other(address_f32(r)?),
        None => Accumulate::Nothing,
    };
    let product = Matmul {
        m,
        k,
        n,
        a: Operand::rows(x, k)?,
        b: weight(w, layout)?,
        out: Operand::rows(out, n)?,
        onto,
        then: bias.map_or(Ok(Epilogue::Nothing), |b| address(b).map(Epilogue::Bias))?,
    };
    let gpu = Gpu::of(out)?;
    let Some(bias) = bias else {
        // SAFETY: compared: out and residual [m, n], x [m, k], w [k, n] or [n, k].
        return unsafe { product.queue(&gpu) };
    };
    let plain = Matmul {
        then: Epilogue::Nothing,
        ..product
    };
    // SAFETY: as above, and bias [n].
    unsafe {
        if product.try_queue(&gpu)? {
            return Ok(());
        }
        plain.queue(&gpu)?;
    }
    add_bias(out, bias)
}

/// Whether cuBLASLt takes the GELU of such an output within the product.
fn fuses(out: &Tensor, n: usize) -> bool {
    is_bf16(out) && n.is_multiple_of(8)
}

/// `pre[M, N] = x w (+ bias)` and `act = gelu(pre)`.
pub fn gelu(
    act: &Tensor,
    pre: &Tensor,
    x: &Tensor,
    w: &Tensor,
    layout: Layout,
    bias: Option<&Tensor>,
) -> Result<()> {
    let (k, n) = layout.sizes(w)?;
    let apart = || {
        forward(pre, x, w, layout, bias, None)?;
        pointwise::activation("gelu", act, pre)
    };
    if !fuses(act, n) {
        return apart();
    }
    let m = x.elem_count() / k;
    let operands = Operands::of("linear with gelu", act);
    operands.check("act", act, m * n, ACTIVATIONS)?;
    operands.check("pre", pre, m * n, ACTIVATIONS)?;
    operands.check("x", x, m * k, ACTIVATIONS)?;
    operands.check("the weight", w, k * n, ACTIVATIONS)?;
    operands.same_type(&[act, pre, x, w])?;
    operands.check_optional("the bias", bias, n, &[act.dtype()])?;
    let product = Matmul {
        m,
        k,
        n,
        a: Operand::rows(x, k)?,
        b: weight(w, layout)?,
        out: Operand::rows(act, n)?,
        onto: Accumulate::Nothing,
        then: Epilogue::Gelu {
            bias: bias.map(address).transpose()?,
            pre: address(pre)?,
        },
    };
    // SAFETY: compared: act and pre [m, n], x [m, k], w [k, n] or [n, k], bias [n], of one type.
    if unsafe { product.try_queue(&*Gpu::of(act)?) }? {
        return Ok(());
    }
    apart()
}

/// `dx = (dy wᵀ) gelu'(pre)`.
pub fn backward_gelu(
    dx: &Tensor,
    dy: &Tensor,
    w: &Tensor,
    layout: Layout,
    pre: &Tensor,
) -> Result<()> {
    let (k, n) = layout.sizes(w)?;
    let apart = || {
        backward_input(dx, dy, w, layout)?;
        pointwise::activation("gelu_backward", dx, pre)
    };
    if !fuses(dx, k) {
        return apart();
    }
    let m = dy.elem_count() / n;
    let operands = Operands::of("linear's gradient through gelu", dx);
    operands.check("dx", dx, m * k, ACTIVATIONS)?;
    operands.check("pre", pre, m * k, ACTIVATIONS)?;
    operands.check("dy", dy, m * n, ACTIVATIONS)?;
    operands.check("the weight", w, k * n, ACTIVATIONS)?;
    operands.same_type(&[dx, pre, dy, w])?;
    let product = Matmul {
        m,
        k: n,
        n: k,
        a: Operand::rows(dy, n)?,
        b: weight(w, layout)?.t(),
        out: Operand::rows(dx, k)?,
        onto: Accumulate::Nothing,
        then: Epilogue::GeluSlope { pre: address(pre)? },
    };
    // SAFETY: compared: dx and pre [m, k], dy [m, n], w [k, n] or [n, k], of one type.
    if unsafe { product.try_queue(&*Gpu::of(dx)?) }? {
        return Ok(());
    }
    apart()
}

/// A weight as `[in, out]`.
fn weight(w: &Tensor, layout: Layout) -> Result<Operand> {
    let operand = Operand::rows(w, w.dims2()?.1)?;
    Ok(match layout {
        Layout::InOut => operand,
        Layout::OutIn => operand.t(),
    })
}

/// `dx = dy wᵀ`.
pub fn backward_input(dx: &Tensor, dy: &Tensor, w: &Tensor, layout: Layout) -> Result<()> {
    let (k, n) = layout.sizes(w)?;
    let m = dy.elem_count() / n;
    let operands = Operands::of("linear's input gradient", dx);
    operands.check("dx", dx, m * k, ACTIVATIONS)?;
    operands.check("dy", dy, m * n, ACTIVATIONS)?;
    operands.check("the weight", w, k * n, ACTIVATIONS)?;
    operands.same_type(&[dy, w])?;
    let product = Matmul {
        m,
        k: n,
        n: k,
        a: Operand::rows(dy, n)?,
        b: weight(w, layout)?.t(),
        out: Operand::rows(dx, k)?,
        onto: Accumulate::Nothing,
        then: Epilogue::Nothing,
    };
    // SAFETY: compared: dx [m, k], dy [m, n], w [k, n] or [n, k].
    unsafe { product.queue(&*Gpu::of(dx)?) }
}

/// `dw = xᵀ dy` and `dbias = Σ dy`, or `+=`.
pub fn backward_weight(
    how: Accumulation,
    dw: &Tensor,
    layout: Layout,
    dbias: Option<&Tensor>,
    x: &Tensor,
    dy: &Tensor,
) -> Result<()> {
    let (k, n) = layout.sizes(dw)?;
    let m = x.elem_count() / k;
    let operands = Operands::of("linear's weight gradient", dw);
    operands.check("x", x, m * k, ACTIVATIONS)?;
    operands.check("dy", dy, m * n, ACTIVATIONS)?;
    operands.same_type(&[x, dy])?;
    operands.check("dw", dw, k * n, F32)?;
    let gpu = Gpu::of(dw)?;
    let (x, by) = (Operand::rows(x, k)?, Operand::rows(dy, n)?);
    // Neither is copied to transpose it: [out, in] is the transposed product.
    let (rows, columns, a, b) = match layout {
        Layout::InOut => (k, n, x.t(), by),
        Layout::OutIn => (n, k, by.t(), x),
    };
    let product = Matmul {
        m: rows,
        k: m,
        n: columns,
        a,
        b,
        out: Operand::rows(dw, columns)?,
        onto: how.into(),
        then: Epilogue::Nothing,
    };
    if let Some(db) = dbias
        && is_bf16(dy)
        && GpuFeature::BiasEpilogue.is_on()
    {
        operands.check("dbias", db, n, F32)?;
        // SAFETY: compared: x [m, k], dy [m, n], dw [k, n] or [n, k], db [n].
        let done = unsafe { bias_gradient::queue(&gpu, how, product, layout, address_f32(db)?, n) };
        if done? {
            return Ok(());
        }
    }
    // SAFETY: compared: x [m, k], dy [m, n], dw [k, n] or [n, k].
    unsafe { product.queue(&gpu)? };
    match dbias {
        Some(db) => reduce::column_sums(&gpu, how, db, dy, m, n),
        None => Ok(()),
    }
}
