//! NCCL's library: whether it is present, its version, its id of a run, and its error messages.

use std::ffi::CStr;

use candle_core::cuda_backend::cudarc::nccl::sys::{self, ncclComm_t, ncclResult_t, ncclUniqueId};

use super::address::{self, COMM_ID};
use crate::dist::DistError;

/// The first NCCL with all functions that are called, in NVIDIA's way of counting (`scripts/cuda/lazy_libraries.py`).
const OLDEST: i32 = 21_800;

/// The id by which ranks meet.
#[derive(Debug, Clone)]
pub enum Id {
    /// Every rank makes it from `NCCL_COMM_ID`, which is set.
    Environment,
    /// Rank 0 [has made it](make_id), and another library has carried it to every rank.
    Carried([u8; 128]),
}

impl Id {
    pub(super) fn unique(&self) -> Result<ncclUniqueId, DistError> {
        match self {
            Self::Environment => {
                let found = version()?;
                if found < address::IDS_AGREE {
                    return Err(DistError::Library(format!(
                        "NCCL {} was found, and ranks without MPI need {} or newer: pip install -U nvidia-nccl-cu12 (or -cu13), and its \
                         directory nvidia/nccl/lib in LD_LIBRARY_PATH; or start the ranks with mpirun",
                        address::version(found),
                        address::version(address::IDS_AGREE)
                    )));
                }
                unique(&format!(
                    "{COMM_ID} is {:?}",
                    std::env::var(COMM_ID).unwrap_or_default()
                ))
            }
            Self::Carried(bytes) => Ok(ncclUniqueId {
                internal: bytes.map(u8::cast_signed),
            }),
        }
    }
}

/// Checks that NCCL's library can be used.
///
/// # Errors
/// When it is missing, or too old; names the version to install.
pub fn is_there() -> Result<(), DistError> {
    version().map(drop)
}

/// Makes an id, on rank 0 alone: NCCL listens on a free port from now on.
///
/// # Errors
/// When NCCL's library is missing, or finds no network.
pub fn make_id() -> Result<[u8; 128], DistError> {
    version()?;
    let id = unique("no network that NCCL can use?")?;
    Ok(id.internal.map(i8::cast_unsigned))
}

fn unique(hint: &str) -> Result<ncclUniqueId, DistError> {
    let mut id = ncclUniqueId { internal: [0; 128] };
    // SAFETY: a place for an id.
    let result = unsafe { sys::ncclGetUniqueId(&raw mut id) };
    match result {
        ncclResult_t::ncclSuccess => Ok(id),
        failed => Err(DistError::Library(format!(
            "NCCL makes no id of this run: {} ({hint})",
            words(failed, std::ptr::null_mut())
        ))),
    }
}

/// Returns the library's version.
///
/// # Errors
/// When it is missing, or too old; names the version to install.
pub(super) fn version() -> Result<i32, DistError> {
    let mut version = 0;
    // SAFETY: a place for a number.
    let result = unsafe { sys::ncclGetVersion(&raw mut version) };
    // The call fails only if libnccl.so.2 is missing: a library that returns an error for every call is loaded in its place.
    if result != ncclResult_t::ncclSuccess {
        return Err(DistError::Library(
            "several GPUs need NCCL, and libnccl.so.2 is not found: install libnccl2 (NVIDIA's repository for your system) or \
             pip install nvidia-nccl-cu12 (or -cu13; PyTorch also brings it), and name its directory nvidia/nccl/lib in LD_LIBRARY_PATH"
                .into(),
        ));
    }
    if version < OLDEST {
        return Err(DistError::Library(format!(
            "NCCL {} was found, and {} or newer is needed: pip install -U nvidia-nccl-cu12 (or -cu13)",
            address::version(version),
            address::version(OLDEST)
        )));
    }
    Ok(version)
}

/// Describes an error of NCCL, with its last message in this process.
pub(super) fn words(result: ncclResult_t, comm: ncclComm_t) -> String {
    // SAFETY: both take these and return text that lives as long as the library, or null; a null communicator is allowed.
    let (kind, last) = unsafe { (sys::ncclGetErrorString(result), sys::ncclGetLastError(comm)) };
    let text = |words: *const std::ffi::c_char| {
        if words.is_null() {
            return String::new();
        }
        // SAFETY: the text ends with a zero, as NCCL documents.
        let words = unsafe { CStr::from_ptr(words) }.to_string_lossy();
        words.trim().to_string()
    };
    let (kind, last) = (text(kind), text(last));
    match (kind.is_empty(), last.is_empty()) {
        (_, true) => kind,
        (true, false) => last,
        (false, false) => format!("{kind}: {last}"),
    }
}
