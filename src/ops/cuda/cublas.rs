//! What is kept of cuBLASLt: its handle, its workspace and the plans made so far.

use std::collections::HashMap;

use candle_core::cuda_backend::cudarc::cublaslt::{result as lt, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream};
use candle_core::{DType, Error, Result};

use super::driver_error::driver;

/// Memory that a product may use besides its operands: what NVIDIA advises for Hopper GPUs.
pub const WORKSPACE: usize = 32 << 20;

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) sizes: (usize, usize, usize),
    pub(super) strides: (usize, usize, usize),
    pub(super) transposed: (bool, bool),
    pub(super) dtypes: (DType, DType),
    pub(super) alignment: (u64, u64, u64, u64),
    pub(super) adds: bool,
    pub(super) epilogue: i32,
    pub(super) pre: u64,
}

/// What cuBLASLt needs to do a product, found once.
pub struct Plan {
    pub(super) desc: sys::cublasLtMatmulDesc_t,
    pub(super) a: sys::cublasLtMatrixLayout_t,
    pub(super) b: sys::cublasLtMatrixLayout_t,
    pub(super) out: sys::cublasLtMatrixLayout_t,
    pub(super) algorithm: sys::cublasLtMatmulAlgo_t,
}

/// cuBLASLt's handle and the plans made so far.
pub struct CublasLt {
    pub(super) handle: sys::cublasLtHandle_t,
    pub(super) workspace: CudaSlice<u8>,
    pub(super) plans: HashMap<Key, Plan>,
}

// SAFETY: the handle and the descriptions are used under a lock, by one thread at a time.
unsafe impl Send for CublasLt {}

pub fn failed(e: lt::CublasError) -> Error {
    Error::Msg(format!("cuBLASLt reports {e}"))
}

impl CublasLt {
    pub fn new(stream: &std::sync::Arc<CudaStream>) -> Result<Self> {
        let handle = lt::create_handle().map_err(|e| {
            Error::Msg(format!(
                "cuBLASLt (libcublasLt.so of CUDA 12 or 13) cannot be used: {e}"
            ))
        })?;
        // SAFETY: a workspace's contents do not matter.
        let workspace = unsafe { stream.alloc::<u8>(WORKSPACE) }.map_err(driver)?;
        Ok(Self {
            handle,
            workspace,
            plans: HashMap::new(),
        })
    }
}
