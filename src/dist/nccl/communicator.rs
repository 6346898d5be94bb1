//! A communicator of NCCL: made without blocking, asked for its errors, aborted when ranks are lost.
//!
//! Calls are those of cudarc's `sys`: its safe layer panics when a communicator cannot be destroyed.

use std::ffi::c_void;
use std::mem::{ManuallyDrop, offset_of};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::cuda_backend::cudarc::nccl::sys::{
    self, cudaStream_t, ncclComm_t, ncclConfig_t, ncclDataType_t, ncclRedOp_t, ncclResult_t,
};

use super::library::{self, Id};
use super::limit::Limit;
use crate::dist::{DistError, Ranks};
use crate::threads;

/// The values that NCCL's header gives every new configuration (nccl.h: `NCCL_API_MAGIC`, `NCCL_CONFIG_UNDEF_INT`).
const MAGIC: u32 = 0xcafe_beef;
const UNSET: i32 = i32::MIN;

/// The configuration is NCCL 2.18's, which every later one reads: it ends with `splitShare`.
const CONFIG_VERSION: u32 = 21_800;
const CONFIG_SIZE: usize = offset_of!(ncclConfig_t, trafficClass).next_multiple_of(8);

/// Interval between two checks whether NCCL has finished a call.
const BETWEEN: Duration = Duration::from_micros(50);

/// Time that a communicator has to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// One rank's communicator.
#[derive(Debug)]
pub(super) struct Communicator {
    raw: ncclComm_t,
    rank: usize,
    limit: Limit,
    /// Another library that connects the ranks, if any: it detects ranks that are lost before they have joined.
    over: Option<Arc<dyn Ranks>>,
}

// SAFETY: NCCL's communicators may be used from any thread, from one at a time: this value is used under a lock.
unsafe impl Send for Communicator {}

/// A place in the GPU's memory and a number of bytes or elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) count: usize,
}

impl Place {
    fn pointer(self) -> *mut c_void {
        self.address as *mut c_void
    }
}

impl Communicator {
    /// Joins the others; the thread's current device is this rank's. Returns when all `world` ranks have joined.
    pub(super) fn join(
        rank: usize,
        world: usize,
        id: &Id,
        limit: Limit,
        over: Option<Arc<dyn Ranks>>,
    ) -> Result<Self, DistError> {
        library::version()?;
        let number = |n: usize| {
            i32::try_from(n)
                .map_err(|_| DistError::Library(format!("{n} ranks are more than NCCL counts")))
        };
        let (ranks, number) = (number(world)?, number(rank)?);
        let id = id.unique()?;
        let mut config = config();
        let mut comm = Self {
            raw: std::ptr::null_mut(),
            rank,
            limit,
            over,
        };
        // SAFETY: places that live through the call; the configuration is copied.
        let begun = unsafe {
            sys::ncclCommInitRankConfig(&raw mut comm.raw, ranks, id, number, &raw mut config)
        };
        let Err(error) = comm.settled(begun, "ranks meet") else {
            return Ok(comm);
        };
        comm.give_up();
        Err(match error {
            DistError::Library(why) => DistError::Library(format!(
                "rank {rank} of {world} cannot meet the others over NCCL: {why}. NCCL_DEBUG=INFO shows more"
            )),
            other => other,
        })
    }

    /// Waits until NCCL has finished a call. The work that it queues on a stream is then queued.
    fn settled(&self, mut result: ncclResult_t, what: &str) -> Result<(), DistError> {
        let start = Instant::now();
        while result == ncclResult_t::ncclInProgress {
            if start.elapsed() > self.limit.get() {
                return Err(DistError::Library(format!(
                    "while {what}, nothing came from other ranks for {} s (dist.timeout_s): a rank has not started, or no route \
                     leads to it",
                    self.limit.get().as_secs()
                )));
            }
            if let Some(over) = &self.over {
                over.check()?;
            }
            std::thread::sleep(BETWEEN);
            result = self.state();
        }
        match result {
            ncclResult_t::ncclSuccess => Ok(()),
            failed => Err(DistError::Library(format!(
                "while {what}, rank {} had this from NCCL: {}",
                self.rank,
                library::words(failed, std::ptr::null_mut())
            ))),
        }
    }

    /// Returns the state of the communicator.
    fn state(&self) -> ncclResult_t {
        if self.raw.is_null() {
            return ncclResult_t::ncclInvalidUsage;
        }
        let mut state = ncclResult_t::ncclSuccess;
        // SAFETY: a communicator that was not destroyed.
        match unsafe { sys::ncclCommGetAsyncError(self.raw, &raw mut state) } {
            ncclResult_t::ncclSuccess => state,
            failed => failed,
        }
    }

    /// Describes the error that NCCL has seen, if any.
    pub(super) fn error(&self) -> Option<String> {
        match self.state() {
            ncclResult_t::ncclSuccess | ncclResult_t::ncclInProgress => None,
            failed => Some(library::words(failed, std::ptr::null_mut())),
        }
    }

