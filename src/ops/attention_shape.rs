//! Sizes of an attention, as its operations and their kernels need them.

/// Sizes of a multi-head attention with H query heads and K key and value heads of D channels.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    pub batch: usize,
    pub time: usize,
    pub n_head: usize,
    /// Divides `n_head`; neighbouring query heads share one.
    pub n_kv_head: usize,
    pub head_size: usize,
    /// Factor of the scores, usually `1/sqrt(head_size)`.
    pub scale: f32,
}

impl AttentionShape {
    /// Elements of a position's queries, keys and values.
    pub fn row(&self) -> usize {
        (self.n_head + 2 * self.n_kv_head) * self.head_size
    }

    /// Elements of a position's output.
    pub fn width(&self) -> usize {
        self.n_head * self.head_size
    }
}
