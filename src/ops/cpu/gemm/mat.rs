//! Matrix operands in memory.

/// A matrix operand: where it starts and how far apart its rows and columns lie. One of the two is 1.
#[derive(Clone, Copy)]
pub struct Mat {
    pub(super) ptr: *const f32,
    pub(super) row: usize,
    pub(super) col: usize,
}

// SAFETY: a borrowed view; the caller that makes one guarantees that nothing writes to its memory meanwhile.
unsafe impl Send for Mat {}

// SAFETY: as above.
unsafe impl Sync for Mat {}

impl Mat {
    /// A matrix whose rows lie `row` apart.
    pub(super) fn new(ptr: *const f32, row: usize) -> Self {
        Self { ptr, row, col: 1 }
    }

    /// A row-major matrix of `cols` columns.
    pub fn rows(data: &[f32], cols: usize) -> Self {
        Self::strided(data, 0, cols)
    }

    /// A matrix whose rows are all this row.
    pub fn repeated(row: &[f32]) -> Self {
        Self::strided(row, 0, 0)
    }

    /// A matrix that starts at `offset` and whose rows lie `row` apart.
    pub fn strided(data: &[f32], offset: usize, row: usize) -> Self {
        Self::new(data[offset..].as_ptr(), row)
    }

    /// The matrix that begins `rows` further down and `cols` further right.
    pub(super) fn at(self, rows: usize, cols: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_add(rows * self.row + cols * self.col),
            ..self
        }
    }

    /// The same matrix transposed.
    pub fn t(self) -> Self {
        Self {
            ptr: self.ptr,
            row: self.col,
            col: self.row,
        }
    }
}