    /// Queues the sum of f32 over all ranks, in place.
    ///
    /// # Safety
    /// The place must hold that number of f32 of this rank's device until the stream has done the work.
    pub(super) unsafe fn sum(&self, at: Place, on: &CudaStream) -> Result<(), DistError> {
        let (f32, add) = (ncclDataType_t::ncclFloat32, ncclRedOp_t::ncclSum);
        // SAFETY: as the caller guarantees.
        let result = unsafe {
            sys::ncclAllReduce(
                at.pointer(),
                at.pointer(),
                at.count,
                f32,
                add,
                self.raw,
                stream(on),
            )
        };
        self.settled(result, "adding up")
    }

    /// Queues copies of bytes from rank `.0`'s place to the same one of every rank, all at once.
    ///
    /// # Safety
    /// As [`Self::sum`], in bytes.
    pub(super) unsafe fn broadcast(
        &self,
        parts: &[(usize, Place)],
        on: &CudaStream,
    ) -> Result<(), DistError> {
        const WHAT: &str = "copying to all ranks";
        // SAFETY: takes nothing.
        self.settled(unsafe { sys::ncclGroupStart() }, WHAT)?;
        let mut failed = None;
        for (root, at) in parts {
            let root = i32::try_from(*root).unwrap_or(i32::MAX);
            let bytes = ncclDataType_t::ncclUint8;
            // SAFETY: as the caller guarantees.
            let result = unsafe {
                sys::ncclBroadcast(
                    at.pointer(),
                    at.pointer(),
                    at.count,
                    bytes,
                    root,
                    self.raw,
                    stream(on),
                )
            };
            if !matches!(
                result,
                ncclResult_t::ncclSuccess | ncclResult_t::ncclInProgress
            ) {
                failed.get_or_insert(result);
            }
        }
        // SAFETY: takes nothing; ends the group in any case.
        let ended = unsafe { sys::ncclGroupEnd() };
        self.settled(failed.unwrap_or(ended), WHAT)
    }

    /// Queues the exchange of every rank's `bytes` bytes, which lie at `all + rank * bytes`.
    ///
    /// # Safety
    /// As [`Self::sum`]: `bytes` for each rank from `all` on.
    pub(super) unsafe fn all_gather(
        &self,
        all: u64,
        bytes: usize,
        on: &CudaStream,
    ) -> Result<(), DistError> {
        let from = all + (self.rank * bytes) as u64;
        let (from, to) = (from as *const c_void, all as *mut c_void);
        let kind = ncclDataType_t::ncclUint8;
        // SAFETY: as the caller guarantees.
        let result = unsafe { sys::ncclAllGather(from, to, bytes, kind, self.raw, stream(on)) };
        self.settled(result, "gathering from all ranks")
    }

    /// Aborts the work under way on this rank, after an error. Queued work returns.
    pub(super) fn give_up(self) {
        let comm = ManuallyDrop::new(self);
        end("nccl-abort", comm.raw, |raw| {
            // SAFETY: destroys a communicator that has not been destroyed, once.
            unsafe { sys::ncclCommAbort(raw) };
        });
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        end("nccl-end", self.raw, |raw| {
            let start = Instant::now();
            // SAFETY: a communicator that has not been destroyed; used on this thread alone from now on.
            unsafe {
                let mut result = sys::ncclCommFinalize(raw);
                while result == ncclResult_t::ncclInProgress && start.elapsed() < FAREWELL {
                    std::thread::sleep(BETWEEN);
                    let mut state = ncclResult_t::ncclSuccess;
                    let asked = sys::ncclCommGetAsyncError(raw, &raw mut state);
                    result = if asked == ncclResult_t::ncclSuccess {
                        state
                    } else {
                        asked
                    };
                }
                match result {
                    ncclResult_t::ncclSuccess => sys::ncclCommDestroy(raw),
                    _ => sys::ncclCommAbort(raw),
                };
            }
        });
    }
}

/// Ends a communicator on a thread of its own and waits a little: NCCL may wait for other ranks there, and the process, which
/// is about to end, must not.
fn end(name: &str, raw: ncclComm_t, how: impl FnOnce(ncclComm_t) + Send + 'static) {
    struct Last(ncclComm_t);
    // SAFETY: callers do not use the communicator afterwards.
    unsafe impl Send for Last {}
    impl Last {
        fn taken(self) -> ncclComm_t {
            self.0
        }
    }
    if raw.is_null() {
        return;
    }
    let last = Last(raw);
    let Ok(thread) = threads::spawn(name, move || how(last.taken())) else {
        return;
    };
    let start = Instant::now();
    while !thread.is_finished() && start.elapsed() < FAREWELL {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stream(of: &CudaStream) -> cudaStream_t {
    of.cu_stream().cast()
}

fn config() -> ncclConfig_t {
    // SAFETY: numbers and pointers, for which zero is a value.
    let mut config: ncclConfig_t = unsafe { std::mem::zeroed() };
    config.size = CONFIG_SIZE;
    config.magic = MAGIC;
    config.version = CONFIG_VERSION;
    config.blocking = 0;
    config.cgaClusterSize = UNSET;
    config.minCTAs = UNSET;
    config.maxCTAs = UNSET;
    config.splitShare = UNSET;
    config
}
