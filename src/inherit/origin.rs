//! The origins of a new model's tensors.

use crate::model::{Param, Part};

/// The origin of a layer of a new model: the source, and the layer in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub source: usize,
    pub layer: usize,
}

/// The sources of the parts outside the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// Source of embeddings and positions.
    pub first: usize,
    /// Source of the final norm and the head; a tied head is the embedding.
    pub last: usize,
}

impl Ends {
    /// Returns the source of a part outside the layers.
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

/// The origin of a tensor of a new model.
pub struct Origin<'p> {
    /// The parameter of the new model.
    pub becomes: &'p Param,
    pub source: usize,
    /// Its layer in the source.
    pub layer: Option<usize>,
}

impl<'p> Origin<'p> {
    /// Returns the origin of a parameter of the new model.
    pub(super) fn of(p: &'p Param, layers: &[Taken], ends: Ends) -> Self {
        let taken = p.layer.map(|l| layers[l]);
        Self {
            becomes: p,
            source: taken.map_or(ends.source(p.part), |t| t.source),
            layer: taken.map(|t| t.layer),
        }
    }

    /// Returns the tensor's name in the source, by the family's naming.
    pub fn name(&self) -> String {
        let stem = self.becomes.stem;
        match self.layer {
            Some(layer) => stem.replacen("{}", &layer.to_string(), 1),
            None => stem.into(),
        }
    }
}
