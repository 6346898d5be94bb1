//! CUDA graphs: work that is recorded once and queued as a whole.

use std::fmt;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaGraph, sys};
use candle_core::{Device, Result, bail};

use super::Address;
use super::driver_error::driver;
use super::gpu::Gpu;

/// Recorded work. It has the addresses of its operands, which must be there whenever it is queued.
pub struct Graph {
    graph: CudaGraph,
    gpu: Arc<Gpu>,
    /// The address of the scratch memory during the recording.
    scratch: Option<Address>,
}

// SAFETY: the driver asks for one thread at a time; a graph is queued through `&self` of a value that is not `Sync`.
unsafe impl Send for Graph {}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

impl Graph {
    /// Records what `f` queues, without doing it. `f` must neither wait for the GPU nor allocate on it.
    ///
    /// # Errors
    /// When `f` fails, or the driver cannot record what it queues.
    pub fn record(device: &Device, f: impl FnOnce() -> Result<()>) -> Result<Self> {
        let gpu = Gpu::on(device)?;
        // Other threads may use the driver meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        gpu.stream.begin_capture(mode).map_err(driver)?;
        let done = f();
        // Recording ends even where `f` has failed; its error comes first.
        let flags = sys::CUgraphInstantiate_flags(0);
        let recorded = gpu.stream.end_capture(flags);
        done?;
        match recorded.map_err(driver)? {
            Some(graph) => Ok(Self {
                graph,
                scratch: gpu.scratch_place(),
                gpu,
            }),
            None => bail!("nothing was recorded for the GPU"),
        }
    }

    /// Whether scratch memory still has the address that was recorded. The owner checks all other operands.
    pub fn is_valid(&self) -> bool {
        self.scratch == self.gpu.scratch_place()
    }

    /// Queues the work.
    ///
    /// # Errors
    /// When the driver refuses it.
    pub fn queue(&self) -> Result<()> {
        self.graph.launch().map_err(driver)
    }
}
