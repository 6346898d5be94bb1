//! A bias's gradient as an epilogue: cuBLASLt sums up the columns of `dy` while it multiplies them for the weight's gradient.

use candle_core::Result;

use super::gemm::{Epilogue, Matmul};
use super::gpu::Gpu;
use super::{Address, reduce};
use crate::ops::{Accumulation, Layout};

/// Queues the weight's gradient `product` and `db[N] = Σ_m dy[m, N]`, or `+=`. Returns false, with nothing queued, where cuBLASLt
/// has no algorithm that does both.
///
/// # Safety
/// `product` must be that of `x` and `dy` for a weight in `layout`, with operands as [`Matmul::queue`] asks; `db` must have
/// room for `n` values.
pub unsafe fn queue(
    gpu: &Gpu,
    how: Accumulation,
    product: Matmul,
    layout: Layout,
    db: Address,
    n: usize,
) -> Result<bool> {
    // cuBLASLt replaces the values, so a sum to be added goes to scratch memory first.
    let sums = match how {
        Accumulation::Write => db,
        Accumulation::Add => gpu.scratch(size_of::<f32>() * n)?,
    };
    let then = match layout {
        Layout::InOut => Epilogue::SumsOfB(sums),
        Layout::OutIn => Epilogue::SumsOfA(sums),
    };
    // SAFETY: as the caller guarantees; the scratch memory has n values, and is read before it is used again.
    unsafe {
        if !(Matmul { then, ..product }).try_queue(gpu)? {
            return Ok(false);
        }
        if how == Accumulation::Add {
            reduce::sum_rows(gpu, how, db, sums, 1, n, n)?;
        }
    }
    Ok(true)
}
