//! What a run is trained on, as the trainer asks for it and as its journal describes it.

use candle_core::Device;

use super::memory::Held;
use crate::device::{self, Monitor};
use crate::run::GpuStats;

/// The device of a training, its monitor and the number of compute threads.
pub(super) struct Machine {
    device: Device,
    /// The device as users call it.
    name: String,
    monitor: Option<Monitor>,
    threads: usize,
    dtype_reason: Option<String>,
}

impl Machine {
    /// `dtype_reason` says why products are computed in the config's `train.dtype`.
    pub(super) fn new(
        device: Device,
        name: String,
        threads: usize,
        dtype_reason: Option<String>,
    ) -> Self {
        Self {
            monitor: device::monitor(&device),
            device,
            name,
            threads,
            dtype_reason,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The device's name in journals.
    pub(super) fn device_name(&self) -> &str {
        match self.device.is_cuda() {
            true => &self.name,
            false => "cpu",
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    pub(super) fn dtype_reason(&self) -> Option<&str> {
        self.dtype_reason.as_deref()
    }

    /// Measures how a GPU is doing, if the last measurement is long enough ago.
    pub(super) fn gpu_stats(&mut self) -> Option<GpuStats> {
        self.monitor.as_mut().and_then(Monitor::reading)
    }

    /// Asks for the memory that this process can have where it holds `on_gpu` bytes on a GPU, as one of `ranks` ranks of this host.
    pub(super) fn held(&self, on_gpu: u64, ranks: usize) -> Held {
        Held::now(&self.device, on_gpu, ranks)
    }
}
