//! Errors of the GPU's driver.

use candle_core::Error;
use candle_core::cuda_backend::cudarc::driver::{DriverError, sys};

use crate::ops::OutOfMemory;

/// The driver's error as one of candle's; memory that is used up stays recognizable.
pub fn driver(e: DriverError) -> Error {
    match e.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => OutOfMemory::Gpu.into(),
        _ => Error::Msg(format!("the GPU's driver reports {e}")),
    }
}
