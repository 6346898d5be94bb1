//! Muon over a model's hidden matrices ([`ops::muon_momentum`] names its source). [`Param::is_hidden_matrix`] decides which tensors these
//! are; AdamW updates all others. Of AdamW's two moments Muon uses only the first, as its momentum.

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::MuonScale;
use crate::model::{DecoderConfig, HiddenMatrix, Param};
use crate::ops::{self, MuonRoom};

/// Muon's settings for one update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Muon {
    /// Learning rate, before the factor for a matrix's shape.
    pub lr: f64,
    pub momentum: f64,
    pub scale: MuonScale,
}

/// The factor on a matrix's rate by its shape.
fn factor(scale: MuonScale, matrix: &HiddenMatrix) -> f64 {
    let (inputs, outputs) = (matrix.inputs as f64, matrix.outputs as f64);
    match scale {
        MuonScale::Original => (outputs / inputs).max(1.0).sqrt(),
        MuonScale::MatchRmsAdamw => 0.2 * inputs.max(outputs).sqrt(),
    }
}

/// Scratch memory for orthogonalising matrices.
#[derive(Debug)]
pub struct Room {
    direction: Tensor,
    work: MuonRoom,
}

/// Returns the elements of a model's largest hidden matrix, and the largest of their smaller dimensions.
fn largest(config: &DecoderConfig) -> (usize, usize) {
    let params = config.params();
    let hidden = params.iter().filter(|p| p.is_hidden_matrix());
    let all = hidden.flat_map(|p| config.hidden_matrices(p));
    all.fold((0, 0), |(elements, side), m| {
        let own = m.inputs.min(m.outputs);
        (elements.max(m.block.elements()), side.max(own))
    })
}

impl Room {
    /// Allocates scratch memory for the hidden matrices of a model.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(config: &DecoderConfig, device: &Device) -> Result<Self> {
        let (elements, side) = largest(config);
        Ok(Self {
            direction: ops::zeros(elements, device)?,
            work: MuonRoom::new(elements, side, device)?,
        })
    }

    /// Returns its bytes.
    pub fn bytes(config: &DecoderConfig) -> u64 {
        let (elements, side) = largest(config);
        (size_of::<f32>() * 2 * (elements + side * side)) as u64
    }
}

/// Returns the floating-point operations of the products of one update of all hidden matrices.
pub fn flops(config: &DecoderConfig) -> f64 {
    let params = config.params();
    let hidden = params.iter().filter(|p| p.is_hidden_matrix());
    let all = hidden.flat_map(|p| config.hidden_matrices(p));
    all.map(|m| ops::orthogonalize_flops(m.inputs, m.outputs))
        .sum()
}

/// A tensor's values, momentum and gradient, and the bf16 copy of the values, if any.
pub struct Operands<'a> {
    pub p: &'a Tensor,
    pub rounded: Option<&'a Tensor>,
    pub m: &'a Tensor,
    pub g: &'a Tensor,
}

/// Updates a tensor of hidden matrices once, with the gradient scaled by `grad_scale`.
///
/// # Errors
/// When an operation fails.
pub fn update(
    config: &DecoderConfig,
    param: &Param,
    of: &Operands<'_>,
    room: &Room,
    muon: &Muon,
    (weight_decay, grad_scale): (f64, f64),
) -> Result<()> {
    for matrix in config.hidden_matrices(param) {
        let block = matrix.block;
        let direction = room.direction.narrow(0, 0, block.elements())?;
        let direction = direction.reshape((block.rows, block.columns))?;
        let momentum = muon.momentum as f32;
        ops::muon_momentum(&direction, of.m, of.g, block, momentum, grad_scale as f32)?;
        let direction = ops::orthogonalize(&direction, &room.work)?;
        let keep = 1.0 - muon.lr * weight_decay;
        let lr = muon.lr * factor(muon.scale, &matrix);
        ops::muon_weights(of.p, of.rounded, &direction, block, keep as f32, lr as f32)?;
    }
    Ok(())
}
