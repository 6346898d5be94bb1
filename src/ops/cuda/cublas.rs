//! cuBLASLt's handle, its workspace and the plans made so far, which are kept between products.

use candle_core::cuda_backend::cudarc::cublaslt::{result as lt, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream};
use candle_core::{Error, Result};

use super::driver_error::driver;
use crate::ops::plans::{Key, Plans};

/// Bytes of memory that a product may use besides its operands: NVIDIA's advice for Hopper GPUs.
pub const WORKSPACE: usize = 32 << 20;

/// The descriptions and the algorithm of a product, made once and used for all products like it.
pub struct Plan {
    pub(super) desc: sys::cublasLtMatmulDesc_t,
    pub(super) a: sys::cublasLtMatrixLayout_t,
    pub(super) b: sys::cublasLtMatrixLayout_t,
    pub(super) out: sys::cublasLtMatrixLayout_t,
    pub(super) algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made for this plan, which is not used any more. A failed release leaks only a few bytes.
        unsafe {
            let _ = lt::destroy_matmul_desc(self.desc);
            for layout in [self.a, self.b, self.out] {
                let _ = lt::destroy_matrix_layout(layout);
            }
        }
    }
}

/// cuBLASLt's handle and the plans made so far.
pub struct CublasLt {
    pub(super) handle: sys::cublasLtHandle_t,
    pub(super) workspace: CudaSlice<u8>,
    pub(super) plans: Plans<Key, Plan>,
}

// SAFETY: the handle and the descriptions are used under a lock, by one thread at a time.
unsafe impl Send for CublasLt {}

/// Whether the error reports that cuBLASLt has no algorithm for the product, rather than a failure.
pub fn is_unsupported(e: &lt::CublasError) -> bool {
    e.0 == sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED
}

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
            plans: Plans::default(),
        })
    }
}
