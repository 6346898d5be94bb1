//! Memory that could not be allocated, as an error that callers can recognise.

use std::alloc::{Layout, alloc_zeroed};

use candle_core::{Error, Result};

use crate::failure;

/// Memory that could not be allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfMemory {
    #[error("the GPU is out of memory")]
    Gpu,
    #[error("the machine is out of memory: {bytes} bytes could not be allocated")]
    Machine { bytes: usize },
}

impl From<OutOfMemory> for Error {
    fn from(error: OutOfMemory) -> Self {
        // The only kind of candle's errors that keeps an error's type and adds no text.
        Self::Cuda(Box::new(error))
    }
}

impl OutOfMemory {
    /// Finds this error in one of candle's: ours, or what candle's own allocations on a GPU return.
    pub fn in_candle(error: &Error) -> Option<Self> {
        match error {
            Error::WithBacktrace { inner, .. }
            | Error::Context { inner, .. }
            | Error::WithPath { inner, .. } => Self::in_candle(inner),
            Error::Cuda(error) => error
                .downcast_ref::<Self>()
                .copied()
                .or_else(|| of_driver(error.as_ref())),
            _ => None,
        }
    }
}

#[cfg(feature = "cuda")]
fn of_driver(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<OutOfMemory> {
    use candle_core::cuda_backend::CudaError;
    use candle_core::cuda_backend::cudarc::driver::{DriverError, sys::CUresult};
    let full = |e: &DriverError| e.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    match error.downcast_ref::<CudaError>() {
        Some(CudaError::Cuda(e)) if full(e) => Some(OutOfMemory::Gpu),
        _ => None,
    }
}

#[cfg(not(feature = "cuda"))]
fn of_driver(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<OutOfMemory> {
    None
}

/// Types whose values may be all zero bits.
pub trait Zero: Copy {}
impl Zero for f32 {}
impl Zero for u32 {}
impl Zero for half::bf16 {}

/// Returns `n` zeros. (`vec!` would end the process when memory is not available.)
pub fn zeros<T: Zero>(n: usize) -> Result<Vec<T>> {
    let full = || OutOfMemory::Machine {
        bytes: n.saturating_mul(size_of::<T>()),
    };
    let layout = Layout::array::<T>(n).map_err(|_| Error::from(full()))?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout has a size above zero.
    let memory = failure::fallible(|| unsafe { alloc_zeroed(layout) }).cast::<T>();
    if memory.is_null() {
        return Err(full().into());
    }
    // SAFETY: allocated with the global allocator for `n` values of T, which zero bytes are valid for.
    Ok(unsafe { Vec::from_raw_parts(memory, n, n) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_that_fails_is_recognised() {
        let error = zeros::<f32>(usize::MAX / 8).unwrap_err();
        let found = OutOfMemory::in_candle(&error);
        assert!(matches!(found, Some(OutOfMemory::Machine { bytes }) if bytes > 1 << 60));
        let gpu = Error::from(OutOfMemory::Gpu);
        assert_eq!(gpu.to_string(), "the GPU is out of memory");
        let other = Error::Msg("the GPU is out of memory".into());
        assert_eq!(OutOfMemory::in_candle(&other), None);
    }

    #[test]
    fn zeros_are_zero() {
        assert_eq!(zeros::<u32>(3).unwrap(), [0, 0, 0]);
        assert!(zeros::<f32>(0).unwrap().is_empty());
    }
}
