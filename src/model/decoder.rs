//! A decoder-only transformer: pre-norm blocks of attention and MLP on a residual stream.
//!
//! The forward and backward passes read from top to bottom; every op writes to a preallocated buffer of the [`Workspace`].

use candle_core::{DType, Device, Result, Tensor, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::arena::{Arena, Init, Param};
use super::config::{DecoderConfig, Mlp, Norms};
use super::format::{Format, Mode};
use super::head::Head;
use super::part::Part;
use super::parts::{Linear, Norm, Parts};
use super::weights::WeightArena;
use super::workspace::{BackwardBuffers, LayerBuffers, Workspace};
use crate::ops::{self, Accumulation, AttentionShape, Precision, Recording};

/// Standard deviation of fresh weights; projections onto the residual stream get `/ sqrt(2 n_layer)`.
const INIT_STD: f32 = 0.02;

/// A model, with memory for its gradients when it is trained.
#[derive(Debug)]
pub struct Decoder {
    pub config: DecoderConfig,
    pub params: Vec<Param>,
    pub weights: WeightArena,
    /// Gradients: zeros until a backward pass. Empty in a model that is not trained.
    pub grads: Arena,
    pub(super) w: Parts,
    /// The weights in bf16, on a GPU.
    rounded: Option<Parts>,
    g: Option<Parts>,
}

impl Decoder {
    /// Makes a model of zeros, with memory for its gradients.
    pub fn zeros(config: DecoderConfig, device: &Device) -> Result<Self> {
        let mut model = Self::frozen(config, Format::on(device, Precision::F32), device)?;
        model.make_trainable()?;
        Ok(model)
    }

    /// Makes a model of zeros without memory for gradients, which can be evaluated and copied from. It is stored in `format`, which
    /// need not be the device's own format.
    ///
    /// # Errors
    /// When the device has no attention for heads of this size, or no memory for the weights.
    pub fn frozen(config: DecoderConfig, format: Format, device: &Device) -> Result<Self> {
        if device.is_cuda() {
            ops::check_head_size(config.head_size)?;
        }
        let params = config.params();
        let weights = WeightArena::zeros(&params, format.gpu, device)?;
        let view = |arena: &Arena| Parts::view(&config, &params, arena, device);
        Ok(Self {
            w: view(weights.arena())?,
            rounded: weights.rounded().map(view).transpose()?,
            g: None,
            grads: Arena::empty(device)?,
            config,
            params,
            weights,
        })
    }

    /// Allocates memory for gradients, unless it exists.
    pub fn make_trainable(&mut self) -> Result<()> {
        if self.g.is_none() {
            let device = self.weights.device();
            let grads = Arena::zeros(&self.params, device)?;
            self.g = Some(Parts::view(&self.config, &self.params, &grads, device)?);
            self.grads = grads;
        }
        Ok(())
    }

    /// Whether there is memory for gradients.
    pub fn is_trainable(&self) -> bool {
        self.g.is_some()
    }

    fn gradients(&self) -> Result<&Parts> {
        match &self.g {
            Some(g) => Ok(g),
            None => bail!("this model was loaded without room for gradients"),
        }
    }

    /// Makes a model with random weights, initialised as GPT-2 was: N(0, 0.02), projections onto the residual stream smaller by
    /// `sqrt(2 n_layer)`, norms one, biases zero. Each tensor's values depend only on the seed and its name.
    pub fn random(config: DecoderConfig, seed: u64, device: &Device) -> Result<Self> {
        let model = Self::zeros(config, device)?;
        model.randomise_all(seed)?;
        Ok(model)
    }

    /// Initialises every parameter at random.
    pub fn randomise_all(&self, seed: u64) -> Result<()> {
        (0..self.params.len()).try_for_each(|i| self.randomise(i, seed))
    }

    /// Initialises parameter `index` at random.
    pub fn randomise(&self, index: usize, seed: u64) -> Result<()> {
        let p = &self.params[index];
        let depth = match p.init {
            Init::Zero => return self.weights.write(index, &vec![0f32; p.len()]),
            Init::One => return self.weights.write(index, &vec![1f32; p.len()]),
            Init::Normal => 1.0,
            Init::Residual => 2.0 * self.config.n_layer as f32,
        };
        let std = INIT_STD / depth.sqrt();
        let mut hash = blake3::Hasher::new();
        hash.update(&seed.to_le_bytes()).update(p.name.as_bytes());
        let mut rng = ChaCha8Rng::from_seed(*hash.finalize().as_bytes());
        let normal = std::iter::repeat_with(|| StandardNormal.sample(&mut rng));
        let values: Vec<f32> = normal.take(p.len()).map(|x: f32| x * std).collect();
        self.weights.write(index, &values)
    }

    /// Returns the weights in the form that products in `compute` read: on a GPU with bf16, the rounded copy, after it was brought
    /// up to date.
    pub(super) fn operands(&self, compute: Precision) -> Result<&Parts> {
        match &self.rounded {
            Some(rounded) if compute == Precision::Bf16 => {
                self.weights.refresh()?;
                Ok(rounded)
            }
            _ => Ok(&self.w),
        }
    }

    /// Computes the loss of every token without gradients: `ws.losses[B T]` in nats.
    pub fn forward(&self, ws: &Workspace) -> Result<()> {
        self.forward_over(ws, self.config.vocab)
    }

    /// Computes losses as [`Self::forward`] does, with a softmax over only the first `vocab` rows of the head.
    ///
    /// # Errors
    /// When the head has fewer rows, or a target is not among them.
    pub fn forward_over(&self, ws: &Workspace, vocab: usize) -> Result<()> {
        self.trunk(ws, &mut |_, _, _| Ok(()))?;
        self.losses(ws, vocab)
    }

    /// Calls `each_layer` with the attention input of every layer (`qkv`, rotated by its positions), without computing
    /// the head.
    pub fn attentions(
        &self,
        ws: &Workspace,
        mut each_layer: impl FnMut(usize, &Tensor, AttentionShape) -> Result<()>,
    ) -> Result<()> {
        self.trunk(ws, &mut each_layer)
    }

    /// Returns the latest gradient of a layer's query, key and value weights, in their layout; `None` in a model
    /// without gradients.
    pub(super) fn query_key_value_gradient(&self, layer: usize) -> Option<Tensor> {
        Some(self.g.as_ref()?.blocks[layer].qkv.weight.clone())
    }

    /// Returns the logits `[B T, V]` of the windows in `ws`.
    pub fn logits(&self, ws: &Workspace) -> Result<Tensor> {
        self.trunk(ws, &mut |_, _, _| Ok(()))?;
        let rows = ws.batch * ws.time;
        let logits = ops::zeros((rows, self.config.vocab), ws.losses.device())?;
        ops::head_logits(
            ws.compute,
            &logits,
            &ws.x_final,
            &self.operands(ws.compute)?.head,
        )?;
        Ok(logits)
    }

    /// Runs a forward and a backward pass: computes losses as [`Self::forward`] does, and adds the gradient of `scale · Σ losses` to
    /// `self.grads`.
    pub fn forward_backward(&self, ws: &Workspace, scale: f32) -> Result<()> {
        self.forward_backward_with(ws, Accumulation::Add, |head| head.cross_entropy(scale))
    }

    /// Runs [`Self::forward_backward`] with the loss that `objective` computes between the two passes: it writes `ws.losses` and the
    /// head's gradients. `how` determines whether the gradients replace those in `self.grads` or are added to them.
    ///
    /// # Errors
    /// When the model or the workspace has no memory for gradients, or an operation fails.
    pub fn forward_backward_with(
        &self,
        ws: &Workspace,
        how: Accumulation,
        objective: impl FnOnce(Head<'_>) -> Result<()>,
    ) -> Result<()> {
        self.forward_backward_watched(ws, how, objective, &mut |_| Ok(()))
    }

    /// Runs [`Self::forward_backward_with`], and calls `finished` each time that more gradients are final. Its argument is an element
    /// of the flat arena: all gradients from there to the end are queued, and no later operation of the pass changes them. The
    /// element decreases from call to call, to 0. Embeddings, and a head that is tied to them, are finished last.
    ///
    /// A [recording](Self::forward_backward_recorded) would call back only while it is made, not when it is replayed, so a watched
    /// pass cannot be recorded.
    ///
    /// # Errors
    /// As [`Self::forward_backward_with`], and when `finished` fails.
    pub fn forward_backward_watched(
        &self,
        ws: &Workspace,
        how: Accumulation,
        objective: impl FnOnce(Head<'_>) -> Result<()>,
        finished: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let (back, grads) = (ws.backward()?, self.gradients()?);
        self.trunk(ws, &mut |_, _, _| Ok(()))?;
        objective(Head {
            ws,
            weight: &self.operands(ws.compute)?.head,
            d_x: &back.d_norm,
            d_weight: &grads.head,
            how,
        })?;
        ops::zero(&back.dx)?;
        let last = ws.x(self.config.n_layer);
        let (w, g) = (&self.w.norm_final, &grads.norm_final);
        self.norm_backward(how, (w, g), back, &back.d_norm, last, &ws.stats_final)?;
        finished(self.finished_from(self.config.n_layer))?;
        for layer in (0..self.config.n_layer).rev() {
            // The buffers still hold the last layer's activations.
            if ws.mode == Mode::Recompute && layer + 1 < self.config.n_layer {
                self.activations(layer, ws.x(layer), ws.layer(layer), ws)?;
            }
            self.block_backward(layer, ws, how)?;
            finished(self.finished_from(layer))?;
        }
        self.prepare_embeddings(grads, how)?;
        ops::embedding_backward(&grads.wte, grads.wpe.as_ref(), &ws.inputs, &back.dx)?;
        finished(0)
    }

    /// Returns the element of the arena from which on all gradients are final after the backward pass of block `layer`.
    fn finished_from(&self, layer: usize) -> usize {
        let is_finished = |p: &&Param| match p.layer {
            Some(own) => own >= layer,
            None => !matches!(p.part, Part::Embeddings | Part::Positions),
        };
        let all: usize = self.params.iter().map(Param::len).sum();
        let finished = self.params.iter().rev().take_while(is_finished);
        all - finished.map(Param::len).sum::<usize>()
    }

    /// Runs [`Self::forward_backward_with`] through a recording. All passes of a recording must have the same model, workspace,
    /// `how` and objective.
    ///
    /// # Errors
    /// As [`Self::forward_backward_with`], and when the pass cannot be recorded.
    pub fn forward_backward_recorded(
        &self,
        recording: &mut Recording,
        ws: &Workspace,
        how: Accumulation,
        objective: impl Fn(Head<'_>) -> Result<()>,
    ) -> Result<()> {
        // Brings the bf16 copy up to date before recording: only some passes need this, so it must not be recorded.
        self.operands(ws.compute)?;
        let pass = || self.forward_backward_with(ws, how, &objective);
        recording.queue(self.weights.device(), pass)
    }

    /// Zeros the gradients of embeddings that will be replaced, since most rows of a table get no gradient. A tied table already
    /// holds the head's gradient and is left alone.
    fn prepare_embeddings(&self, grads: &Parts, how: Accumulation) -> Result<()> {
        if how == Accumulation::Add {
            return Ok(());
        }
        if !self.config.tied_head {
            ops::zero(&grads.wte)?;
        }
        grads.wpe.as_ref().map_or(Ok(()), ops::zero)
    }

    /// Computes embedding, blocks and final norm into `ws.x_final`.
    pub(super) fn trunk(
        &self,
        ws: &Workspace,
        each_layer: &mut impl FnMut(usize, &Tensor, AttentionShape) -> Result<()>,
    ) -> Result<()> {
        self.embed(ws)?;
        for layer in 0..self.config.n_layer {
            self.block(layer, ws.x(layer), ws.x(layer + 1), ws.layer(layer), ws)?;
            each_layer(layer, &ws.layer(layer).qkv, self.attention_shape(layer, ws))?;
        }
        let last = ws.x(self.config.n_layer);
        self.norm(&self.w.norm_final, &ws.x_final, &ws.stats_final, last)
    }

    /// Computes a block: `out = x + attention(norm_1(x)); out += mlp(norm_2(out))`.
    pub(super) fn block(
        &self,
        layer: usize,
        x: &Tensor,
        out: &Tensor,
        b: &LayerBuffers,
        ws: &Workspace,
    ) -> Result<()> {
        self.activations(layer, x, b, ws)?;
        let w = &self.w.blocks[layer].fc_out;
        let p = &self.operands(ws.compute)?.blocks[layer].fc_out;
        linear(ws.compute, (w, p), out, &b.act, Some(&b.x_mid))
    }

    /// Computes all activations of a block except its output.
    fn activations(
        &self,
        layer: usize,
        x: &Tensor,
        b: &LayerBuffers,
        ws: &Workspace,
    ) -> Result<()> {
        let w = &self.w.blocks[layer];
        let p = &self.operands(ws.compute)?.blocks[layer];
        let shape = self.attention_shape(layer, ws);
        self.norm(&w.norm_1, &b.norm_1, &b.stats_1, x)?;
        linear(ws.compute, (&w.qkv, &p.qkv), &b.qkv, &b.norm_1, None)?;
        if let Some(table) = &ws.rope {
            ops::rope(&b.qkv, table, shape)?;
        }
        match &ws.ragged {
            None => ops::attention(ws.compute, &b.att, &b.lse, &b.qkv, shape)?,
            Some(ragged) => {
                let (out, branches) = (&b.att, &ragged.branches);
                ops::attention_ragged(ws.compute, out, &b.lse, &b.qkv, branches, shape)?;
            }
        }
        linear(
            ws.compute,
            (&w.attention_out, &p.attention_out),
            &b.x_mid,
            &b.att,
            Some(x),
        )?;
        self.norm(&w.norm_2, &b.norm_2, &b.stats_2, &b.x_mid)?;
        if self.config.mlp == Mlp::Gelu {
            let bias = bias(&w.fc, &p.fc, &b.fc);
            let (x, layout) = (&b.norm_2, w.fc.layout);
            return ops::linear_gelu(ws.compute, &b.act, &b.fc, x, &p.fc.weight, layout, bias);
        }
        linear(ws.compute, (&w.fc, &p.fc), &b.fc, &b.norm_2, None)?;
        self.activation(&b.act, &b.fc)
    }

    /// Propagates `dx` from the block's output to its input, and writes or adds the block's weight gradients.
    fn block_backward(&self, layer: usize, ws: &Workspace, how: Accumulation) -> Result<()> {
        let (w, g) = (&self.w.blocks[layer], &self.gradients()?.blocks[layer]);
        let p = &self.operands(ws.compute)?.blocks[layer];
        let (b, back) = (ws.layer(layer), ws.backward()?);
        let shape = self.attention_shape(layer, ws);
        // MLP; `dx` bypasses it on the residual path.
        let (next, dy) = (&p.fc_out, back.dy());
        let (gw, gb) = (&g.fc_out.weight, g.fc_out.bias.as_ref());
        ops::linear_backward_weight(ws.compute, how, gw, next.layout, gb, &b.act, dy)?;
        let (w_next, layout) = (&next.weight, next.layout);
        match self.config.mlp {
            Mlp::Gelu => {
                ops::linear_backward_gelu(ws.compute, &back.d_fc, dy, w_next, layout, &b.fc)?;
            }
            Mlp::GeluErf => {
                ops::linear_backward_input(ws.compute, &back.d_fc, dy, w_next, layout)?;
                ops::gelu_erf_backward(&back.d_fc, &b.fc)?;
            }
            Mlp::SwiGlu => {
                ops::linear_backward_input(ws.compute, &back.d_act, dy, w_next, layout)?;
                ops::swiglu_backward(&back.d_fc, &back.d_act, &b.fc)?;
            }
        }
        linear_backward(
            ws.compute,
            how,
            (&p.fc, &g.fc),
            &back.d_norm,
            &b.norm_2,
            &back.d_fc,
        )?;
        let d_norm = &back.d_norm;
        let norm = (&w.norm_2, &g.norm_2);
        self.norm_backward(how, norm, back, d_norm, &b.x_mid, &b.stats_2)?;
        // Attention.
        linear_backward(
            ws.compute,
            how,
            (&p.attention_out, &g.attention_out),
            &back.d_att,
            &b.att,
            back.dy(),
        )?;
        ops::attention_backward(
            ws.compute,
            &back.d_qkv,
            &back.d_att,
            &b.att,
            &b.qkv,
            &b.lse,
            shape,
        )?;
        if let Some(table) = &ws.rope {
            ops::rope_backward(&back.d_qkv, table, shape)?;
        }
        let qkv = (&p.qkv, &g.qkv);
        linear_backward(ws.compute, how, qkv, d_norm, &b.norm_1, &back.d_qkv)?;
        let norm = (&w.norm_1, &g.norm_1);
        self.norm_backward(how, norm, back, d_norm, ws.x(layer), &b.stats_1)
    }

    pub(super) fn activation(&self, out: &Tensor, fc: &Tensor) -> Result<()> {
        match self.config.mlp {
            Mlp::Gelu => ops::gelu(out, fc),
            Mlp::GeluErf => ops::gelu_erf(out, fc),
            Mlp::SwiGlu => ops::swiglu(out, fc),
        }
    }

    pub(super) fn norm(&self, w: &Norm, out: &Tensor, stats: &Tensor, x: &Tensor) -> Result<()> {
        let eps = self.config.norm_epsilon as f32;
        match self.config.norm {
            Norms::LayerNorm | Norms::Plain => {
                ops::layer_norm(out, stats, x, &w.weight, w.bias.as_ref(), eps)
            }
            Norms::RmsNorm => ops::rms_norm(out, stats, x, &w.weight, eps),
        }
    }

    fn norm_backward(
        &self,
        how: Accumulation,
        (w, g): (&Norm, &Norm),
        into: &BackwardBuffers,
        dy: &Tensor,
        x: &Tensor,
        stats: &Tensor,
    ) -> Result<()> {
        let (dx, rounded) = (&into.dx, into.dx_rounded.as_ref());
        match self.config.norm {
            Norms::LayerNorm | Norms::Plain => {
                ops::layer_norm_backward(how, dx, rounded, &g.span, dy, x, &w.weight, stats)
            }
            Norms::RmsNorm => {
                ops::rms_norm_backward(how, dx, rounded, &g.span, dy, x, &w.weight, stats)
            }
        }
    }

    fn attention_shape(&self, layer: usize, ws: &Workspace) -> AttentionShape {
        self.shape_of(layer, ws.batch, ws.time)
    }

    pub(super) fn shape_of(&self, layer: usize, batch: usize, time: usize) -> AttentionShape {
        let c = &self.config;
        AttentionShape {
            batch,
            time,
            n_head: c.n_head,
            n_kv_head: c.n_kv_head,
            head_size: c.head_size,
            scale: c.attention_scales[layer] / (c.head_size as f32).sqrt(),
        }
    }
}

/// Computes a linear layer. `w` is the layer in f32, `p` the same layer in the type that products read.
pub(super) fn linear(
    compute: Precision,
    (w, p): (&Linear, &Linear),
    out: &Tensor,
    x: &Tensor,
    residual: Option<&Tensor>,
) -> Result<()> {
    let bias = bias(w, p, out);
    ops::linear(compute, out, x, &p.weight, w.layout, bias, residual)
}

/// Returns the bias in the output's type.
fn bias<'a>(w: &'a Linear, p: &'a Linear, out: &Tensor) -> Option<&'a Tensor> {
    match out.dtype() {
        DType::F32 => w.bias.as_ref(),
        _ => p.bias.as_ref(),
    }
}

/// Computes a layer's weight gradients from its input `x` and `dy`, and overwrites `dx`.
fn linear_backward(
    compute: Precision,
    how: Accumulation,
    (p, g): (&Linear, &Linear),
    dx: &Tensor,
    x: &Tensor,
    dy: &Tensor,
) -> Result<()> {
    ops::linear_backward_weight(compute, how, &g.weight, g.layout, g.bias.as_ref(), x, dy)?;
    ops::linear_backward_input(compute, dx, dy, &p.weight, p.layout)
}
