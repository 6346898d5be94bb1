//! Fused operations with their backward passes, over candle tensors.
//!
//! Each op is a plain function over slices in [`cpu`] behind one function here that borrows the tensors' storage
//! through candle's in-place mechanism. With the feature `cuda`, ops on tensors of a GPU go to `cuda` instead, which stands
//! beside it. Destinations are preallocated; nothing here allocates tensors, and nothing is copied between devices in silence.
//!
//! Shapes: B windows of T tokens, C = `n_embd`, M = B T rows, H query heads and K key and
//! value heads of size D, V the padded vocabulary. Linear weights lie as their [`Layout`] says, the embedding as `[V, C]`.
//! On the CPU everything is f32 but for the operands of products in [`Precision::Bf16`]; on a GPU, activations are of the type of
//! their tensors. Reductions have a fixed order: results repeat to the bit for the same thread count on the same kind of CPU, and
//! on the same kind of GPU with the same libraries.
//!
//! This room knows no model, no file and no run.

/// Does an op on the GPU, and returns, when its tensors lie there.
#[cfg(feature = "cuda")]
macro_rules! on_gpu {
    ($part:ident, $tensor:expr, $op:expr) => {
        if $tensor.device().is_cuda() {
            return Part::$part.time_on_gpu($tensor.device(), || $op);
        }
    };
}
#[cfg(not(feature = "cuda"))]
macro_rules! on_gpu {
    ($part:ident, $tensor:expr, $op:expr) => {
        // Only the CPU's op reads these then.
        let _ = &$tensor;
    };
}

mod access;
mod adamw;
mod attention;
mod attention_shape;
pub mod clock;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod layout;
#[cfg(any(test, feature = "cuda"))]
mod operands;
mod out_of_memory;
mod precision;
mod update;

use candle_core::{Result, Tensor};

pub use access::{fill, lend, read, write, zeros, zeros_of};
use access::{slices, slices_with_ids};
pub use adamw::AdamW;
pub use attention::{
    attention, attention_backward, attention_cached, attention_probs, rope, rope_backward,
};
pub use attention_shape::AttentionShape;
use clock::Part;
use cpu::head::Operands;
#[cfg(feature = "cuda")]
use cuda::norm::Kind;
pub use layout::Layout;
pub use out_of_memory::OutOfMemory;
pub use precision::Precision;
pub use update::{Sum, adamw, round, sum_of_squares, zero};

/// The CPU rounds operands where it multiplies them, and keeps no rounded copies.
fn none_on_cpu(rounded: Option<&Tensor>) -> Result<()> {
    match rounded {
        Some(_) => candle_core::bail!("the CPU keeps no rounded copies"),
        None => Ok(()),
    }
}

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
    linear(compute, pre, x, w, layout, bias, None)?;
    gelu(act, pre)
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
    linear_backward_input(compute, d_pre, dy, w, layout)?;
    gelu_backward(d_pre, pre)
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

/// `dw += xᵀ dy` (as `[in, out]`) and `dbias += Σ_rows dy`.
pub fn linear_backward_weight(
    compute: Precision,
    dw: &Tensor,
    layout: Layout,
    dbias: Option<&Tensor>,
    x: &Tensor,
    dy: &Tensor,
) -> Result<()> {
    on_gpu!(
        Linear,
        dw,
        cuda::linear::backward_weight(dw, layout, dbias, x, dy)
    );
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

/// LayerNorm's gradients: `dx += …`, and `dwb += …` where `dwb` holds the weight's gradient, then the bias's if there
/// is one (they lie side by side in the gradient arena). On a GPU, `rounded` gets the sum `dx` in bf16.
pub fn layer_norm_backward(
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
        cuda::norm::backward(Kind::Layer, dx, rounded, dwb, dy, x, w, stats)
    );
    none_on_cpu(rounded)?;
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

/// RMSNorm's gradients: `dx += …` and `dw += …`. On a GPU, `rounded` gets the sum `dx` in bf16.
pub fn rms_norm_backward(
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
        cuda::norm::backward(Kind::Rms, dx, rounded, dw, dy, x, w, stats)
    );
    none_on_cpu(rounded)?;
    slices(
        [dx, dw],
        [dy, x, w, stats],
        |[dx, dw], [dy, x, w, stats]| {
            Part::Norm.time(|| cpu::norm::rms_backward(dx, dw, dy, x, w, stats));
            Ok(())
        },
    )
}

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

/// `out[M, C] = wte[id] (+ wpe[t])`; `ids` is `u32[B, T]`.
///
/// # Errors
/// When an id is not below the vocabulary's size.
pub fn embedding(out: &Tensor, ids: &Tensor, wte: &Tensor, wpe: Option<&Tensor>) -> Result<()> {
    on_gpu!(Embedding, out, cuda::embedding::forward(out, ids, wte, wpe));
    let (_, t) = ids.dims2()?;
    let (v, c) = wte.dims2()?;
    let wpe = wpe.map(access::guard);
    slices_with_ids([out], [wte], ids, |[out], [wte], ids| {
        check_ids(ids, v)?;
        let wpe = access::opt(&wpe)?;
        Part::Embedding.time(|| cpu::embedding::forward(out, ids, wte, wpe, t, c));
        Ok(())
    })
}

