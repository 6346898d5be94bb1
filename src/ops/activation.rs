//! GELU in both forms, and SwiGLU.

use candle_core::{Result, Tensor};

use super::access::slices;
use super::clock::Part;
use super::cpu;
#[cfg(feature = "cuda")]
use super::cuda;

/// `out[M, F] = silu(gate) * up` of `gate_up[M, 2F]`, the gate first (Shazeer, arXiv 2002.05202).
pub fn swiglu(out: &Tensor, gate_up: &Tensor) -> Result<()> {
    on_gpu!(Activation, out, cuda::pointwise::swiglu(out, gate_up));
    let f = out.dim(candle_core::D::Minus1)?;
    slices([out], [gate_up], |[out], [gate_up]| {
        Part::Activation.time(|| cpu::swiglu::forward(out, gate_up, f));
        Ok(())
    })
}

/// Gradient of [`swiglu`]: overwrites `d_gate_up[M, 2F]`.
pub fn swiglu_backward(d_gate_up: &Tensor, d: &Tensor, gate_up: &Tensor) -> Result<()> {
    on_gpu!(
        Activation,
        d,
        cuda::pointwise::swiglu_backward(d_gate_up, d, gate_up)
    );
    let f = d.dim(candle_core::D::Minus1)?;
    slices([d_gate_up], [d, gate_up], |[d_gate_up], [d, gate_up]| {
        Part::Activation.time(|| cpu::swiglu::backward(d_gate_up, d, gate_up, f));
        Ok(())
    })
}

/// GELU with the error function.
pub fn gelu_erf(out: &Tensor, x: &Tensor) -> Result<()> {
    on_gpu!(
        Activation,
        x,
        cuda::pointwise::activation("gelu_erf", out, x)
    );
    slices([out], [x], |[out], [x]| {
        Part::Activation.time(|| cpu::gelu::forward_erf(out, x));
        Ok(())
    })
}

/// `d *= gelu'(x)` for [`gelu_erf`].
pub fn gelu_erf_backward(d: &Tensor, x: &Tensor) -> Result<()> {
    on_gpu!(
        Activation,
        x,
        cuda::pointwise::activation("gelu_erf_backward", d, x)
    );
    slices([d], [x], |[d], [x]| {
        Part::Activation.time(|| cpu::gelu::backward_erf(d, x));
        Ok(())
    })
}

/// tanh-approximated GELU.
pub fn gelu(out: &Tensor, x: &Tensor) -> Result<()> {
    on_gpu!(Activation, x, cuda::pointwise::activation("gelu", out, x));
    slices([out], [x], |[out], [x]| {
        Part::Activation.time(|| cpu::gelu::forward(out, x));
        Ok(())
    })
}

/// `d *= gelu'(x)`, in place on the gradient.
pub fn gelu_backward(d: &Tensor, x: &Tensor) -> Result<()> {
    on_gpu!(
        Activation,
        x,
        cuda::pointwise::activation("gelu_backward", d, x)
    );
    slices([d], [x], |[d], [x]| {
        Part::Activation.time(|| cpu::gelu::backward(d, x));
        Ok(())
    })
}
