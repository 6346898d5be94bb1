//! The ops on NVIDIA GPUs: kernels in CUDA C++ under `kernels/`, compiled to PTX when heirloom is built, and matrix products of cuBLASLt.
//!
//! Everything is queued on the device's one stream, in program order, so that no op waits for another on the host; only reading values
//! does. Activations are f32 or bf16, depending on their tensors; the residual stream, statistics, losses, weights, gradients of weights
//! and moments are f32. No sum depends on the order in which blocks happen to run: results repeat bit for bit on the same kind of GPU with
//! the same libraries.
//!
//! Kernels are handed addresses. [`address`] is the only function that takes them from tensors, and only from tensors whose device, type
//! and number of elements [`Operands`](super::operands::Operands) has compared with those that the kernel accesses. The word "compared" in
//! a `SAFETY` comment refers to this check.

pub mod access;
mod algorithms;
pub mod attention;
mod bias;
mod bias_gradient;
mod cublas;
pub mod distillation;
mod driver_error;
pub mod embedding;
mod epilogue;
mod gemm;
mod gpu;
pub mod graph;
pub mod head;
pub mod linear;
pub mod muon;
pub mod norm;
pub mod optimizer;
pub mod pointwise;
pub mod reduce;
mod staging;

use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{DType, Result, Storage, Tensor, bail};

pub use algorithms::library as products_library;
pub use gpu::{MemoryUse, is_hopper, memory_in_use, synchronize, uuid};

/// A place in the GPU's memory.
pub(crate) type Address = u64;

/// Returns the address of a contiguous tensor of `T`.
fn address_of<T>(t: &Tensor, dtype: DType) -> Result<Address>
where
    T: candle_core::cuda_backend::CudaDType,
{
    let (storage, layout) = t.storage_and_layout();
    let Storage::Cuda(cuda) = &*storage else {
        bail!("an operand of a GPU's operation lies in the CPU's memory")
    };
    let Some((from, _)) = layout.contiguous_offsets() else {
        bail!("operand is not contiguous: {layout:?}")
    };
    let stream = cuda.device.cuda_stream();
    let slice = cuda.as_cuda_slice::<T>()?;
    // No event is recorded: the device was opened without tracking.
    let (base, _) = slice.device_ptr(&stream);
    Ok(base + (from * dtype.size_in_bytes()) as u64)
}

/// Returns the address of a contiguous tensor of any type.
pub(crate) fn address(t: &Tensor) -> Result<Address> {
    match t.dtype() {
        DType::F32 => address_of::<f32>(t, DType::F32),
        DType::BF16 => address_of::<half::bf16>(t, DType::BF16),
        DType::U32 => address_of::<u32>(t, DType::U32),
        DType::F64 => address_of::<f64>(t, DType::F64),
        other => bail!("operands of {other:?} have no kernels"),
    }
}

/// Returns the address of an optional tensor; null for none.
fn address_or_null(t: Option<&Tensor>) -> Result<Address> {
    t.map_or(Ok(0), address)
}

/// Returns the address of a tensor of f32.
fn address_f32(t: &Tensor) -> Result<Address> {
    address_of::<f32>(t, DType::F32)
}

/// The end of a kernel's name: the type of its activations.
fn suffix(t: &Tensor) -> Result<&'static str> {
    suffix_of(t.dtype())
}

/// As [`suffix`], of a type.
fn suffix_of(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("f32"),
        DType::BF16 => Ok("bf16"),
        other => bail!("activations of {other:?} have no kernels"),
    }
}

/// Whether an address is a multiple of `bytes`, as wide accesses need.
fn aligned(address: Address, bytes: u64) -> bool {
    address.is_multiple_of(bytes)
}

/// A C `int`.
fn int(n: usize) -> Result<i32> {
    i32::try_from(n)
        .map_err(|_| candle_core::Error::Msg(format!("{n} is more than a kernel counts to")))
}

/// Whether products are of bf16 (tensor cores), which follows from the type of an operand.
fn is_bf16(t: &Tensor) -> bool {
    t.dtype() == DType::BF16
}