/// `dwte[id] += dx`, `dwpe[t] += dx`, in a fixed order.
pub fn embedding_backward(
    dwte: &Tensor,
    dwpe: Option<&Tensor>,
    ids: &Tensor,
    dx: &Tensor,
) -> Result<()> {
    on_gpu!(
        Embedding,
        dx,
        cuda::embedding::backward(dwte, dwpe, ids, dx)
    );
    let (_, t) = ids.dims2()?;
    let (_, c) = dwte.dims2()?;
    // Both gradients lie in one arena, which can be borrowed once at a time.
    slices_with_ids([dwte], [dx], ids, |[dwte], [dx], ids| {
        Part::Embedding.time(|| cpu::embedding::backward_tokens(dwte, ids, dx, c));
        Ok(())
    })?;
    match dwpe {
        Some(dwpe) => slices([dwpe], [dx], |[dwpe], [dx]| {
            Part::Embedding.time(|| cpu::embedding::backward_positions(dwpe, dx, t, c));
            Ok(())
        }),
        None => Ok(()),
    }
}

/// Looks at the unit that `HEIRLOOM_UNIT` asks for.
///
/// # Errors
/// Telling which ones this machine has, when it has none of that name.
pub fn check_unit() -> std::result::Result<(), String> {
    cpu::gemm::Isa::asked_for().map(|_| ())
}

/// Name of the unit that multiplies on the CPU: `amx`, `avx512` (both for bf16) or `portable`.
pub fn unit() -> &'static str {
    cpu::gemm::Isa::chosen().name()
}

/// Names of the units this machine has, best first.
pub fn units() -> Vec<&'static str> {
    let units = cpu::gemm::Isa::available().into_iter();
    units.map(cpu::gemm::Isa::name).collect()
}

/// Name of the instructions that loops on the CPU are compiled for here.
pub fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(_) => return "AVX-512",
        pulp::Arch::V3(_) => return "AVX2",
        _ => {}
    }
    std::env::consts::ARCH
}

/// The language-model head and cross entropy in one, chunked over rows so that no `[M, V]` matrix exists.
///
/// `losses[M]` gets each row's loss in nats. With `grads`, also `dx[M, C] = scale · ∂Σloss/∂x` and
/// `dwte += scale · ∂Σloss/∂wte`. `chunk[R, V]` is scratch.
#[allow(clippy::too_many_arguments)]
pub fn head_cross_entropy(
    compute: Precision,
    losses: &Tensor,
    grads: Option<(&Tensor, &Tensor)>,
    chunk: &Tensor,
    x: &Tensor,
    wte: &Tensor,
    targets: &Tensor,
    scale: f32,
) -> Result<()> {
    on_gpu!(
        Head,
        x,
        cuda::head::cross_entropy(losses, grads, chunk, x, wte, targets, scale)
    );
    let v = wte.dim(0)?;
    match grads {
        Some((dx, dwte)) => slices_with_ids(
            [losses, chunk, dx, dwte],
            [x, wte],
            targets,
            |[losses, chunk, dx, dwte], [x, wte], ids| {
                check_ids(ids, v)?;
                let (grads, of) = (
                    Some((dx, dwte)),
                    Operands {
                        x,
                        wte,
                        targets: ids,
                        scale,
                    },
                );
                Part::Head.time(|| cpu::head::cross_entropy(compute, losses, grads, chunk, of));
                Ok(())
            },
        ),
        None => slices_with_ids(
            [losses, chunk],
            [x, wte],
            targets,
            |[losses, chunk], [x, wte], ids| {
                check_ids(ids, v)?;
                let of = Operands {
                    x,
                    wte,
                    targets: ids,
                    scale,
                };
                Part::Head.time(|| cpu::head::cross_entropy(compute, losses, None, chunk, of));
                Ok(())
            },
        ),
    }
}

/// `logits[M, V] = x[M, C] wteᵀ`.
pub fn head_logits(compute: Precision, logits: &Tensor, x: &Tensor, wte: &Tensor) -> Result<()> {
    on_gpu!(Head, x, cuda::head::logits(logits, x, wte));
    let (v, c) = wte.dims2()?;
    slices([logits], [x, wte], |[logits], [x, wte]| {
        Part::Head.time(|| cpu::head::logits(compute, logits, x, wte, c, v));
        Ok(())
    })
}

fn check_ids(ids: &[u32], vocab: usize) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= vocab) {
        Some(i) => candle_core::bail!(
            "token id {} at position {i} is not below the vocabulary's size {vocab}",
            ids[i]
        ),
        None => Ok(()),
    }
}
