//! Groups adjacent tensors of an arena.

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::model::Param;

/// Adjacent tensors of an arena.
pub struct Span {
    /// Indices of the tensors.
    pub params: Range<usize>,
    /// First element, and number of elements.
    pub offset: usize,
    pub len: usize,
}

impl Span {
    /// Its elements.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len
    }

    /// Returns this part of an arena.
    pub fn of(&self, flat: &Tensor) -> Result<Tensor> {
        flat.narrow(0, self.offset, self.len)
    }
}

/// Returns the longest spans of tensors for which `has` is true, in order. If it is true for all, this is one span, so that sums
/// are taken in the same order as over the whole arena.
pub fn spans(params: &[Param], has: impl Fn(&Param) -> bool) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut offset = 0;
    let mut interrupted = true;
    for (i, p) in params.iter().enumerate() {
        let is_in = has(p);
        match spans.last_mut() {
            _ if !is_in => {}
            Some(span) if !interrupted => {
                span.params.end = i + 1;
                span.len += p.len();
            }
            _ => spans.push(Span {
                params: i..i + 1,
                offset,
                len: p.len(),
            }),
        }
        interrupted = !is_in;
        offset += p.len();
    }
    spans
}
