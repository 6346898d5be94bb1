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

/// Rows of a text that follow one another in a pass over texts of many lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// The rows that it continues, from the text's beginning: first row and number. 0 rows where it begins a text.
    pub prefix: (usize, usize),
}

impl Stretch {
    /// Whether the stretches are not empty, follow one another without overlap, and lie within `rows` rows with their
    /// prefixes.
    pub(super) fn are_apart(all: &[Self], rows: usize) -> bool {
        let inside = |s: &Self| {
            let own = s.start.checked_add(s.len).is_some_and(|end| end <= rows);
            let prefix = s.prefix.0.checked_add(s.prefix.1);
            s.len > 0 && own && prefix.is_some_and(|end| end <= rows)
        };
        all.iter().all(inside) && all.windows(2).all(|w| w[0].start + w[0].len <= w[1].start)
    }
}
