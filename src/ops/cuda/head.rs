//! The language-model head and cross entropy, a piece of the rows at a time.
//!
//! Logits of an evaluation are f32 whatever the operands are: bf16 has steps of 0.5 where logits are near -100, as GPT-2's are,
//! which moves a mean loss by 0.007 (`scripts/cuda/logit_rounding.py`). Logits of training are of the operands' type, or f32 with
//! `HEIRLOOM_LOGITS=f32`; their gradients are always of the operands' type, as products want them.

use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor, bail};

use super::gemm::{Accumulate, Epilogue, Matmul, Operand};
use super::gpu::{Arg, Gpu, Launch};
use super::{Address, address, address_f32, int, suffix_of};
use crate::ops::Accumulation;
use crate::ops::logits::{self, Memory};
use crate::ops::operands::{ACTIVATIONS, F32, IDS, Operands};

/// A piece of memory for rows of logits, whatever type its tensor has.
pub struct Piece {
    at: Address,
    memory: Memory,
}

impl Piece {
    /// The memory of `chunk`, for logits of this type and vocabulary.
    ///
    /// # Errors
    /// When a row does not fit.
    pub fn new(
        operands: &Operands<'_>,
        chunk: &Tensor,
        dtype: DType,
        vocab: usize,
    ) -> Result<Self> {
        let elements = chunk.elem_count();
        operands.check("the piece of logits", chunk, elements, ACTIVATIONS)?;
        let bytes = elements * chunk.dtype().size_in_bytes();
        let Some(memory) = Memory::new(bytes, dtype, vocab) else {
            bail!(
                "the piece of logits {:?} has no room for a row of {vocab}",
                chunk.shape()
            );
        };
        Ok(Self {
            at: address(chunk)?,
            memory,
        })
    }

    /// Rows that fit.
    pub fn rows(&self) -> usize {
        self.memory.rows
    }

    /// The rows of logits.
    pub fn logits(&self) -> Operand {
        self.operand(self.memory.dtype, self.memory.stride)
    }

    /// The rows of gradients of this type, each of which begins where its row of logits begins.
    pub fn gradients(&self, dtype: DType) -> Operand {
        self.operand(dtype, self.memory.stride_as(dtype))
    }

    /// Elements from one row of logits to the next.
    pub fn stride(&self) -> usize {
        self.memory.stride
    }

    fn operand(&self, dtype: DType, stride: usize) -> Operand {
        Operand {
            at: self.at,
            dtype,
            stride,
            transposed: false,
        }
    }
}

/// The type of logits that gradients are computed of in bf16.
fn trained() -> Result<DType> {
    static CHOSEN: OnceLock<Option<DType>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| logits::chosen(std::env::var("HEIRLOOM_LOGITS").ok()));
    match chosen {
        Some(dtype) => Ok(*dtype),
        None => bail!("HEIRLOOM_LOGITS is neither \"f32\" nor \"bf16\""),
    }
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

/// Losses of all rows; with `grads = (dx, dwte, how)` the gradients of their sum times `scale`: `dx = …`, `dwte = …` or `+=`. `chunk` is
/// memory for rows of logits.
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
    let m = targets.elem_count();
    if m == 0 {
        return Ok(());
    }
    let operands = Operands::of("cross entropy", x);
    operands.check("x", x, m * c, ACTIVATIONS)?;
    operands.check("wte", wte, v * c, ACTIVATIONS)?;
    operands.same_type(&[x, wte])?;
    operands.check("losses", losses, m, F32)?;
    operands.check("targets", targets, m, IDS)?;
    if let Some((dx, dwte, _)) = grads {
        operands.check("dx", dx, m * c, ACTIVATIONS)?;
        operands.check("dwte", dwte, v * c, F32)?;
    }
    let dtype = match (x.dtype(), grads) {
        (DType::BF16, Some(_)) => trained()?,
        _ => DType::F32,
    };
    let piece = Piece::new(&operands, chunk, dtype, v)?;
    // As few pieces, of like size.
    let rows = m.div_ceil(m.div_ceil(piece.rows()));
    let gpu = Gpu::of(x)?;
    let all = Operand::rows(x, c)?;
    let weight = Operand::rows(wte, c)?;
    let (logits, gradients) = (piece.logits(), piece.gradients(x.dtype()));
    let (losses, targets) = (address_f32(losses)?, address(targets)?);
    let name = match (dtype, x.dtype(), grads) {
        (DType::F32, DType::BF16, Some(_)) => "cross_entropy_f32_bf16".into(),
        _ => format!("cross_entropy_{}", suffix_of(dtype)?),
    };
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
            Arg::At(logits.at),
            Arg::At(losses + 4 * from as u64),
            Arg::At(targets + 4 * from as u64),
            Arg::Int(int(v)?),
            Arg::Int(int(piece.stride())?),
            Arg::Float(scale),
            Arg::Int(i32::from(grads.is_some())),
        ];
        // SAFETY: compared: the piece (at least `rows` rows), x [m, c], wte [v, c], losses [m], targets [m]; the n rows from `from` on
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
            a: gradients,
            b: weight,
            out: Operand::rows(dx, c)?.skip(from),
            onto: Accumulate::Nothing,
            then: Epilogue::Nothing,
        };
        let weights = Matmul {
            m: v,
            k: n,
            n: c,
            a: gradients.t(),
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
