//! Matrix products by cuBLASLt: operands of one type, sums in f32.

use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::PoisonError;

use candle_core::cuda_backend::cudarc::cublaslt::{result as lt, sys};
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{DType, Result, Tensor, bail};

use super::cublas::{CublasLt, Key, Plan, WORKSPACE, failed};
use super::driver_error::driver;
use super::gpu::Gpu;
use super::{Address, address};
use crate::ops::Accumulation;

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

    /// Without its first `n` rows.
    pub fn skip(self, n: usize) -> Self {
        let bytes = n * self.stride * self.dtype.size_in_bytes();
        Self {
            at: self.at + bytes as u64,
            ..self
        }
    }
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Accumulate {
    Nothing,
    Out,
    /// A matrix that lies as the output does.
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

/// What is done with a product before it is written.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue {
    Nothing,
    /// `+ bias[N]`, in the output's type.
    Bias(Address),
    /// The tanh-approximated GELU; what it is taken of, `+ bias[N]`, goes to `pre`, which lies as the output does.
    Gelu {
        bias: Option<Address>,
        pre: Address,
    },
    /// `* gelu'(pre)`.
    GeluSlope {
        pre: Address,
    },
}

impl Epilogue {
    fn epilogue(self) -> sys::cublasLtEpilogue_t {
        use sys::cublasLtEpilogue_t as Code;
        match self {
            Self::Nothing => Code::CUBLASLT_EPILOGUE_DEFAULT,
            Self::Bias(_) => Code::CUBLASLT_EPILOGUE_BIAS,
            Self::Gelu { bias: None, .. } => Code::CUBLASLT_EPILOGUE_GELU_AUX,
            Self::Gelu { bias: Some(_), .. } => Code::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
            Self::GeluSlope { .. } => Code::CUBLASLT_EPILOGUE_DGELU,
        }
    }

    fn bias(self) -> Option<Address> {
        match self {
            Self::Bias(bias) => Some(bias),
            Self::Gelu { bias, .. } => bias,
            Self::Nothing | Self::GeluSlope { .. } => None,
        }
    }

    fn pre(self) -> Option<Address> {
        match self {
            Self::Gelu { pre, .. } | Self::GeluSlope { pre } => Some(pre),
            Self::Nothing | Self::Bias(_) => None,
        }
    }
}

/// `out[M, N] = a[M, K] b[K, N] (+ onto)`, and then what [`Epilogue`] says.
#[derive(Debug, Clone, Copy)]
pub struct Matmul {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: Operand,
    pub b: Operand,
    /// Not transposed.
    pub out: Operand,
    pub onto: Accumulate,
    pub then: Epilogue,
}

fn type_of(dtype: DType) -> Result<sys::cudaDataType> {
    match dtype {
        DType::F32 => Ok(sys::cudaDataType::CUDA_R_32F),
        DType::BF16 => Ok(sys::cudaDataType::CUDA_R_16BF),
        other => bail!("products of {other:?} are not made"),
    }
}

/// The largest power of two up to 256 that divides an address.
fn alignment(at: Address) -> u64 {
    1 << at.trailing_zeros().min(8)
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
            alignment: (
                alignment(self.a.at),
                alignment(self.b.at),
                alignment(other),
                alignment(self.out.at),
            ),
            adds: !matches!(self.onto, Accumulate::Nothing),
            epilogue: self.then.epilogue() as i32,
            pre: self.then.pre().map_or(0, alignment),
        }
    }

    /// Queues the product.
    ///
    /// # Safety
    /// The operands must have the sizes told, and the output must overlap with none but itself.
    pub unsafe fn queue(self, gpu: &Gpu) -> Result<()> {
        if self.a.dtype != self.b.dtype {
            bail!("a product of {:?} by {:?}", self.a.dtype, self.b.dtype);
        }
        gpu.stream.context().bind_to_thread().map_err(driver)?;
        let mut products = gpu.products.lock().unwrap_or_else(PoisonError::into_inner);
        let CublasLt {
            handle,
            workspace,
            plans,
        } = &mut *products;
        let plan = match plans.entry(self.key()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.plan(*handle)?),
        };
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
            self.point(plan.desc)?;
            // cuBLASLt counts by columns: the transposed product, with the operands exchanged.
            lt::matmul(
                *handle,
                plan.desc,
                std::ptr::from_ref(&alpha).cast(),
                std::ptr::from_ref(&beta).cast(),
                self.b.at as *const c_void,
                plan.a,
                self.a.at as *const c_void,
                plan.b,
                onto as *const c_void,
                plan.out,
                self.out.at as *mut c_void,
                plan.out,
                &plan.algorithm,
                workspace.device_ptr(&gpu.stream).0 as *mut c_void,
                WORKSPACE,
                gpu.stream.cu_stream().cast(),
            )
            .map_err(failed)
        }
    }

    /// Tells where the bias and the GELU's operand lie.
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

    fn plan(&self, handle: sys::cublasLtHandle_t) -> Result<Plan> {
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
            let epilogue = self.then.epilogue();
            set(desc, Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            self.point(desc)?;
        }
        let (a, b, out) = (
            layout(&self.b, k, n)?,
            layout(&self.a, m, k)?,
            layout(&self.out, m, n)?,
        );
        let wish = lt::create_matmul_pref().map_err(failed)?;
        let key = self.key();
        use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
        let alignments = [
            (
                Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                key.alignment.1,
            ),
            (
                Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                key.alignment.0,
            ),
            (
                Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                key.alignment.2,
            ),
            (
                Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                key.alignment.3,
            ),
        ];
        // SAFETY: as above.
        let found = unsafe {
            let room = std::ptr::from_ref(&WORKSPACE).cast();
            let most = Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            lt::set_matmul_pref_attribute(wish, most, room, size_of::<usize>()).map_err(failed)?;
            for (attribute, bytes) in alignments {
                let bytes = bytes as u32;
                lt::set_matmul_pref_attribute(
                    wish,
                    attribute,
                    std::ptr::from_ref(&bytes).cast(),
                    4,
                )
                .map_err(failed)?;
            }
            let found = lt::get_matmul_algo_heuristic(handle, desc, a, b, out, out, wish);
            lt::destroy_matmul_pref(wish).map_err(failed)?;
            found
        };
        match found {
            Ok(found) => Ok(Plan {
                desc,
                a,
                b,
                out,
                algorithm: found.algo,
            }),
            Err(e) => bail!(
                "cuBLASLt has no way to make a product of {} x {} by {} x {} in {:?}: {e}",
                self.m,
                self.k,
                self.k,
                self.n,
                self.a.dtype
            ),
        }
    }
}

use sys::cublasLtMatmulDescAttributes_t as Attribute;

/// # Safety
/// The attribute must be of type `T`.
unsafe fn set<T>(desc: sys::cublasLtMatmulDesc_t, attribute: Attribute, value: &T) -> Result<()> {
    // SAFETY: as the caller says.
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
