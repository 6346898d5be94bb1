//! Linear layers, alone and with the GELU that follows.

use candle_core::{Result, Tensor};

use super::access::{self, slices};
use super::clock::Part;
use super::cpu;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Accumulation, Layout, Precision, gelu, gelu_backward};

/// `out[M, N] = x[M, K] w (+ bias[N]) (+ residual[M, N])` with `w` of K inputs and N outputs.
pub fn linear(
    compute: Precision,
    out: &Tensor,
    x: &Tensor,
    w: &Tensor,
    layout: Layout,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<()> {
    on_gpu!(
        Linear,
        out,
        cuda::linear::forward(out, x, w, layout, bias, residual)
    );
    let sizes = layout.sizes(w)?;
    let bias = bias.map(access::guard);
    let residual = residual.map(access::guard);
    slices([out], [x, w], |[out], [x, w]| {
        let bias = access::opt(&bias)?;
        let residual = access::opt(&residual)?;
        Part::Linear
            .time(|| cpu::linear::forward(compute, out, x, w, layout, bias, residual, sizes));
        Ok(())
    })
}

/// `pre[M, N] = x[M, K] w (+ bias[N])`, and `act` its tanh-approximated GELU.
pub fn linear_gelu(
    compute: Precision,
    act: &Tensor,
    pre: &Tensor,
    x: &Tensor,
    w: &Tensor,
    layout: Layout,
    bias: Option<&Tensor>,
) -> Result<()> {
    on_gpu!(
        Linear,
        act,
        cuda::linear::gelu(act, pre, x, w, layout, bias)
    );
    if compute == Precision::F32 {
        linear(compute, pre, x, w, layout, bias, None)?;
        return gelu(act, pre);
    }
    let sizes = layout.sizes(w)?;
    let bias = bias.map(access::guard);
    slices([act, pre], [x, w], |both, [x, w]| {
        let bias = access::opt(&bias)?;
        Part::Linear.time(|| cpu::linear::forward_gelu(both, x, w, layout, bias, sizes));
        Ok(())
    })
}

/// Gradient of [`linear_gelu`]'s input to the next layer, `d_pre = (dy wᵀ) gelu'(pre)`, with that layer's `w` and `dy`.
pub fn linear_backward_gelu(
    compute: Precision,
    d_pre: &Tensor,
    dy: &Tensor,
    w: &Tensor,
    layout: Layout,
    pre: &Tensor,
) -> Result<()> {
    on_gpu!(
        Linear,
        d_pre,
        cuda::linear::backward_gelu(d_pre, dy, w, layout, pre)
    );
    if compute == Precision::F32 {
        linear_backward_input(compute, d_pre, dy, w, layout)?;
        return gelu_backward(d_pre, pre);
    }
    let sizes = layout.sizes(w)?;
    slices([d_pre], [dy, w, pre], |[d_pre], [dy, w, pre]| {
        let work = || cpu::linear::backward_gelu(d_pre, dy, w, layout, pre, sizes);
        Part::Linear.time(work);
        Ok(())
    })
}

/// `dx = dy wᵀ` (of `w` as `[in, out]`).
pub fn linear_backward_input(
    compute: Precision,
    dx: &Tensor,
    dy: &Tensor,
    w: &Tensor,
    layout: Layout,
) -> Result<()> {
    on_gpu!(Linear, dx, cuda::linear::backward_input(dx, dy, w, layout));
    let sizes = layout.sizes(w)?;
    slices([dx], [dy, w], |[dx], [dy, w]| {
        Part::Linear.time(|| cpu::linear::backward_input(compute, dx, dy, w, layout, sizes));
        Ok(())
    })
}

/// `dw = xᵀ dy` (as `[in, out]`) and `dbias = Σ_rows dy`, or `+=`.
pub fn linear_backward_weight(
    compute: Precision,
    how: Accumulation,
    dw: &Tensor,
    layout: Layout,
    dbias: Option<&Tensor>,
    x: &Tensor,
    dy: &Tensor,
) -> Result<()> {
    on_gpu!(
        Linear,
        dw,
        cuda::linear::backward_weight(how, dw, layout, dbias, x, dy)
    );
    how.prepare([dw].into_iter().chain(dbias))?;
    let sizes = layout.sizes(dw)?;
    slices([dw], [x, dy], |[dw], [x, dy]| {
        Part::Linear.time(|| cpu::linear::backward_weight(compute, dw, layout, x, dy, sizes));
        Ok(())
    })?;
    match dbias {
        Some(db) => slices([db], [dy], |[db], [dy]| {
            Part::Linear.time(|| cpu::linear::backward_bias(db, dy));
            Ok(())
        }),
        None => Ok(()),
    }
}
