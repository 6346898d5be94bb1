//! The machine that trains a run: the trainer's access to it, and its description for the journal.

use candle_core::Device;

use super::memory::Held;
use crate::device::{self, Monitor};
use crate::run::GpuStats;

/// The device of a training, its monitor and the number of compute threads.
pub(super) struct Machine {
    device: Device,
    /// `cpu`, or the number and name of the GPU.
    name: String,
    monitor: Option<Monitor>,
    threads: usize,
    dtype_reason: Option<String>,
}

impl Machine {
    /// Begins to watch a device. `dtype_reason` is the reason why products are computed in the config's `train.dtype`.
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

    /// Reads the GPU's state, if the last reading is long enough ago.
    pub(super) fn gpu_stats(&mut self) -> Option<GpuStats> {
        self.monitor.as_mut().and_then(Monitor::reading)
    }

    /// Asks for the memory that is available to this process, which holds `on_gpu` bytes on a GPU and is one of `ranks` ranks of this
    /// host.
    pub(super) fn held(&self, on_gpu: u64, ranks: usize) -> Held {
        Held::now(&self.device, on_gpu, ranks)
    }
}
