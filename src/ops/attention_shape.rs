//! Sizes of an attention, as its operations and their kernels need them.

use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// The index of the branch that it continues; `None` at the beginning of a text. Several branches may continue the same one.
    pub after: Option<usize>,
}

impl Branch {
    /// Whether the branches are not empty, follow one another without overlap, lie within `rows` rows and continue
    /// earlier ones.
    pub(super) fn are_apart(all: &[Self], rows: usize) -> bool {
        let inside = |(i, s): (usize, &Self)| {
            let own = s.start.checked_add(s.len).is_some_and(|end| end <= rows);
            s.len > 0 && own && s.after.is_none_or(|after| after < i)
        };
        all.iter().enumerate().all(inside)
            && all.windows(2).all(|w| w[0].start + w[0].len <= w[1].start)
    }

    /// Returns the position of each branch's first row in its text: the number of rows of the branches that it continues. `None` if a
    /// branch continues one that is not earlier.
    pub fn pasts(all: &[Self]) -> Option<Vec<usize>> {
        let mut pasts: Vec<usize> = Vec::with_capacity(all.len());
        for branch in all {
            pasts.push(match branch.after {
                None => 0,
                Some(after) => pasts.get(after)? + all[after].len,
            });
        }
        Some(pasts)
    }

    /// Returns the branches of a text up to branch `i`, from the text's beginning.
    pub(super) fn chain(all: &[Self], i: usize) -> Vec<Self> {
        let mut chain = vec![all[i]];
        while let Some(after) = chain.last().and_then(|s| s.after) {
            chain.push(all[after]);
        }
        chain.reverse();
        chain
    }
}
