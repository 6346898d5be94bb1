//! Sums over rows and over everything, in a fixed order.

use candle_core::{Result, Tensor};

use super::gpu::{Arg, Gpu, Launch};
use super::{Address, address, address_f32, aligned, int, suffix};
use crate::ops::Accumulation;
use crate::ops::operands::{ACTIVATIONS, F32, F64, Operands};

/// `out[i] = Σ_r partial[r, i]`, or `+=`, for `n` columns of `rows` rows, `stride` apart.
///
/// # Safety
/// Both must have room for that.
pub unsafe fn sum_rows(
    gpu: &Gpu,
    how: Accumulation,
    out: Address,
    partial: Address,
    rows: usize,
    n: usize,
    stride: usize,
) -> Result<()> {
    let shape = Launch {
        grid: (u32::try_from(n.div_ceil(32)).unwrap_or(u32::MAX), 1, 1),
        block: (32, 8, 1),
        shared: 0,
    };
    let args = [
        Arg::At(out),
        Arg::At(partial),
        Arg::Int(int(rows)?),
        Arg::Int(int(n)?),
        Arg::Int(int(stride)?),
    ];
    let kernel = match how {
        Accumulation::Write => "write_rows",
        Accumulation::Add => "add_rows",
    };
    // SAFETY: as the caller guarantees.
    unsafe { gpu.launch(kernel, shape, &args) }
}

/// `out[N] = Σ_m x[m, N]`, or `+=`.
pub fn column_sums(
    gpu: &Gpu,
    how: Accumulation,
    out: &Tensor,
    x: &Tensor,
    m: usize,
    n: usize,
) -> Result<()> {
    let operands = Operands::of("column sums", out);
    operands.check("x", x, m * n, ACTIVATIONS)?;
    operands.check("out", out, n, F32)?;
    let at = address(x)?;
    let wide = if n.is_multiple_of(4) && aligned(at, 16) {
        4
    } else {
        1
    };
    let across = n.div_ceil(32 * wide);
    // As many shares of rows as keep all processors busy, of 64 rows at least.
    let shares = (8 * gpu.processors as usize)
        .div_ceil(across)
        .min(m.div_ceil(64))
        .max(1);
    let partial = gpu.scratch(4 * shares * n)?;
    let shape = Launch {
        grid: (across as u32, shares as u32, 1),
        block: (32, 8, 1),
        shared: 0,
    };
    let args = [
        Arg::At(partial),
        Arg::At(at),
        Arg::Int(int(m)?),
        Arg::Int(int(n)?),
    ];
    let name = format!("column_sums_{}_{wide}", suffix(x)?);
    // SAFETY: compared: x [m, n], out [n]; the scratch memory is [shares, n].
    unsafe {
        gpu.launch(&name, shape, &args)?;
        sum_rows(gpu, how, address_f32(out)?, partial, shares, n, n)
    }
}

/// Blocks whose sums are added up at the end.
const BLOCKS: usize = 1024;

/// Queues the sum of `kernel` over `x`: `out = sum`, or `out += sum`.
///
/// # Safety
/// `out` must be the place of an f64, and `partial` of [`BLOCKS`].
unsafe fn queue(
    gpu: &Gpu,
    kernel: &str,
    x: &Tensor,
    partial: Address,
    out: Address,
    adds: bool,
) -> Result<()> {
    let n = x.elem_count();
    Operands::of(kernel, x).check("x", x, n, F32)?;
    let blocks = n.div_ceil(1024).clamp(1, BLOCKS);
    let args = [
        Arg::At(partial),
        Arg::At(address_f32(x)?),
        Arg::Count(n as i64),
    ];
    let last = [
        Arg::At(out),
        Arg::At(partial),
        Arg::Int(int(blocks)?),
        Arg::Int(i32::from(adds)),
    ];
    // SAFETY: compared: x [n]; the caller guarantees the others.
    unsafe {
        gpu.launch(kernel, Launch::blocks(blocks, 256), &args)?;
        gpu.launch("total", Launch::blocks(1, 1024), &last)
    }
}

/// Queues the sum of squares of all elements. Returns the address of the f64 result, in scratch memory.
pub fn queue_sum_of_squares(gpu: &Gpu, x: &Tensor) -> Result<Address> {
    let partial = gpu.scratch(8 * (BLOCKS + 1))?;
    let out = partial + 8 * BLOCKS as u64;
    // SAFETY: the scratch memory holds the blocks' sums and the total.
    unsafe { queue(gpu, "sum_of_squares", x, partial, out, false)? };
    Ok(out)
}

/// Sum of squares of all elements in f64. Waits for it.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    let gpu = Gpu::of(x)?;
    let out = queue_sum_of_squares(&gpu, x)?;
    let mut sum = [0f64];
    // SAFETY: an f64 lies there.
    unsafe { gpu.download(&mut sum, out)? };
    Ok(sum[0])
}

/// Queues `kernel`'s sum over `x`, which is added to `sum`.
fn add(kernel: &str, sum: &Tensor, x: &Tensor) -> Result<()> {
    let gpu = Gpu::of(x)?;
    Operands::of("a sum", x).check("the sum", sum, 1, F64)?;
    let partial = gpu.scratch(8 * BLOCKS)?;
    // SAFETY: compared: sum [1] of f64; the scratch memory holds the blocks' sums.
    unsafe { queue(&gpu, kernel, x, partial, address(sum)?, true) }
}

/// `sum[f64] += Σ x`.
pub fn add_total(sum: &Tensor, x: &Tensor) -> Result<()> {
    add("sum", sum, x)
}

/// `sum[f64] += Σ x²`.
pub fn add_squares(sum: &Tensor, x: &Tensor) -> Result<()> {
    add("sum_of_squares", sum, x)
}

/// The values of two sums, after all that is queued: one copy, one wait.
pub fn read_totals(sums: &Tensor) -> Result<[f64; 2]> {
    let mut values = [0f64; 2];
    Operands::of("sums", sums).check("the sums", sums, values.len(), F64)?;
    // SAFETY: compared: sums [2] of f64.
    unsafe { Gpu::of(sums)?.download(&mut values, address(sums)?)? };
    Ok(values)
}
