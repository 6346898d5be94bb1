//! Where the tensors of a new model come from.

use crate::model::{Param, Part};

/// Where a layer of a new model comes from: which source, and which of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub source: usize,
    pub layer: usize,
}

/// The sources of what lies outside the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// Of embeddings and positions.
    pub first: usize,
    /// Of the final norm and the head; a tied head is the embedding.
    pub last: usize,
}

impl Ends {
    /// The source of a part outside the layers.
    pub fn source(self, part: Part) -> usize {
        if Self::is_last(part) {
            self.last
        } else {
            self.first
        }
    }

    pub(super) fn is_last(part: Part) -> bool {
        matches!(part, Part::FinalNorm | Part::Head)
    }
}

/// A tensor on its way into a new model.
pub struct Origin<'p> {
    /// The target.
    pub becomes: &'p Param,
    pub source: usize,
    /// Its layer in the source.
    pub layer: Option<usize>,
}

impl<'p> Origin<'p> {
    /// Where a parameter of the new model comes from.
    pub(super) fn of(p: &'p Param, layers: &[Taken], ends: Ends) -> Self {
        let taken = p.layer.map(|l| layers[l]);
        Self {
            becomes: p,
            source: taken.map_or(ends.source(p.part), |t| t.source),
            layer: taken.map(|t| t.layer),
        }
    }

    /// Its name in the source, as the family has it.
    pub fn name(&self) -> String {
        let stem = self.becomes.stem;
        match self.layer {
            Some(layer) => stem.replacen("{}", &layer.to_string(), 1),
            None => stem.into(),
        }
    }
}
