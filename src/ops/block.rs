//! A matrix within a larger matrix.

use candle_core::{Result, Tensor, bail};

/// Columns of a larger matrix: `columns` of its `stride` columns, from `first` on, in all `rows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub rows: usize,
    pub columns: usize,
    pub first: usize,
    pub stride: usize,
}

impl Block {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.rows * self.columns
    }

    /// Rejects tensors that do not contain this block.
    pub(super) fn check(&self, whole: &Tensor, own: &Tensor) -> Result<()> {
        let fits = self.columns > 0
            && self.first + self.columns <= self.stride
            && whole.elem_count() == self.rows * self.stride
            && own.elem_count() == self.elements();
        match fits {
            true => Ok(()),
            false => bail!(
                "{self:?} of {:?} in a tensor of {:?}",
                whole.shape(),
                own.shape()
            ),
        }
    }
}
