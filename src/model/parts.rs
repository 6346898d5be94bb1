//! A model's tensors by their role: views into an arena. Parameters and gradients have the same form.

use candle_core::{Device, Result, Tensor};

use super::arena::{Arena, Param};
use super::config::{DecoderConfig, Norms, Positions};
use super::family;
use crate::ops::{self, Layout};

/// A norm: weight, bias, and both in one span (for gradients).
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub span: Tensor,
}

/// A linear layer; neighbouring tensors (`q, k, v`) may be one.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub layout: Layout,
}

#[derive(Debug, Clone)]
pub(super) struct Block {
    pub norm_1: Norm,
    pub qkv: Linear,
    pub attention_out: Linear,
    pub norm_2: Norm,
    /// The first matrix of the MLP, which in a gated MLP contains gate and up.
    pub fc: Linear,
    pub fc_out: Linear,
}

#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub wte: Tensor,
    pub wpe: Option<Tensor>,
    pub blocks: Vec<Block>,
    pub norm_final: Norm,
    /// `[V, C]`; the token embedding when tied.
    pub head: Tensor,
}

impl Parts {
    /// Names the arena's tensors, in the order of [`DecoderConfig::params`].
    pub fn view(
        config: &DecoderConfig,
        params: &[Param],
        arena: &Arena,
        device: &Device,
    ) -> Result<Self> {
        let mut next = Next {
            config,
            params,
            arena,
            at: 0,
            without_weight: match config.norm {
                Norms::Plain => Some(ones(config.n_embd, device)?),
                Norms::LayerNorm | Norms::RmsNorm => None,
            },
        };
        let wte = next.tensor();
        let wpe = matches!(config.positions, Positions::Learned).then(|| next.tensor());
        let (c, att) = (config.n_embd, config.attention_width());
        let b = config.biases;
        let mut blocks = Vec::with_capacity(config.n_layer);
        for _ in 0..config.n_layer {
            blocks.push(Block {
                norm_1: next.norm()?,
                qkv: next.linear(family::qkv_tensors(config), c, config.qkv_width(), b.qkv)?,
                attention_out: next.linear(1, att, c, b.attention_out)?,
                norm_2: next.norm()?,
                fc: next.linear(family::fc_tensors(config), c, config.fc_width(), b.mlp)?,
                fc_out: next.linear(1, config.n_inner, c, b.mlp)?,
            });
        }
        let norm_final = next.norm()?;
        let head = match config.tied_head {
            true => wte.clone(),
            false => next.tensor(),
        };
        Ok(Self {
            wte,
            wpe,
            blocks,
            norm_final,
            head,
        })
    }
}

/// Makes a tensor of ones without a kernel of candle, since candle's kernels are compiled for a single kind of GPU.
fn ones(n: usize, device: &Device) -> Result<Tensor> {
    let all = ops::zeros(n, device)?;
    ops::write(&all, &vec![1.0f32; n])?;
    Ok(all)
}

/// Walks along an arena.
struct Next<'a> {
    config: &'a DecoderConfig,
    params: &'a [Param],
    arena: &'a Arena,
    at: usize,
    /// Takes the place of the weight of norms without one. As a gradient it is written but never read.
    without_weight: Option<Tensor>,
}

impl Next<'_> {
    fn tensor(&mut self) -> Tensor {
        self.at += 1;
        self.arena.views[self.at - 1].clone()
    }

    fn span(&mut self, n: usize) -> Result<Tensor> {
        self.at += n;
        self.arena.span(self.params, self.at - n, n)
    }

    fn norm(&mut self) -> Result<Norm> {
        if let Some(ones) = &self.without_weight {
            return Ok(Norm {
                weight: ones.clone(),
                bias: None,
                span: ones.clone(),
            });
        }
        let bias = self.config.biases.norms;
        let first = self.at;
        let weight = self.tensor();
        let bias = bias.then(|| self.tensor());
        let span = self
            .arena
            .span(self.params, first, 1 + usize::from(bias.is_some()))?;
        Ok(Norm { weight, bias, span })
    }

    fn linear(&mut self, tensors: usize, k: usize, n: usize, bias: bool) -> Result<Linear> {
        let flat = self.span(tensors)?;
        let layout = family::layout(self.config);
        let weight = match layout {
            Layout::InOut => flat.reshape((k, n))?,
            Layout::OutIn => flat.reshape((n, k))?,
        };
        let bias = bias.then(|| self.span(tensors)).transpose()?;
        Ok(Linear {
            weight,
            bias,
            layout,
        })
    }
}
