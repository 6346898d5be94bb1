//! Starts of the arms that the recipe is compared with (arXiv 2404.08634, section 4.3 and appendix D).

use super::{Origin, Start};
use crate::inherit::{self, InheritError};
use crate::model::{DecoderConfig, Part};
use crate::run::event;

/// Separates the random numbers of a baseline from those of the reference and the controls.
const BASELINE_SEED: u64 = 0x6261_7365;

impl Start {
    /// Random weights in the shape of the reference's first `n_layer` layers, independent of earlier training.
    pub fn random_baseline(n_layer: usize, seed: u64) -> Self {
        Self {
            name: event::Start::Random,
            layers: (0..n_layer).map(Origin::Reference).collect(),
            parts: Vec::new(),
            seed: seed ^ BASELINE_SEED,
            moments: false,
            n_head: None,
        }
    }

    /// The full model from scratch: [`Self::random_baseline`] with all of the reference's layers.
    pub fn full(reference_layers: usize, seed: u64) -> Self {
        Self::random_baseline(reference_layers, seed)
    }

    /// Hybrid stacking: both halves of the `n_layer` layers are the reference's first `n_layer / 2` layers. Each layer keeps its
    /// attention scale.
    ///
    /// # Errors
    /// When `n_layer` is odd or 0.
    pub fn hybrid(n_layer: usize) -> Result<Self, InheritError> {
        let half = Self::stack_height(n_layer)?;
        let layers = (0..half).chain(0..half).map(Origin::Reference);
        Ok(Self {
            name: event::Start::Hybrid,
            layers: layers.collect(),
            ..Self::reference(0)
        })
    }

    /// The second phase of stacking (Gong et al., "Efficient Training of BERT by Progressively Stacking", ICML 2019): the `half` layers of
    /// the model that was trained last, stacked twice, and that model's tensors outside the layers. Each layer keeps the attention scale of
    /// its source; AdamW's moments begin at zero. The first phase has [`Self::stack_height`] layers.
    ///
    /// # Errors
    /// When `half` is 0.
    pub fn stacked(half: usize) -> Result<Self, InheritError> {
        if half == 0 {
            return Err(InheritError::Nothing);
        }
        let layers = (0..half).chain(0..half).map(Origin::Own);
        Ok(Self {
            name: event::Start::Stack,
            layers: layers.collect(),
            ..Self::reference(0)
        })
    }

    /// The parts named in `what` of these layers of the reference, in this order; a layer may be named several times. The rest is
    /// random, with the numbers of [`Self::inherit`]. DistilBERT (arXiv 1910.01108) starts from every other layer; the ablation
    /// of sub-modules names parts.
    ///
    /// # Errors
    /// When no layer or no part is named.
    pub fn layers(layers: &[usize], what: &[Part], seed: u64) -> Result<Self, InheritError> {
        match (layers, what) {
            ([], _) => Err(InheritError::Nothing),
            (_, []) => Err(InheritError::NoPart),
            _ => Ok(Self {
                name: event::Start::Layers,
                ..Self::inherit(layers, what, seed)
            }),
        }
    }

    /// Half width: every layer of the reference, with `n_head` of its query heads, by default half of them, and the same share of
    /// its width ([`inherit::half_width`]).
    ///
    /// # Errors
    /// When the heads, the width, the MLP units or the key and value heads cannot be divided in this way.
    pub fn half_width(
        reference: &DecoderConfig,
        n_head: Option<usize>,
    ) -> Result<Self, InheritError> {
        let shape = inherit::half_width(reference, n_head)?;
        Ok(Self {
            name: event::Start::HalfWidth,
            n_head: Some(shape.n_head),
            ..Self::reference(reference.n_layer)
        })
    }

    /// Returns the number of layers of each of the two equal blocks of a stack of `n_layer` layers.
    ///
    /// # Errors
    /// When `n_layer` is odd or 0.
    pub fn stack_height(n_layer: usize) -> Result<usize, InheritError> {
        match n_layer {
            0 => Err(InheritError::Nothing),
            n if n.is_multiple_of(2) => Ok(n / 2),
            n => Err(InheritError::Odd(n)),
        }
    }
}
