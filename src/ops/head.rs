//! The language-model head: logits, and cross entropy and log-likelihoods without them.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use super::access::{read, zeros};
use super::access::{slices, slices_with_ids};
use super::clock::Part;
use super::cpu;
use super::cpu::head::Operands;
#[cfg(feature = "cuda")]
use super::cuda;
use super::embedding::check_ids;
use super::{Accumulation, Precision};

/// The language-model head and cross entropy in one, chunked over rows so that no `[M, V]` matrix exists.
///
/// `losses[M]` gets each row's loss in nats. With `grads`, also `dx[M, C] = scale · ∂Σloss/∂x` and
/// `dwte = scale · ∂Σloss/∂wte`, or `+=`. `chunk[R, V]` is scratch.
#[allow(clippy::too_many_arguments)]
pub fn head_cross_entropy(
    compute: Precision,
    losses: &Tensor,
    grads: Option<(&Tensor, &Tensor, Accumulation)>,
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
        Some((dx, dwte, how)) => how.prepare([dwte]).and_then(|()| {
            slices_with_ids(
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
            )
        }),
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

/// Computes the log-likelihood of each of M targets in nats, from the rows `x[M, C]`, for scores. `chunk[R, V]` is scratch.
///
/// With products in f32 on the CPU the softmax sums in f64; elsewhere these are the losses of [`head_cross_entropy`] with
/// the opposite sign.
pub fn head_log_likelihoods(
    compute: Precision,
    chunk: &Tensor,
    x: &Tensor,
    wte: &Tensor,
    targets: &Tensor,
) -> Result<Vec<f64>> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        let losses = zeros(targets.elem_count(), x.device())?;
        head_cross_entropy(compute, &losses, None, chunk, x, wte, targets, 1.0)?;
        return Ok(read(&losses)?.into_iter().map(|l| -f64::from(l)).collect());
    }
    let v = wte.dim(0)?;
    slices_with_ids([chunk], [x, wte], targets, |[chunk], [x, wte], ids| {
        check_ids(ids, v)?;
        let of = Operands {
            x,
            wte,
            targets: ids,
            scale: 1.0,
        };
        Ok(Part::Head.time(|| cpu::head::log_likelihoods(compute, chunk, of)))
    })
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
