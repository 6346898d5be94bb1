//! The language-model head: logits, and cross entropy without them.

use candle_core::{Result, Tensor};

use super::Precision;
use super::access::{slices, slices_with_ids};
use super::clock::Part;
use super::cpu;
use super::cpu::head::Operands;
#[cfg(feature = "cuda")]
use super::cuda;
use super::embedding::check_ids;

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
