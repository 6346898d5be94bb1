//! A GPU's readings, as a run reports them.

use serde::{Deserialize, Serialize};

/// A GPU's readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GpuStats {
    /// Percent of the last second or so in which it worked.
    pub utilization: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    pub watts: Option<f64>,
    /// Bytes, those of other programs included.
    pub memory_used: u64,
    pub memory_total: u64,
}
