//! The memory of candle tensors, lent to the library.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use super::calls::{Kind, Place};
use crate::dist::DistError;

/// A tensor whose memory the library uses. It is kept until the library is done with it.
#[derive(Debug)]
pub struct Lent {
    tensor: Tensor,
    place: *mut c_void,
}

// SAFETY: the pointer is into memory that the tensor keeps, which may be used on any thread; only one thread at a time has
// the value.
unsafe impl Send for Lent {}

/// An in-place operation that finds where a tensor's numbers begin.
struct Find(Cell<*mut c_void>);

impl InplaceOp1 for Find {
    fn name(&self) -> &'static str {
        "lend to MPI"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(all) = storage else {
            bail!("ranks exchange f32 tensors only")
        };
        match layout.contiguous_offsets() {
            Some((from, to)) => self.0.set(all[from..to].as_mut_ptr().cast()),
            None => bail!("ranks exchange contiguous tensors only, not {layout:?}"),
        }
        Ok(())
    }
}

impl Lent {
    /// Lends a contiguous f32 tensor of the CPU. Until the library is done with it, nothing else may read or write it: that
    /// is what [`Ranks`](crate::dist::Ranks) asks of callers.
    ///
    /// # Errors
    /// For other tensors.
    pub fn new(tensor: &Tensor) -> std::result::Result<Self, DistError> {
        if !tensor.device().is_cpu() {
            let message = "MPI exchanges the CPU's tensors only: ranks on GPUs exchange over NCCL";
            return Err(DistError::Library(message.into()));
        }
        let find = Find(Cell::new(ptr::null_mut()));
        tensor.inplace_op1(&find)?;
        Ok(Self {
            tensor: tensor.clone(),
            place: find.0.get(),
        })
    }

    /// All of it.
    pub fn place(&self) -> Place {
        // SAFETY: the pointer was found in this tensor's storage, of type f32, behind which lie as many numbers as a contiguous
        // layout has elements. The storage is kept by `self.tensor`, and neither moves nor shrinks: no operation of candle
        // resizes one. That this part is not used otherwise meanwhile is the caller's promise to `Ranks`; the worker keeps `self`
        // until the library is done, and leaks it after a failure.
        unsafe { Place::new(self.place, self.tensor.elem_count(), Kind::F32) }
    }
}
