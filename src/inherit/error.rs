//! Errors of making a model from layers of others.

use crate::model::ModelError;
use crate::tensors::DType;

#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error(
        "tensor {name} has {value} times its scale, which {dtype} cannot hold; write dtype: float32 or another scale in the recipe"
    )]
    DoesNotFit {
        name: String,
        value: f32,
        dtype: DType,
    },
    #[error("missing layer: layer {layer} of a model of {n_layer}, counted from 0")]
    NoLayer { layer: usize, n_layer: usize },
    #[error("no layer is selected")]
    Nothing,
    #[error("no part of a layer is selected; start = \"random\" uses nothing of the reference")]
    NoPart,
    #[error(
        "a stack is one block of layers twice, so the final model needs an even number of layers, and has {0}; choose inherit.layers, grow.step and grow.max_layers for an even number, or another start"
    )]
    Odd(usize),
    #[error("half the width: {what}; {advice}")]
    NotHalved { what: String, advice: String },
    #[error("cannot keep {keep} of the model's {n_layer} layers")]
    TooMany { keep: usize, n_layer: usize },
    #[error("the layers cannot be compared: their {0} on these windows is not finite")]
    NotFinite(&'static str),
    #[error("models {0} and {1} cannot be put together: {2} differs")]
    Unlike(usize, usize, &'static str),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl From<candle_core::Error> for InheritError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}
