//! GPT-2 (Radford et al., 2019): learned positions, pre-LayerNorm blocks, tanh-GELU, tied head.
//!
//! Forward and backward read from top to bottom; every op writes a preallocated buffer of the [`Workspace`].

use candle_core::{Device, Result, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::arena::{Arena, Param};
use super::config::Gpt2Config;
use super::workspace::{LayerBuffers, Workspace};
use crate::ops::{self, AttentionShape};

/// Standard deviation of fresh weights; projections onto the residual stream get `/ sqrt(2 n_layer)`.
const INIT_STD: f32 = 0.02;

/// A norm: weight, bias, and both in one span (for gradients).
#[derive(Debug, Clone)]
struct Norm {
    weight: Tensor,
    bias: Option<Tensor>,
    span: Tensor,
}

#[derive(Debug, Clone)]
struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
struct Block {
    ln_1: Norm,
    attn: Linear,
    attn_proj: Linear,
    ln_2: Norm,
    fc: Linear,
    fc_proj: Linear,
}

/// Views into an arena by their role; parameters and gradients have the same form.
#[derive(Debug, Clone)]
struct Weights {
    wte: Tensor,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: Norm,
}

/// A GPT-2 model with room for its gradients.
#[derive(Debug)]
pub struct Gpt2 {
    pub config: Gpt2Config,
    pub params: Vec<Param>,
    pub weights: Arena,
    pub grads: Arena,
    w: Weights,
    g: Weights,
}

impl Gpt2 {
    /// A model of zeros.
    pub fn zeros(config: Gpt2Config, device: &Device) -> Result<Self> {
        let params = config.params();
        let weights = Arena::zeros(&params, device)?;
        let grads = Arena::zeros(&params, device)?;
        Ok(Self {
            w: Weights::view(&config, &params, &weights)?,
            g: Weights::view(&config, &params, &grads)?,
            config,
            params,
            weights,
            grads,
        })
    }

    /// A fresh model, initialised as GPT-2 was: N(0, 0.02), projections onto the residual stream smaller by
    /// `sqrt(2 n_layer)`, norms one, biases zero. Each tensor's numbers depend on the seed and its name alone.
    pub fn random(config: Gpt2Config, seed: u64, device: &Device) -> Result<Self> {
        let model = Self::zeros(config, device)?;
        for i in 0..model.params.len() {
            model.randomise(i, seed)?;
        }
        Ok(model)
    }

    /// Gives parameter `index` a fresh start.
    pub fn randomise(&self, index: usize, seed: u64) -> Result<()> {
        let p = &self.params[index];
        let values = if p.name.ends_with("bias") {
            vec![0.0; p.len()]
        } else if p.shape.len() == 1 {
            vec![1.0; p.len()]
        } else {
            let to_residual = p.name.ends_with("c_proj.weight");
            let depth = if to_residual {
                2.0 * self.config.n_layer as f32
            } else {
                1.0
            };
            let std = INIT_STD / depth.sqrt();
            let mut hash = blake3::Hasher::new();
            hash.update(&seed.to_le_bytes()).update(p.name.as_bytes());
            let mut rng = ChaCha8Rng::from_seed(*hash.finalize().as_bytes());
            let normal = std::iter::repeat_with(|| StandardNormal.sample(&mut rng));
            normal.take(p.len()).map(|x: f32| x * std).collect()
        };
        ops::write(&self.weights.views[index], &values)
    }

    /// Losses of every token, `ws.losses[B T]` in nats, without gradients.
    pub fn forward(&self, ws: &Workspace) -> Result<()> {
        self.trunk(ws, &mut |_, _, _| Ok(()))?;
        ops::head_cross_entropy(
            &ws.losses,
            None,
            &ws.chunk,
            &ws.x_final,
            &self.w.wte,
            &ws.targets,
            1.0,
        )
    }

    /// Shows the attention input (`qkv`) of every layer to `each_layer`, without the head's work.
    pub fn attentions(
        &self,
        ws: &Workspace,
        mut each_layer: impl FnMut(usize, &Tensor, AttentionShape) -> Result<()>,
    ) -> Result<()> {
        self.trunk(ws, &mut each_layer)
    }

    /// Logits `[B T, V]` of the windows in `ws`.
    pub fn logits(&self, ws: &Workspace) -> Result<Tensor> {
        self.trunk(ws, &mut |_, _, _| Ok(()))?;
        let rows = ws.batch * ws.time;
        let logits = Tensor::zeros(
            (rows, self.config.vocab),
            candle_core::DType::F32,
            ws.losses.device(),
        )?;
        ops::head_logits(&logits, &ws.x_final, &self.w.wte)?;
        Ok(logits)
    }

    /// One forward and backward pass: losses as in [`Self::forward`], and the gradient of `scale · Σ losses` is added
    /// to `self.grads`.
    pub fn forward_backward(&self, ws: &Workspace, scale: f32) -> Result<()> {
        let back = ws.backward()?;
        self.trunk(ws, &mut |_, _, _| Ok(()))?;
        // The head makes its gradient in the forward pass: back.d_norm = ∂/∂x_final.
        ops::head_cross_entropy(
            &ws.losses,
            Some((&back.d_norm, &self.g.wte)),
            &ws.chunk,
            &ws.x_final,
            &self.w.wte,
            &ws.targets,
            scale,
        )?;
        ops::zero(&back.dx)?;
        let last = ws.x(self.config.n_layer);
        norm_backward(
            &self.w.ln_f,
            &self.g.ln_f,
            &back.dx,
            &back.d_norm,
            last,
            &ws.stats_final,
        )?;
        for layer in (0..self.config.n_layer).rev() {
            self.block_backward(layer, ws)?;
        }
        ops::embedding_backward(&self.g.wte, &self.g.wpe, &ws.inputs, &back.dx)
    }

    /// Embedding, blocks, final norm: `ws.x_final`.
    fn trunk(
        &self,
        ws: &Workspace,
        each_layer: &mut impl FnMut(usize, &Tensor, AttentionShape) -> Result<()>,
    ) -> Result<()> {
        ops::embedding(ws.x(0), &ws.inputs, &self.w.wte, &self.w.wpe)?;
        for layer in 0..self.config.n_layer {
            self.block(layer, ws.x(layer), ws.x(layer + 1), ws.layer(layer), ws)?;
            each_layer(layer, &ws.layer(layer).qkv, self.attention_shape(layer, ws))?;
        }
        let last = ws.x(self.config.n_layer);
        self.norm(&self.w.ln_f, &ws.x_final, &ws.stats_final, last)
    }

    /// `out = x + attn(ln_1(x)); out += mlp(ln_2(out))`.
    fn block(
        &self,
        layer: usize,
        x: &Tensor,
        out: &Tensor,
        b: &LayerBuffers,
        ws: &Workspace,
    ) -> Result<()> {
        let w = &self.w.blocks[layer];
        self.norm(&w.ln_1, &b.ln_1, &b.stats_1, x)?;
        linear(&w.attn, &b.qkv, &b.ln_1, None)?;
        ops::attention(&b.att, &b.lse, &b.qkv, self.attention_shape(layer, ws))?;
        linear(&w.attn_proj, &b.x_mid, &b.att, Some(x))?;
        self.norm(&w.ln_2, &b.ln_2, &b.stats_2, &b.x_mid)?;
        linear(&w.fc, &b.fc, &b.ln_2, None)?;
        ops::gelu(&b.gelu, &b.fc)?;
        linear(&w.fc_proj, out, &b.gelu, Some(&b.x_mid))
    }

    /// Takes `dx` from the block's output to its input, and adds the block's weight gradients.
    fn block_backward(&self, layer: usize, ws: &Workspace) -> Result<()> {
        let (w, g) = (&self.w.blocks[layer], &self.g.blocks[layer]);
        let (b, back) = (ws.layer(layer), ws.backward()?);
        // MLP; `dx` passes by on the residual path.
        ops::linear_backward_weight(
            &g.fc_proj.weight,
            g.fc_proj.bias.as_ref(),
            &b.gelu,
            &back.dx,
        )?;
        ops::linear_backward_input(&back.d_fc, &back.dx, &w.fc_proj.weight)?;
        ops::gelu_backward(&back.d_fc, &b.fc)?;
        ops::linear_backward_weight(&g.fc.weight, g.fc.bias.as_ref(), &b.ln_2, &back.d_fc)?;
        ops::linear_backward_input(&back.d_norm, &back.d_fc, &w.fc.weight)?;
        norm_backward(
            &w.ln_2,
            &g.ln_2,
            &back.dx,
            &back.d_norm,
            &b.x_mid,
            &b.stats_2,
        )?;
        // Attention.
        ops::linear_backward_weight(
            &g.attn_proj.weight,
            g.attn_proj.bias.as_ref(),
            &b.att,
            &back.dx,
        )?;
        ops::linear_backward_input(&back.d_norm, &back.dx, &w.attn_proj.weight)?;
        let shape = self.attention_shape(layer, ws);
        ops::attention_backward(&back.d_qkv, &back.d_norm, &b.att, &b.qkv, &b.lse, shape)?;
        ops::linear_backward_weight(&g.attn.weight, g.attn.bias.as_ref(), &b.ln_1, &back.d_qkv)?;
        ops::linear_backward_input(&back.d_norm, &back.d_qkv, &w.attn.weight)?;
        norm_backward(
            &w.ln_1,
            &g.ln_1,
            &back.dx,
            &back.d_norm,
            ws.x(layer),
            &b.stats_1,
        )
    }

    fn norm(&self, w: &Norm, out: &Tensor, stats: &Tensor, x: &Tensor) -> Result<()> {
        let eps = self.config.layer_norm_epsilon as f32;
        ops::layer_norm(out, stats, x, &w.weight, w.bias.as_ref(), eps)
    }

    fn attention_shape(&self, layer: usize, ws: &Workspace) -> AttentionShape {
        let head_size = self.config.head_size();
        AttentionShape {
            batch: ws.batch,
            time: ws.time,
            n_head: self.config.n_head,
            head_size,
            scale: self.config.attention_scales[layer] / (head_size as f32).sqrt(),
        }
    }
}

fn linear(w: &Linear, out: &Tensor, x: &Tensor, residual: Option<&Tensor>) -> Result<()> {
    ops::linear(out, x, &w.weight, w.bias.as_ref(), residual)
}

fn norm_backward(
    w: &Norm,
    g: &Norm,
    dx: &Tensor,
    dy: &Tensor,
    x: &Tensor,
    stats: &Tensor,
) -> Result<()> {
    ops::layer_norm_backward(dx, &g.span, dy, x, &w.weight, stats)
}

impl Weights {
    /// Names the arena's tensors by their role, in the order of [`Gpt2Config::params`].
    fn view(config: &Gpt2Config, params: &[Param], arena: &Arena) -> Result<Self> {
        let per = if config.bias { 2 } else { 1 };
        let linear = |at: usize| Linear {
            weight: arena.views[at].clone(),
            bias: config.bias.then(|| arena.views[at + 1].clone()),
        };
        let norm = |at: usize| -> Result<Norm> {
            let Linear { weight, bias } = linear(at);
            let span = arena.span(params, at, per)?;
            Ok(Norm { weight, bias, span })
        };
        let wte = arena.views[0].clone();
        let wpe = arena.views[1].clone();
        let mut at = 2;
        let mut blocks = Vec::with_capacity(config.n_layer);
        for _ in 0..config.n_layer {
            blocks.push(Block {
                ln_1: norm(at)?,
                attn: linear(at + per),
                attn_proj: linear(at + 2 * per),
                ln_2: norm(at + 3 * per)?,
                fc: linear(at + 4 * per),
                fc_proj: linear(at + 5 * per),
            });
            at += 6 * per;
        }
        let ln_f = norm(at)?;
        Ok(Self {
            wte,
            wpe,
            blocks,
            ln_f,
        })
    }
}
