//! The values that products are added to.

use super::mat::Mat;

/// The values that a product is added to.
#[derive(Clone, Copy)]
pub enum Accumulate {
    Nothing,
    /// The values that are there already.
    Out,
    Other(Mat),
}

impl Accumulate {
    pub(super) fn mat(self, out: *const f32, row: usize) -> Option<Mat> {
        match self {
            Self::Nothing => None,
            Self::Out => Some(Mat::new(out, row)),
            Self::Other(mat) => Some(mat),
        }
    }
}
