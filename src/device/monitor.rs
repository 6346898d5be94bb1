//! Reads a GPU's load from NVIDIA's management library (NVML). It is opened at run time; where it is missing, nothing
//! is reported.

use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

use crate::run::GpuStats;

/// Time between two readings: each takes milliseconds in which the trainer does not queue work.
const BETWEEN: Duration = Duration::from_secs(10);

/// Reads one GPU's load from NVML at intervals.
pub struct Monitor {
    nvml: Nvml,
    /// The GPU's name among all, `GPU-...`.
    uuid: String,
    asked: Option<Instant>,
}

impl Monitor {
    /// Opens a monitor of the GPU with this UUID of the driver.
    pub fn open(uuid: [u8; 16]) -> Option<Self> {
        let hex: Vec<String> = uuid.iter().map(|b| format!("{b:02x}")).collect();
        let part = |from: usize, to: usize| hex[from..to].concat();
        let parts = [
            part(0, 4),
            part(4, 6),
            part(6, 8),
            part(8, 10),
            part(10, 16),
        ];
        Some(Self {
            nvml: Nvml::init().ok()?,
            uuid: format!("GPU-{}", parts.join("-")),
            asked: None,
        })
    }

    /// Returns a reading, if the last one is old enough.
    pub fn reading(&mut self) -> Option<GpuStats> {
        if self.asked.is_some_and(|at| at.elapsed() < BETWEEN) {
            return None;
        }
        self.asked = Some(Instant::now());
        let gpu = self.nvml.device_by_uuid(self.uuid.as_str()).ok()?;
        let memory = gpu.memory_info().ok()?;
        Some(GpuStats {
            utilization: gpu.utilization_rates().ok().map(|u| u.gpu),
            temperature: gpu.temperature(TemperatureSensor::Gpu).ok(),
            watts: gpu.power_usage().ok().map(|mw| f64::from(mw) / 1e3),
            memory_used: memory.used,
            memory_total: memory.total,
        })
    }
}
