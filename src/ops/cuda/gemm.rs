//! Matrix products by cuBLASLt: operands of one type, sums in f32.

use std::ffi::c_void;
use std::sync::{OnceLock, PoisonError};

use candle_core::cuda_backend::cudarc::cublaslt::{result as lt, sys};
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{DType, Result, Tensor, bail};

use super::cublas::{CublasLt, Plan, WORKSPACE, failed, is_unsupported};
use super::driver_error::driver;
pub use super::epilogue::Epilogue;
use super::gpu::Gpu;
use super::{Address, address, algorithms};
use crate::ops::algorithms::Algorithm;
use crate::ops::plans::{Alignments, Key, alignment, sums_in_f32_alone};
use crate::ops::{Accumulation, GpuFeature};

/// A row-major matrix, read as it lies or transposed.
#[derive(Debug, Clone, Copy)]
pub struct Operand {
    pub at: Address,
    pub dtype: DType,
    /// Elements from one row to the next.
    pub stride: usize,
    pub transposed: bool,
}

impl Operand {
    /// Rows of `stride` elements.
    pub fn rows(t: &Tensor, stride: usize) -> Result<Self> {
        Ok(Self {
            at: address(t)?,
            dtype: t.dtype(),
            stride,
            transposed: false,
        })
    }

    pub fn t(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Returns the operand without its first `n` rows.
    pub fn skip(self, n: usize) -> Self {
        let bytes = n * self.stride * self.dtype.size_in_bytes();
        Self {
            at: self.at + bytes as u64,
            ..self
        }
    }
}

/// The values that a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Accumulate {
    Nothing,
    Out,
    /// Another matrix with the layout of the output.
    Other(Address),
}

impl From<Accumulation> for Accumulate {
    fn from(how: Accumulation) -> Self {
        match how {
            Accumulation::Write => Self::Nothing,
            Accumulation::Add => Self::Out,
        }
    }
}

/// `out[M, N] = a[M, K] b[K, N] (+ onto)`, followed by the [`Epilogue`].
#[derive(Debug, Clone, Copy)]
pub struct Matmul {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: Operand,
    pub b: Operand,
    /// The output, which must not be transposed.
    pub out: Operand,
    pub onto: Accumulate,
    pub then: Epilogue,
}

/// Whether biases and GELUs are computed after products, by kernels of their own (`HEIRLOOM_EPILOGUES=apart`). With this setting, a card
/// whose cuBLASLt has the fused algorithms can test the fallback for cards whose cuBLASLt lacks them.
fn apart() -> bool {
    static APART: OnceLock<bool> = OnceLock::new();
    *APART.get_or_init(|| std::env::var_os("HEIRLOOM_EPILOGUES").is_some_and(|v| v == "apart"))
}

fn type_of(dtype: DType) -> Result<sys::cudaDataType> {
    match dtype {
        DType::F32 => Ok(sys::cudaDataType::CUDA_R_32F),
        DType::BF16 => Ok(sys::cudaDataType::CUDA_R_16BF),
        other => bail!("products of {other:?} are not made"),
    }
}

impl Matmul {
    fn key(&self) -> Key {
        let other = match self.onto {
            Accumulate::Other(at) => at,
            Accumulate::Nothing | Accumulate::Out => self.out.at,
        };
        Key {
            sizes: (self.m, self.k, self.n),
            strides: (self.a.stride, self.b.stride, self.out.stride),
            transposed: (self.a.transposed, self.b.transposed),
            dtypes: (self.a.dtype, self.out.dtype),
            alignments: Alignments::of(self.a.at, self.b.at, other, self.out.at, self.then.bias()),
            adds: !matches!(self.onto, Accumulate::Nothing),
            epilogue: self.then.code() as i32,
            pre: self.then.pre().map_or(0, alignment),
        }
    }

    /// Queues the product.
    ///
    /// # Safety
    /// The operands must have the given sizes, and the output must not overlap with another operand.
    pub unsafe fn queue(self, gpu: &Gpu) -> Result<()> {
        // SAFETY: as the caller guarantees.
        match unsafe { self.try_queue(gpu) }? {
            true => Ok(()),
            false => bail!(
                "cuBLASLt has no algorithm for a product of {} x {} by {} x {} in {:?}, {:?}",
                self.m,
                self.k,
                self.k,
                self.n,
                self.a.dtype,
                self.then
            ),
        }
    }

