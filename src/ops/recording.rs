//! Passes that a GPU's host describes once and then queues as a whole.

use candle_core::{Device, Result};

#[cfg(feature = "cuda")]
use super::clock;
#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "cuda")]
use super::gpu_features::GpuFeature;

/// Queues one and the same work again and again: with the feature `graph`, a GPU gets it as one CUDA graph from the second time
/// on. Elsewhere it is described each time.
#[derive(Debug, Default)]
pub struct Recording {
    #[cfg(feature = "cuda")]
    stage: Stage,
}

/// The state of a recording.
#[cfg(feature = "cuda")]
#[derive(Debug, Default)]
enum Stage {
    #[default]
    New,
    /// Kernels are loaded, products planned, and scratch memory is as large as the work needs. None of this may happen during a recording.
    Ready,
    Recorded(cuda::graph::Graph),
}

impl Recording {
    /// Whether work that is queued again on this device is replayed, without calling the function that describes it.
    pub fn replays(device: &Device) -> bool {
        #[cfg(feature = "cuda")]
        if device.is_cuda() && GpuFeature::Graph.is_on() && !clock::waits_for_gpu() {
            return true;
        }
        let _ = device;
        false
    }

    /// Queues what `f` queues, which must be the same at each call: the same ops on the same tensors with the same numbers. `f` may not be
    /// called at all, so it must not have other effects on the host.
    ///
    /// # Errors
    /// When `f` fails, or waits for the device or allocates on it.
    pub fn queue(&mut self, device: &Device, f: impl Fn() -> Result<()>) -> Result<()> {
        #[cfg(feature = "cuda")]
        if Self::replays(device) {
            return self.queue_recorded(device, f);
        }
        let _ = device;
        f()
    }

    #[cfg(feature = "cuda")]
    fn queue_recorded(&mut self, device: &Device, f: impl Fn() -> Result<()>) -> Result<()> {
        match &self.stage {
            Stage::Recorded(graph) if graph.is_valid() => return graph.queue(),
            Stage::Ready => {
                let graph = cuda::graph::Graph::record(device, f)?;
                graph.queue()?;
                self.stage = Stage::Recorded(graph);
            }
            Stage::New | Stage::Recorded(_) => {
                self.stage = Stage::New;
                f()?;
                self.stage = Stage::Ready;
            }
        }
        Ok(())
    }
}
