//! Parameters, gradients and moments as flat arenas: one allocation each, one view per tensor.

use candle_core::{DType, Device, Result, Tensor};

use super::part::Part;
use crate::ops;

/// One parameter tensor of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Name in the family's own files.
    pub name: String,
    /// The name with `{}` for the layer's number, equal for every layer.
    pub stem: &'static str,
    pub shape: Vec<usize>,
    pub part: Part,
    /// Block it belongs to.
    pub layer: Option<usize>,
    pub init: Init,
}

/// The initial values of a parameter that is not inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    Zero,
    One,
    Normal,
    /// A projection onto the residual stream: smaller by `sqrt(2 n_layer)`, as GPT-2's.
    Residual,
}

impl Param {
    /// Makes a parameter outside the blocks, or of block `layer`.
    pub(super) fn new(
        stem: &'static str,
        shape: &[usize],
        part: Part,
        layer: Option<usize>,
        init: Init,
    ) -> Self {
        let name = match layer {
            Some(layer) => stem.replacen("{}", &layer.to_string(), 1),
            None => stem.to_string(),
        };
        Self {
            name,
            stem,
            shape: shape.into(),
            part,
            layer,
            init,
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Always false: every parameter has elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether weight decay applies: to tensors with two or more dimensions (nanoGPT's rule).
    pub fn decays(&self) -> bool {
        self.shape.len() >= 2
    }
}

/// A flat tensor with a view for each parameter; f32, except in rounded copies.
#[derive(Debug, Clone)]
pub struct Arena {
    pub flat: Tensor,
    pub views: Vec<Tensor>,
}

impl Arena {
    /// Makes an arena of zeros for `params`, in their order and without gaps.
    pub fn zeros(params: &[Param], device: &Device) -> Result<Self> {
        Self::over(params, ops::zeros(total(params), device)?)
    }

    /// Makes an arena like [`Self::zeros`] in bf16.
    pub fn rounded(params: &[Param], device: &Device) -> Result<Self> {
        Self::over(params, ops::zeros_of(total(params), DType::BF16, device)?)
    }

    /// Makes an arena without tensors.
    pub fn empty(device: &Device) -> Result<Self> {
        Self::over(&[], ops::zeros(1, device)?)
    }

    fn over(params: &[Param], flat: Tensor) -> Result<Self> {
        let mut views = Vec::with_capacity(params.len());
        let mut offset = 0;
        for p in params {
            let view = flat.narrow(0, offset, p.len())?;
            views.push(view.reshape(p.shape.as_slice())?);
            offset += p.len();
        }
        Ok(Self { flat, views })
    }

    /// Returns `n` neighbouring tensors from `first` on, as one flat view.
    pub fn span(&self, params: &[Param], first: usize, n: usize) -> Result<Tensor> {
        let offset: usize = params[..first].iter().map(Param::len).sum();
        let len: usize = params[first..first + n].iter().map(Param::len).sum();
        self.flat.narrow(0, offset, len)
    }
}

fn total(params: &[Param]) -> usize {
    params.iter().map(Param::len).sum()
}
