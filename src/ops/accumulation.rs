//! Whether a gradient replaces the values of its destination or is added to them.

/// Selects how a gradient is written to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulation {
    /// Replaces the values. The first pass of a step may do so, which saves zeroing them before.
    Write,
    /// Adds to the values.
    Add,
}
