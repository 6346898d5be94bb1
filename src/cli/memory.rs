//! Refuses what does not fit into memory before it is begun.

use anyhow::Result;

use crate::run::table::bytes;

/// Refuses work that needs more memory than the machine has.
///
/// # Errors
/// Names how much is needed, and how much there is.
pub(super) fn check_memory(need: u64, device: &candle_core::Device, what: &str) -> Result<()> {
    match crate::train::memory::free(device, 1) {
        Some(free) if need > free => anyhow::bail!(
            "{what} needs {}, {} of memory are free",
            bytes(need),
            bytes(free)
        ),
        // If the system does not report its memory, the work is attempted.
        _ => Ok(()),
    }
}