    /// Queues the product where cuBLASLt has an algorithm for it; returns whether it has.
    ///
    /// # Safety
    /// As for [`Self::queue`].
    pub unsafe fn try_queue(self, gpu: &Gpu) -> Result<bool> {
        if self.a.dtype != self.b.dtype {
            bail!("a product of {:?} by {:?}", self.a.dtype, self.b.dtype);
        }
        if !matches!(self.then, Epilogue::Nothing) && apart() {
            return Ok(false);
        }
        gpu.stream.context().bind_to_thread().map_err(driver)?;
        let mut products = gpu.products.lock().unwrap_or_else(PoisonError::into_inner);
        let CublasLt {
            handle,
            workspace,
            plans,
        } = &mut *products;
        let workspace = workspace.device_ptr(&gpu.stream).0;
        // SAFETY: as the caller guarantees.
        let make = || unsafe { self.plan(gpu, *handle, workspace) };
        let Some(plan) = plans.get_or_make(self.key(), make)? else {
            return Ok(false);
        };
        // SAFETY: as the caller guarantees.
        let done = unsafe {
            self.point(plan.desc)?;
            self.multiply(
                gpu,
                (*handle, workspace),
                plan,
                &plan.algorithm,
                self.out.at,
            )
        };
        match done {
            Ok(()) => Ok(true),
            // The library offered an algorithm and then refused the operands: later calls do not ask it again.
            Err(e) if is_unsupported(&e) => {
                plans.give_up(self.key());
                Ok(false)
            }
            Err(e) => Err(failed(e)),
        }
    }

    /// Queues the product with an algorithm, its output at an address.
    ///
    /// # Safety
    /// As for [`Self::queue`]; the plan must be this product's.
    unsafe fn multiply(
        &self,
        gpu: &Gpu,
        (handle, workspace): (sys::cublasLtHandle_t, Address),
        plan: &Plan,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        out: Address,
    ) -> std::result::Result<(), lt::CublasError> {
        let (alpha, beta) = (
            1f32,
            if matches!(self.onto, Accumulate::Nothing) {
                0f32
            } else {
                1f32
            },
        );
        let onto = match self.onto {
            Accumulate::Other(at) => at,
            Accumulate::Nothing | Accumulate::Out => self.out.at,
        };
        // SAFETY: addresses are the caller's, descriptions live in the plan, and the stream is the device's.
        unsafe {
            // cuBLASLt counts by columns: the transposed product, with the operands exchanged.
            lt::matmul(
                handle,
                plan.desc,
                std::ptr::from_ref(&alpha).cast(),
                std::ptr::from_ref(&beta).cast(),
                self.b.at as *const c_void,
                plan.a,
                self.a.at as *const c_void,
                plan.b,
                onto as *const c_void,
                plan.out,
                out as *mut c_void,
                plan.out,
                algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                gpu.stream.cu_stream().cast(),
            )
        }
    }

