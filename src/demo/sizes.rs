//! Sizes and training steps of the examples.

/// Sizes of an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Tokens of a window.
    pub time: usize,
    pub width: usize,
    pub heads: usize,
    pub batch: usize,
}

/// Steps for which the network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    pub all: usize,
    /// Steps between probes.
    pub every: usize,
    /// Adam's learning rate.
    pub lr: f64,
}

impl Sizes {
    pub(super) fn head_size(self) -> usize {
        self.width / self.heads
    }
}
