//! The layouts of linear layers' weights in memory.

use candle_core::{Result, Tensor};

/// The memory layout of a linear layer's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[in, out]`, GPT-2's Conv1D.
    InOut,
    /// `[out, in]`, PyTorch's Linear.
    OutIn,
}

impl Layout {
    /// (in, out) of a weight.
    pub(super) fn sizes(self, w: &Tensor) -> Result<(usize, usize)> {
        let (rows, columns) = w.dims2()?;
        Ok(match self {
            Self::InOut => (rows, columns),
            Self::OutIn => (columns, rows),
        })
    }
}
