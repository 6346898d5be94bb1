//! Several weighted sources of training text.

use std::ops::Range;

/// The ranges of the sources in the training tokens, which follow one another, and how often each is drawn from. No
/// window crosses from one source into the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    range: Range<usize>,
    /// Cumulative weight up to and including this source.
    up_to: f64,
}

impl Mixture {
    /// One text of `n_tokens`.
    pub fn single(n_tokens: usize) -> Self {
        Self::new([(n_tokens, 1.0)])
    }

    /// Sources in the order of their tokens: number of tokens and weight, of which one must be above 0.
    pub fn new(sources: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let (mut start, mut sum) = (0, 0.0);
        let part = |(n, weight): (usize, f64)| {
            sum += weight;
            let range = start..start + n;
            start = range.end;
            Part { range, up_to: sum }
        };
        Self {
            parts: sources.into_iter().map(part).collect(),
        }
    }

    /// The same sources with other weights: none below 0, one above.
    pub fn with_weights(&self, weights: &[f64]) -> Self {
        let lengths = self.parts.iter().map(|part| part.range.len());
        Self::new(lengths.zip(weights.iter().copied()))
    }

    /// Number of sources.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether it has no sources.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The tokens of a source.
    pub fn range(&self, source: usize) -> Range<usize> {
        self.parts[source].range.clone()
    }

    /// Returns the source for a number drawn from 0 to 1.
    pub(super) fn source(&self, drawn: f64) -> usize {
        let sum = self.parts.last().map_or(0.0, |p| p.up_to);
        let at = self.parts.partition_point(|p| p.up_to <= drawn * sum);
        at.min(self.parts.len().saturating_sub(1))
    }
}
