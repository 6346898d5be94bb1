//! Knowledge distillation at the head: a student's loss against the next tokens and a teacher's probabilities.

use candle_core::{Result, Tensor, bail};

use super::access::slices_with_ids;
use super::clock::Part;
use super::cpu;
use super::cpu::distillation::{Mix, Teacher};
use super::cpu::head::Operands;
#[cfg(feature = "cuda")]
use super::cuda;
use super::embedding::check_ids;
use super::soft_targets::SoftTargets;
use super::{Accumulation, Precision};

/// As [`super::head_cross_entropy`], for the loss of knowledge distillation (Hinton et al., arXiv 1503.02531). The loss of a row is
/// `(1 - alpha) CE + alpha T² KL(softmax(t / T) || softmax(z / T))`, in nats, with the student's logits z and the teacher's t.
///
/// `losses[M]`; `grads` are `dx[M, C] = scale · ∂Σloss/∂x` and `dwte[V, C] = scale · ∂Σloss/∂wte`, or `+=`. `chunk[R, V]` is scratch.
///
/// # Errors
/// When sizes do not fit, a target is not in the vocabulary, or an operation fails.
#[allow(clippy::too_many_arguments)]
pub fn head_distillation(
    compute: Precision,
    losses: &Tensor,
    grads: (&Tensor, &Tensor, Accumulation),
    chunk: &Tensor,
    x: &Tensor,
    wte: &Tensor,
    targets: &Tensor,
    scale: f32,
    teacher: SoftTargets<'_>,
) -> Result<()> {
    check_sizes(wte, targets, &teacher)?;
    on_gpu!(
        Head,
        x,
        cuda::distillation::distillation(losses, grads, chunk, x, wte, targets, scale, &teacher)
    );
    grads.2.prepare([grads.1])?;
    let v = wte.dim(0)?;
    slices_with_ids(
        [losses, chunk, grads.0, grads.1, teacher.chunk],
        [x, wte, teacher.x, teacher.head],
        targets,
        |[losses, chunk, dx, dwte, taught], [x, wte, teacher_x, head], ids| {
            check_ids(ids, v)?;
            let of = Operands {
                x,
                wte,
                targets: ids,
                scale,
            };
            let teacher = Teacher {
                compute: teacher.compute,
                x: teacher_x,
                head,
                mix: Mix {
                    alpha: teacher.alpha,
                    temperature: teacher.temperature,
                },
            };
            Part::Head.time(|| {
                cpu::distillation::distillation(
                    compute,
                    losses,
                    (dx, dwte),
                    [chunk, taught],
                    of,
                    teacher,
                );
            });
            Ok(())
        },
    )
}

/// Compares the teacher's sizes with the student's.
fn check_sizes(wte: &Tensor, targets: &Tensor, teacher: &SoftTargets<'_>) -> Result<()> {
    let (v, (taught, width)) = (wte.dim(0)?, teacher.head.dims2()?);
    if taught != v {
        bail!("the teacher has a vocabulary of {taught}, the student of {v}");
    }
    let rows = targets.elem_count();
    if teacher.x.elem_count() != rows * width {
        bail!(
            "the teacher's rows have the shape {:?}, which are not {rows} of {width}",
            teacher.x.shape()
        );
    }
    Ok(())
}
