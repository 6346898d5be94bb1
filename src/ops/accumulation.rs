//! Whether a gradient replaces the values of its destination or is added to them.

/// What a gradient does to the values of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulation {
    /// Replaces them, as the first pass of a step may: nothing need be zeroed before.
    Write,
    /// Is added to them.
    Add,
}
