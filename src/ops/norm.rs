//! LayerNorm and RMSNorm.

use candle_core::{Result, Tensor};

use super::Accumulation;
use super::access::{self, none_on_cpu, slices};
use super::clock::Part;
use super::cpu;
#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "cuda")]
use super::cuda::norm::Kind;

/// LayerNorm over the last dimension; keeps mean and 1/std per row in `stats[2, M]`.
pub fn layer_norm(
    out: &Tensor,
    stats: &Tensor,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
) -> Result<()> {
    on_gpu!(
        Norm,
        out,
        cuda::norm::forward(Kind::Layer, out, stats, x, w, bias, eps)
    );
    let bias = bias.map(access::guard);
    slices([out, stats], [x, w], |[out, stats], [x, w]| {
        let bias = access::opt(&bias)?;
        Part::Norm.time(|| cpu::norm::forward(out, stats, x, w, bias, eps));
        Ok(())
    })
}

/// LayerNorm's gradients: `dx += …`, and `dwb = …` or `dwb += …` where `dwb` holds the weight's gradient, then the bias's if there
/// is one (they lie side by side in the gradient arena). On a GPU, `rounded` gets the sum `dx` in bf16.
#[allow(clippy::too_many_arguments)]
pub fn layer_norm_backward(
    how: Accumulation,
    dx: &Tensor,
    rounded: Option<&Tensor>,
    dwb: &Tensor,
    dy: &Tensor,
    x: &Tensor,
    w: &Tensor,
    stats: &Tensor,
) -> Result<()> {
    on_gpu!(
        Norm,
        dx,
        cuda::norm::backward(Kind::Layer, how, dx, rounded, dwb, dy, x, w, stats)
    );
    none_on_cpu(rounded)?;
    how.prepare([dwb])?;
    slices(
        [dx, dwb],
        [dy, x, w, stats],
        |[dx, dwb], [dy, x, w, stats]| {
            Part::Norm.time(|| cpu::norm::backward(dx, dwb, dy, x, w, stats));
            Ok(())
        },
    )
}

/// RMSNorm over the last dimension; keeps 1/rms per row in the second half of `stats[2, M]`.
pub fn rms_norm(out: &Tensor, stats: &Tensor, x: &Tensor, w: &Tensor, eps: f32) -> Result<()> {
    on_gpu!(
        Norm,
        out,
        cuda::norm::forward(Kind::Rms, out, stats, x, w, None, eps)
    );
    slices([out, stats], [x, w], |[out, stats], [x, w]| {
        Part::Norm.time(|| cpu::norm::rms_forward(out, stats, x, w, eps));
        Ok(())
    })
}

/// RMSNorm's gradients: `dx += …`, and `dw = …` or `dw += …`. On a GPU, `rounded` gets the sum `dx` in bf16.
#[allow(clippy::too_many_arguments)]
pub fn rms_norm_backward(
    how: Accumulation,
    dx: &Tensor,
    rounded: Option<&Tensor>,
    dw: &Tensor,
    dy: &Tensor,
    x: &Tensor,
    w: &Tensor,
    stats: &Tensor,
) -> Result<()> {
    on_gpu!(
        Norm,
        dx,
        cuda::norm::backward(Kind::Rms, how, dx, rounded, dw, dy, x, w, stats)
    );
    none_on_cpu(rounded)?;
    how.prepare([dw])?;
    slices(
        [dx, dw],
        [dy, x, w, stats],
        |[dx, dw], [dy, x, w, stats]| {
            Part::Norm.time(|| cpu::norm::rms_backward(dx, dw, dy, x, w, stats));
            Ok(())
        },
    )
}
