//! Knowledge distillation at the language-model head, for a piece of the rows at a time.

use candle_core::{Result, Tensor, bail};

use super::gemm::{Accumulate, Epilogue, Matmul, Operand};
use super::gpu::{Arg, Gpu, Launch};
use super::head::Piece;
use super::{address, address_f32, int, suffix};
use crate::ops::operands::{ACTIVATIONS, F32, IDS, Operands};
use crate::ops::{Accumulation, SoftTargets};

/// Computes the losses of all rows, and with `grads = (dx, dwte, how)` the gradients of their sum times `scale`: `dx = …`,
/// `dwte = …` or `+=`. `chunk` and the teacher's chunk are memory for rows of logits, which are of their model's type of activations. The
/// teacher's may be bf16 where the student's are f32.
#[allow(clippy::too_many_arguments)]
pub fn distillation(
    losses: &Tensor,
    (dx, dwte, how): (&Tensor, &Tensor, Accumulation),
    chunk: &Tensor,
    x: &Tensor,
    wte: &Tensor,
    targets: &Tensor,
    scale: f32,
    teacher: &SoftTargets<'_>,
) -> Result<()> {
    let ((v, c), (taught, width)) = (wte.dims2()?, teacher.head.dims2()?);
    let m = targets.elem_count();
    if taught != v {
        bail!("distillation: the vocabularies of {v} and {taught} differ");
    }
    let operands = Operands::of("distillation", x);
    operands.check("x", x, m * c, ACTIVATIONS)?;
    operands.check("wte", wte, v * c, ACTIVATIONS)?;
    operands.same_type(&[x, wte])?;
    operands.check("the teacher's x", teacher.x, m * width, ACTIVATIONS)?;
    operands.check("the teacher's head", teacher.head, v * width, ACTIVATIONS)?;
    operands.same_type(&[teacher.x, teacher.head])?;
    operands.check("losses", losses, m, F32)?;
    operands.check("targets", targets, m, IDS)?;
    operands.check("dx", dx, m * c, ACTIVATIONS)?;
    operands.check("dwte", dwte, v * c, F32)?;
    let own = Piece::new(&operands, chunk, x.dtype(), v)?;
    let of_teacher = Piece::new(&operands, teacher.chunk, teacher.x.dtype(), v)?;
    // Few pieces of similar size.
    let rows = m.div_ceil(m.div_ceil(own.rows().min(of_teacher.rows())));
    let gpu = Gpu::of(x)?;
    let (all, all_taught) = (Operand::rows(x, c)?, Operand::rows(teacher.x, width)?);
    let (weight, head) = (Operand::rows(wte, c)?, Operand::rows(teacher.head, width)?);
    let (logits, taught) = (own.logits(), of_teacher.logits());
    let (losses, targets) = (address_f32(losses)?, address(targets)?);
    let name = format!("distillation_{}_{}", suffix(x)?, suffix(teacher.x)?);
    for from in (0..m).step_by(rows) {
        let n = rows.min(m - from);
        let x = all.skip(from);
        let forward = |k: usize, a: Operand, b: Operand, out: Operand| Matmul {
            m: n,
            k,
            n: v,
            a,
            b: b.t(),
            out,
            onto: Accumulate::Nothing,
            then: Epilogue::Nothing,
        };
        let args = [
            Arg::At(logits.at),
            Arg::At(taught.at),
            Arg::At(losses + 4 * from as u64),
            Arg::At(targets + 4 * from as u64),
            Arg::Int(int(v)?),
            Arg::Int(int(own.stride())?),
            Arg::Float(scale),
            Arg::Float(teacher.alpha),
            Arg::Float(teacher.temperature),
        ];
        let input = Matmul {
            m: n,
            k: v,
            n: c,
            a: logits,
            b: weight,
            out: Operand::rows(dx, c)?.skip(from),
            onto: Accumulate::Nothing,
            then: Epilogue::Nothing,
        };
        let weights = Matmul {
            m: v,
            k: n,
            n: c,
            a: logits.t(),
            b: x,
            out: Operand::rows(dwte, c)?,
            onto: match from {
                0 => how.into(),
                _ => Accumulate::Out,
            },
            then: Epilogue::Nothing,
        };
        // SAFETY: compared: both pieces (at least `rows` rows, of equal stride), x [m, c], wte [v, c], the teacher's x [m, width] and head
        // [v, width], losses [m], targets [m], dx [m, c], dwte [v, c]; the n rows from `from` on are among the m, and n is at most
        // `rows`.
        unsafe {
            forward(c, x, weight, logits).queue(&gpu)?;
            forward(width, all_taught.skip(from), head, taught).queue(&gpu)?;
            gpu.launch(&name, Launch::blocks(n, 1024), &args)?;
            input.queue(&gpu)?;
            weights.queue(&gpu)?;
        }
    }
    Ok(())
}
