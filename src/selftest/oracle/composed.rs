//! A complete model of candle-nn's layers, with candle's autograd. Its tensors are found by their names.

use std::collections::HashMap;

use candle_core::{DType, Device, Error, Result, Tensor, Var};
use candle_nn::{Embedding, LayerNorm, Linear, Module, RmsNorm};

use super::attention::{Attention, turned};
use super::layers::{gelu, gelu_erf, rows_of_outputs};
use super::{exact, variable};
use crate::model::{Decoder, DecoderConfig, Family, Mlp, Norms, Param, Positions};
use crate::ops::{AttentionShape, Layout};

/// The model, whose parameters are variables in f64.
pub struct Composed<'a> {
    config: &'a DecoderConfig,
    /// Variables in the order of the model's parameters.
    pub vars: Vec<Var>,
    by_name: HashMap<&'a str, usize>,
}

impl<'a> Composed<'a> {
    /// Makes a composed model with the same weights as `model`.
    pub fn of(model: &'a Decoder) -> Result<Self> {
        let exactly = |(i, p): (usize, &Param)| {
            let values = model.weights.read(i)?.into_iter().map(f64::from).collect();
            variable(&Tensor::from_vec(values, p.shape.as_slice(), &Device::Cpu)?)
        };
        let names = model.params.iter().map(|p| p.name.as_str());
        Ok(Self {
            config: &model.config,
            vars: model
                .params
                .iter()
                .enumerate()
                .map(exactly)
                .collect::<Result<_>>()?,
            by_name: names.zip(0..).collect(),
        })
    }

    fn maybe(&self, name: &str) -> Option<Tensor> {
        let &i = self.by_name.get(name)?;
        Some(self.vars[i].as_tensor().clone())
    }

    fn get(&self, name: &str) -> Result<Tensor> {
        let missing = || Error::Msg(format!("the model has no {name}"));
        self.maybe(name).ok_or_else(missing)
    }

    fn is_gpt2(&self) -> bool {
        self.config.family == Family::Gpt2
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let c = self.config;
        let weight = match self.maybe(&format!("{name}.weight")) {
            Some(weight) => weight,
            // OLMo's norms have no weight.
            None => Tensor::ones(c.n_embd, DType::F64, &Device::Cpu)?,
        };
        match (c.norm, self.maybe(&format!("{name}.bias"))) {
            (Norms::RmsNorm, _) => RmsNorm::new(weight, c.norm_epsilon).forward_diff(x),
            (_, None) => LayerNorm::new_no_bias(weight, c.norm_epsilon).forward(x),
            (_, Some(bias)) => {
                candle_nn::ops::layer_norm_slow(x, &weight, &bias, c.norm_epsilon as f32)
            }
        }
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let layout = match self.is_gpt2() {
            true => Layout::InOut,
            false => Layout::OutIn,
        };
        let weight = rows_of_outputs(&self.get(&format!("{name}.weight"))?, layout)?;
        Linear::new(weight, self.maybe(&format!("{name}.bias"))).forward(x)
    }

    fn attention(&self, x: &Tensor, layer: usize, (batch, time): (usize, usize)) -> Result<Tensor> {
        let c = self.config;
        let s = AttentionShape {
            batch,
            time,
            n_head: c.n_head,
            n_kv_head: c.n_kv_head,
            head_size: c.head_size,
            scale: c.attention_scales[layer] / (c.head_size as f32).sqrt(),
        };
        let (qkv, out) = match self.is_gpt2() {
            true => {
                let name = format!("transformer.h.{layer}.attn");
                let qkv = self.linear(x, &format!("{name}.c_attn"))?;
                (qkv, format!("{name}.c_proj"))
            }
            false => {
                let name = format!("model.layers.{layer}.self_attn");
                let part = |p: &str| self.linear(x, &format!("{name}.{p}_proj"));
                let qkv = Tensor::cat(&[part("q")?, part("k")?, part("v")?], 1)?;
                (qkv, format!("{name}.o_proj"))
            }
        };
        let qkv = match &c.positions {
            Positions::Learned => qkv,
            Positions::Rotary(rope) => {
                let table = rope.table(c.head_size, time);
                let table = Tensor::from_vec(table, (time, c.head_size), &Device::Cpu)?;
                turned(&qkv, &exact(&table)?, s)?
            }
        };
        self.linear(&Attention::of(&qkv, s)?.out, &out)
    }

    fn mlp(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let name = |gpt2: &str, llama: &str| match self.is_gpt2() {
            true => format!("transformer.h.{layer}.mlp.{gpt2}"),
            false => format!("model.layers.{layer}.mlp.{llama}"),
        };
        let hidden = match self.config.mlp {
            Mlp::Gelu => gelu(&self.linear(x, &name("c_fc", ""))?)?,
            Mlp::GeluErf => gelu_erf(&self.linear(x, &name("c_fc", ""))?)?,
            Mlp::SwiGlu => {
                let gate = self.linear(x, &name("", "gate_proj"))?;
                let up = self.linear(x, &name("", "up_proj"))?;
                candle_nn::ops::swiglu(&Tensor::cat(&[gate, up], 1)?)?
            }
        };
        self.linear(&hidden, &name("c_proj", "down_proj"))
    }

    /// Returns the mean loss of windows of token ids, `[B, T]`.
    pub fn loss(&self, inputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        candle_nn::loss::cross_entropy(&self.logits(inputs)?, &targets.flatten_all()?)
    }

    /// Returns the logits of windows of token ids, `[B T, V]`.
    pub fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let c = self.config;
        let (b, t) = inputs.dims2()?;
        let (embedding, norms, last) = match self.is_gpt2() {
            true => (
                "transformer.wte.weight",
                ["ln_1", "ln_2"],
                "transformer.ln_f",
            ),
            false => (
                "model.embed_tokens.weight",
                ["input_layernorm", "post_attention_layernorm"],
                "model.norm",
            ),
        };
        let tokens = self.get(embedding)?;
        let mut x = Embedding::new(tokens.clone(), c.n_embd).forward(inputs)?;
        if let Some(wpe) = self.maybe("transformer.wpe.weight") {
            x = x.broadcast_add(&wpe.narrow(0, 0, t)?)?;
        }
        let mut x = x.reshape((b * t, c.n_embd))?;
        for layer in 0..c.n_layer {
            let block = match self.is_gpt2() {
                true => format!("transformer.h.{layer}"),
                false => format!("model.layers.{layer}"),
            };
            let norm = |x: &Tensor, i: usize| self.norm(x, &format!("{block}.{}", norms[i]));
            x = (&x + self.attention(&norm(&x, 0)?, layer, (b, t))?)?;
            x = (&x + self.mlp(&norm(&x, 1)?, layer)?)?;
        }
        let head = self.maybe("lm_head.weight").unwrap_or(tokens);
        Linear::new(head, None).forward(&self.norm(&x, last)?)
    }
}
