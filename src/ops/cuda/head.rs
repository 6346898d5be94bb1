//! The language-model head and cross entropy, a piece of the rows at a time.

use candle_core::{Result, Tensor, bail};

use super::gemm::{Accumulate, Epilogue, Matmul, Operand};
use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32, int, suffix};
use crate::ops::Accumulation;
use crate::ops::operands::{ACTIVATIONS, F32, IDS, Operands};

/// Elements from one row of logits to the next: rows begin where wide accesses may.
pub fn stride(vocab: usize) -> usize {
    vocab.next_multiple_of(64)
}

/// `logits[M, V] = x[M, C] wteᵀ`.
pub fn logits(logits: &Tensor, x: &Tensor, wte: &Tensor) -> Result<()> {
    let (v, c) = wte.dims2()?;
    let m = x.elem_count() / c;
    let operands = Operands::of("logits", x);
    operands.check("x", x, m * c, ACTIVATIONS)?;
    operands.check("wte", wte, v * c, ACTIVATIONS)?;
    operands.check("logits", logits, m * v, ACTIVATIONS)?;
    let product = Matmul {
        m,
        k: c,
        n: v,
        a: Operand::rows(x, c)?,
        b: Operand::rows(wte, c)?.t(),
        out: Operand::rows(logits, v)?,
        onto: Accumulate::Nothing,
        then: Epilogue::Nothing,
    };
    // SAFETY: compared: logits [m, v], x [m, c], wte [v, c].
    unsafe { product.queue(&*Gpu::of(x)?) }
}

/// Losses of all rows; with `grads = (dx, dwte, how)` the gradients of their sum times `scale`: `dx = …`, `dwte = …` or `+=`. `chunk` has
/// room for rows of logits, [`stride`] apart.
pub fn cross_entropy(
    losses: &Tensor,
    grads: Option<(&Tensor, &Tensor, Accumulation)>,
    chunk: &Tensor,
    x: &Tensor,
    wte: &Tensor,
    targets: &Tensor,
    scale: f32,
) -> Result<()> {
    let (v, c) = wte.dims2()?;
    let (m, stride) = (targets.elem_count(), stride(v));
    let rows = chunk.elem_count() / stride;
    if rows == 0 {
        bail!(
            "cross entropy: the piece {:?} has no room for a row of {stride}",
            chunk.shape()
        );
    }
    let operands = Operands::of("cross entropy", x);
    operands.check("x", x, m * c, ACTIVATIONS)?;
    operands.check("wte", wte, v * c, ACTIVATIONS)?;
    operands.check(
        "the piece of logits",
        chunk,
        chunk.elem_count(),
        ACTIVATIONS,
    )?;
    operands.same_type(&[chunk, x, wte])?;
    operands.check("losses", losses, m, F32)?;
    operands.check("targets", targets, m, IDS)?;
    if let Some((dx, dwte, _)) = grads {
        operands.check("dx", dx, m * c, ACTIVATIONS)?;
        operands.check("dwte", dwte, v * c, F32)?;
    }
    // As few pieces, of like size.
    let rows = m.div_ceil(m.div_ceil(rows));
    let gpu = Gpu::of(x)?;
    let all = Operand::rows(x, c)?;
    let weight = Operand::rows(wte, c)?;
    let logits = Operand {
        stride,
        ..Operand::rows(chunk, stride)?
    };
    let (losses, targets) = (address_f32(losses)?, address(targets)?);
    let name = format!("cross_entropy_{}", suffix(x)?);
    for from in (0..m).step_by(rows) {
        let n = rows.min(m - from);
        let x = all.skip(from);
        let product = Matmul {
            m: n,
            k: c,
            n: v,
            a: x,
            b: weight.t(),
            out: logits,
            onto: Accumulate::Nothing,
            then: Epilogue::Nothing,
        };
        let args = [
            Arg::At(address(chunk)?),
            Arg::At(losses + 4 * from as u64),
            Arg::At(targets + 4 * from as u64),
            Arg::Int(int(v)?),
            Arg::Int(int(stride)?),
            Arg::Float(scale),
            Arg::Int(i32::from(grads.is_some())),
        ];
        // SAFETY: compared: chunk (at least [rows, stride]), x [m, c], wte [v, c], losses [m], targets [m]; the n rows from `from` on
        // are among the m, and n is at most `rows`.
        unsafe {
            product.queue(&gpu)?;
            gpu.launch(&name, Launch::blocks(n, 1024), &args)?;
        }
        let Some((dx, dwte, how)) = grads else {
            continue;
        };
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
        // SAFETY: compared: as above, and dx [m, c], dwte [v, c].
        unsafe {
            input.queue(&gpu)?;
            weights.queue(&gpu)?;
        }
    }
    Ok(())
}