    /// Sets the addresses of the bias and of the GELU's operand.
    ///
    /// # Safety
    /// The description must live.
    unsafe fn point(&self, desc: sys::cublasLtMatmulDesc_t) -> Result<()> {
        // SAFETY: attributes have the types that cuBLASLt documents.
        unsafe {
            if let Some(bias) = self.then.bias() {
                set(desc, Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
            }
            if let Some(pre) = self.then.pre() {
                let stride = self.out.stride as i64;
                set(
                    desc,
                    Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                    &pre,
                )?;
                set(
                    desc,
                    Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                    &stride,
                )?;
            }
        }
        Ok(())
    }

    /// Asks cuBLASLt for an algorithm, or for several, of which the fastest is taken; `None` when it has none.
    ///
    /// # Safety
    /// As for [`Self::queue`]: algorithms are timed with the operands, and with memory of their own for the output.
    unsafe fn plan(
        &self,
        gpu: &Gpu,
        handle: sys::cublasLtHandle_t,
        workspace: Address,
    ) -> Result<Option<Plan>> {
        let (m, k, n) = (self.m as u64, self.k as u64, self.n as u64);
        let layout = |of: &Operand, rows: u64, columns: u64| {
            // A row-major matrix is, by columns, its transpose.
            let (rows, columns) = if of.transposed {
                (columns, rows)
            } else {
                (rows, columns)
            };
            lt::create_matrix_layout(type_of(of.dtype)?, columns, rows, of.stride as i64)
                .map_err(failed)
        };
        let desc = lt::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType::CUDA_R_32F,
        )
        .map_err(failed)?;
        let op = |of: &Operand| i32::from(of.transposed);
        // SAFETY: attributes have the types that cuBLASLt documents.
        unsafe {
            set(desc, Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &op(&self.b))?;
            set(desc, Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &op(&self.a))?;
            let epilogue = self.then.code();
            set(desc, Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            self.point(desc)?;
        }
        let (a, b, out) = (
            layout(&self.b, k, n)?,
            layout(&self.a, m, k)?,
            layout(&self.out, m, n)?,
        );
        // Owns the descriptions, so that they are freed if no algorithm is found.
        let mut plan = Plan {
            desc,
            a,
            b,
            out,
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        let found = match self.algorithms(handle, &plan) {
            Ok(found) => found,
            Err(e) if is_unsupported(&e) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let Some(first) = found.first() else {
            return Ok(None);
        };
        plan.algorithm.data = *first;
        if GpuFeature::TimedProducts.is_on() {
            let bytes = self.m * self.out.stride * self.out.dtype.size_in_bytes();
            let run = |algorithm: &Algorithm, out| {
                let algorithm = sys::cublasLtMatmulAlgo_t { data: *algorithm };
                // SAFETY: as the caller guarantees; there are `bytes` at `out`.
                unsafe { self.multiply(gpu, (handle, workspace), &plan, &algorithm, out) }.is_ok()
            };
            let product = format!("{:?}", self.key());
            // SAFETY: the plan owns its descriptions.
            let best =
                unsafe { algorithms::fastest(gpu, handle, &plan, &product, &found, bytes, run)? };
            if let Some(best) = best {
                plan.algorithm.data = best;
            }
        }
        Ok(Some(plan))
    }

    /// Asks cuBLASLt for its first choice of an algorithm, or for several if they are to be timed.
    fn algorithms(
        &self,
        handle: sys::cublasLtHandle_t,
        plan: &Plan,
    ) -> std::result::Result<Vec<Algorithm>, lt::CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
        let Alignments { a, b, onto, out } = self.key().alignments;
        let mut wishes = vec![
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, onto),
            (Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out),
        ];
        if sums_in_f32_alone(self.out.dtype) {
            use sys::cublasLtReductionScheme_t as Scheme;
            let schemes = Scheme::CUBLASLT_REDUCTION_SCHEME_NONE as u32
                | Scheme::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
            wishes.push((Wish::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes));
        }
        let wish = lt::create_matmul_pref()?;
        let ask = || {
            let room = std::ptr::from_ref(&WORKSPACE).cast();
            let most = Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            // SAFETY: attributes have the types that cuBLASLt documents: size_t here, uint32_t for all others.
            unsafe { lt::set_matmul_pref_attribute(wish, most, room, size_of::<usize>()) }?;
            for (attribute, value) in wishes {
                let value = std::ptr::from_ref(&value).cast();
                // SAFETY: as above.
                unsafe { lt::set_matmul_pref_attribute(wish, attribute, value, 4) }?;
            }
            if GpuFeature::TimedProducts.is_on() {
                // SAFETY: the descriptions live in the plan.
                return unsafe { algorithms::first_choices(handle, plan, wish) };
            }
            let Plan {
                desc, a, b, out, ..
            } = *plan;
            // SAFETY: the descriptions live in the plan.
            let found =
                unsafe { lt::get_matmul_algo_heuristic(handle, desc, a, b, out, out, wish) }?;
            Ok(vec![found.algo.data])
        };
        let found = ask();
        // SAFETY: made above, and used no more.
        unsafe { lt::destroy_matmul_pref(wish) }?;
        found
    }
}

use sys::cublasLtMatmulDescAttributes_t as Attribute;

/// # Safety
/// The attribute must be of type `T`.
unsafe fn set<T>(desc: sys::cublasLtMatmulDesc_t, attribute: Attribute, value: &T) -> Result<()> {
    // SAFETY: as the caller guarantees.
    unsafe {
        lt::set_matmul_desc_attribute(
            desc,
            attribute,
            std::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    }
    .map_err(failed)
}
