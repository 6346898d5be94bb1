//! Values between the CPU's memory and the GPU's.

use candle_core::cuda_backend::cudarc::driver::result;
use candle_core::{DType, Result, Tensor, WithDType, bail};
use half::bf16;

use super::driver_error::driver;
use super::gpu::{Arg, Gpu, Launch};
use super::{address, address_f32};
use crate::ops::operands::{ACTIVATIONS, BF16, F32, Operands};
use crate::ops::runs::Run;

/// Copies a tensor's values out, after everything queued so far.
pub fn read(t: &Tensor) -> Result<Vec<f32>> {
    let gpu = Gpu::of(t)?;
    let from = address(t)?;
    match t.dtype() {
        DType::F32 => {
            let mut values = vec![0f32; t.elem_count()];
            // SAFETY: the tensor has this many values.
            unsafe { gpu.download(&mut values, from)? };
            Ok(values)
        }
        DType::BF16 => {
            let mut values = vec![bf16::ZERO; t.elem_count()];
            // SAFETY: as above.
            unsafe { gpu.download(&mut values, from)? };
            Ok(values.into_iter().map(bf16::to_f32).collect())
        }
        other => bail!("values of {other:?} are not read"),
    }
}

/// Overwrites a tensor's values; f32 ones are rounded for a tensor of bf16.
pub fn write<T: WithDType>(t: &Tensor, values: &[T]) -> Result<()> {
    let gpu = Gpu::of(t)?;
    if t.elem_count() != values.len() {
        bail!("{} values for a tensor of {:?}", values.len(), t.shape());
    }
    let to = address(t)?;
    if t.dtype() == T::DTYPE {
        // SAFETY: the lengths were compared, and the types are the same.
        return unsafe { gpu.upload(to, values) };
    }
    if (t.dtype(), T::DTYPE) != (DType::BF16, DType::F32) {
        bail!("{:?} values for a tensor of {:?}", T::DTYPE, t.dtype());
    }
    let rounded: Vec<bf16> = values.iter().map(|v| bf16::from_f64(v.to_f64())).collect();
    // SAFETY: the lengths were compared, and both are of bf16.
    unsafe { gpu.upload(to, &rounded) }
}

/// Sets every element to zero.
pub fn zero(t: &Tensor) -> Result<()> {
    let bytes = t.elem_count() * t.dtype().size_in_bytes();
    // SAFETY: the tensor has these bytes.
    unsafe { Gpu::of(t)?.clear(address(t)?, bytes) }
}

/// Copies runs of rows of `x[R, C]` to `out[R', C]`.
pub fn copy_rows(out: &Tensor, x: &Tensor, runs: &[Run]) -> Result<()> {
    let ((r, c), rows) = (x.dims2()?, out.dim(0)?);
    let operands = Operands::of("copies of rows", out);
    operands.check("x", x, r * c, ACTIVATIONS)?;
    operands.check("out", out, rows * c, ACTIVATIONS)?;
    operands.same_type(&[out, x])?;
    let last = |run: &Run| (run.to + run.len > rows) || (run.from + run.len > r);
    if let Some(run) = runs.iter().find(|run| last(run)) {
        bail!("{run:?} leaves {r} rows or {rows}");
    }
    let gpu = Gpu::of(out)?;
    gpu.stream.context().bind_to_thread().map_err(driver)?;
    let (to, from, row) = (address(out)?, address(x)?, c * x.dtype().size_in_bytes());
    for run in runs {
        let at = |base: u64, n: usize| base + (n * row) as u64;
        let (to, from) = (at(to, run.to), at(from, run.from));
        let stream = gpu.stream.cu_stream();
        // SAFETY: compared: x [r, c], out [rows, c], and the run lies within both.
        unsafe { result::memcpy_dtod_async(to, from, run.len * row, stream) }.map_err(driver)?;
    }
    Ok(())
}

/// `out[bf16] = x[f32]`, rounded to the nearest.
pub fn round(out: &Tensor, x: &Tensor) -> Result<()> {
    let n = x.elem_count();
    let operands = Operands::of("rounding", out);
    operands.check("x", x, n, F32)?;
    operands.check("out", out, n, BF16)?;
    let gpu = Gpu::of(out)?;
    let args = [
        Arg::At(address(out)?),
        Arg::At(address_f32(x)?),
        Arg::Count(n as i64),
    ];
    // SAFETY: compared: out and x have n elements, of bf16 and f32.
    unsafe { gpu.launch("round_bf16", Launch::elements(&gpu, n), &args) }
}
