//! Epilogues: operations that cuBLASLt applies to a product before it writes it.

use candle_core::cuda_backend::cudarc::cublaslt::sys;

use super::Address;

/// An operation on a product before it is written.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue {
    Nothing,
    /// `+ bias[N]`, in the output's type.
    Bias(Address),
    /// The tanh-approximated GELU of the product `+ bias[N]`. Its argument is written to `pre`, which has the layout of the output.
    Gelu {
        bias: Option<Address>,
        pre: Address,
    },
    /// `* gelu'(pre)`.
    GeluSlope {
        pre: Address,
    },
    /// The product is unchanged. The sums of `a` over K, one for each of M, are written to this address, in the output's type.
    SumsOfA(Address),
    /// The same for the sums of `b`, one for each of N.
    SumsOfB(Address),
}

impl Epilogue {
    pub(super) fn code(self) -> sys::cublasLtEpilogue_t {
        use sys::cublasLtEpilogue_t as Code;
        match self {
            Self::Nothing => Code::CUBLASLT_EPILOGUE_DEFAULT,
            Self::Bias(_) => Code::CUBLASLT_EPILOGUE_BIAS,
            Self::Gelu { bias: None, .. } => Code::CUBLASLT_EPILOGUE_GELU_AUX,
            Self::Gelu { bias: Some(_), .. } => Code::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
            Self::GeluSlope { .. } => Code::CUBLASLT_EPILOGUE_DGELU,
            // The operands are exchanged: cuBLASLt's A is `b`.
            Self::SumsOfA(_) => Code::CUBLASLT_EPILOGUE_BGRADB,
            Self::SumsOfB(_) => Code::CUBLASLT_EPILOGUE_BGRADA,
        }
    }

    pub(super) fn bias(self) -> Option<Address> {
        match self {
            Self::Bias(at) | Self::SumsOfA(at) | Self::SumsOfB(at) => Some(at),
            Self::Gelu { bias, .. } => bias,
            Self::Nothing | Self::GeluSlope { .. } => None,
        }
    }

    pub(super) fn pre(self) -> Option<Address> {
        match self {
            Self::Gelu { pre, .. } | Self::GeluSlope { pre } => Some(pre),
            Self::Nothing | Self::Bias(_) | Self::SumsOfA(_) | Self::SumsOfB(_) => None,
        }
    }
}
