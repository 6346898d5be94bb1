//! Every parameter's gradient agrees with candle's autograd and with finite differences, whatever parts a decoder is
//! made of.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use heirloom::model::{
    Biases, Decoder, DecoderConfig, Mlp, Mode, Norms, Positions, RopeScaling, Sizes, Workspace,
};
use heirloom::ops::{self, Compute};

const SIZES: Sizes = Sizes {
    n_layer: 3,
    n_head: 2,
    n_embd: 24,
    context_length: 70,
    vocab: 53,
};

/// GPT-2 with biases and attention scales of its own.
fn config() -> DecoderConfig {
    DecoderConfig {
        attention_scales: vec![1.0, 0.5, 1.0 / 3.0],
        ..DecoderConfig::gpt2(SIZES, true)
    }
}

/// Four query heads of six channels for each two key and value heads; not as wide as the residual stream.
fn llama() -> DecoderConfig {
    DecoderConfig {
        n_head: 4,
        n_kv_head: 2,
        head_size: 10,
        n_inner: 40,
        attention_scales: vec![1.0, 0.5, 1.0],
        ..DecoderConfig::llama(SIZES)
    }
}

/// One of each part, in ever other company.
fn configs() -> Vec<(&'static str, DecoderConfig)> {
    let mut llama3 = llama();
    if let Positions::Rotary(rope) = &mut llama3.positions {
        rope.scaling = RopeScaling::Llama3 {
            factor: 4.0,
            low: 1.0,
            high: 4.0,
            original: 40.0,
        };
    }
    let qkv = Biases {
        qkv: true,
        ..Biases::default()
    };
    let no_norms = Biases {
        norms: false,
        ..Biases::all(true)
    };
    vec![
        ("gpt2", config()),
        (
            "gpt2 without biases",
            DecoderConfig {
                biases: Biases::default(),
                ..config()
            },
        ),
        (
            "exact gelu, own head, odd inner width",
            DecoderConfig {
                mlp: Mlp::GeluErf,
                tied_head: false,
                n_inner: 37,
                ..config()
            },
        ),
        ("llama", llama()),
        (
            "llama 3, tied",
            DecoderConfig {
                tied_head: true,
                ..llama3
            },
        ),
        (
            "qwen2",
            DecoderConfig {
                biases: qkv,
                n_kv_head: 1,
                ..llama()
            },
        ),
        (
            "llama with biases",
            DecoderConfig {
                biases: no_norms,
                n_kv_head: 4,
                head_size: 6,
                ..llama()
            },
        ),
        (
            "olmo",
            DecoderConfig {
                norm: Norms::Plain,
                ..llama()
            },
        ),
    ]
}

/// A model whose norms and biases are not at their trivial start.
fn model(config: DecoderConfig) -> Result<Decoder> {
    let model = Decoder::random(config, 7, &Device::Cpu)?;
    for (i, p) in model.params.iter().enumerate() {
        let values = ops::read(&model.weights.views[i])?;
        let size = if p.shape.len() == 1 { 0.2 } else { 0.1 };
        let values: Vec<f32> = (0u64..)
            .zip(values)
            .map(|(j, v)| v + size * noise(i as u64 * 1_000_003 + j))
            .collect();
        ops::write(&model.weights.views[i], &values)?;
    }
    Ok(model)
}

/// A repeatable number in (-1, 1).
fn noise(i: u64) -> f32 {
    let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0
}

/// Two ragged windows: longer than one attention block, not a multiple of any vector length.
fn workspace(config: &DecoderConfig, time: usize, mode: Mode) -> Result<Workspace> {
    computing(config, time, mode, Compute::F32)
}

fn computing(
    config: &DecoderConfig,
    time: usize,
    mode: Mode,
    compute: Compute,
) -> Result<Workspace> {
    let ws = Workspace::computing(config, 2, time, mode, compute, &Device::Cpu)?;
    let ids = |seed: u64| -> Vec<u32> {
        (0..2 * time as u64)
            .map(|i| ((noise(i + seed) + 1.0) * 0.5 * config.vocab as f32) as u32)
            .collect()
    };
    ops::write(&ws.inputs, &ids(11))?;
    ops::write(&ws.targets, &ids(999))?;
    Ok(ws)
}

fn mean_loss(model: &Decoder, ws: &Workspace) -> Result<f64> {
    model.forward(ws)?;
    let losses = ops::read(&ws.losses)?;
    Ok(losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64)
}

/// The same model composed of candle's differentiable operations, its tensors found by their names.
struct Composed<'a> {
    config: &'a DecoderConfig,
    tensors: HashMap<&'a str, &'a Tensor>,
}

impl Composed<'_> {
    fn maybe(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name).copied()
    }

    fn get(&self, name: &str) -> &Tensor {
        self.maybe(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn is_gpt2(&self) -> bool {
        self.config.positions == Positions::Learned
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let x = match self.config.norm {
            Norms::RmsNorm => x.clone(),
            _ => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        };
        let var = x.sqr()?.mean_keepdim(D::Minus1)?;
        let mut x = x.broadcast_div(&(var + self.config.norm_epsilon)?.sqrt()?)?;
        if let Some(w) = self.maybe(&format!("{name}.weight")) {
            x = x.broadcast_mul(w)?;
        }
        match self.maybe(&format!("{name}.bias")) {
            Some(bias) => x.broadcast_add(bias),
            None => Ok(x),
        }
    }

    /// `x[M, K]` through a layer of GPT-2's `[in, out]` or Llama's `[out, in]`.
    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let w = self.get(&format!("{name}.weight"));
        let y = match self.is_gpt2() {
            true => x.matmul(w)?,
            false => x.matmul(&w.t()?)?,
        };
        match self.maybe(&format!("{name}.bias")) {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// `[B, H, T, D]` with the second half of a head's channels turned against the first.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let Positions::Rotary(rope) = &self.config.positions else {
            return Ok(x.clone());
        };
        let (_, _, t, d) = x.dims4()?;
        let table = Tensor::from_vec(rope.table(d, t), (t, d), &Device::Cpu)?;
        let (cos, sin) = (table.narrow(1, 0, d / 2)?, table.narrow(1, d / 2, d / 2)?);
        let (a, b) = (x.narrow(3, 0, d / 2)?, x.narrow(3, d / 2, d / 2)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Tensor::cat(&[first, second], 3)
    }

    fn attention(&self, x: &Tensor, layer: usize, (b, t): (usize, usize)) -> Result<Tensor> {
        let c = self.config;
        let (h, kv, d) = (c.n_head, c.n_kv_head, c.head_size);
        let (q, k, v) = match self.is_gpt2() {
            true => {
                let qkv = self.linear(x, &format!("transformer.h.{layer}.attn.c_attn"))?;
                let part = |i: usize| qkv.narrow(1, i * h * d, h * d);
                (part(0)?, part(1)?, part(2)?)
            }
            false => {
                let part =
                    |p: &str| self.linear(x, &format!("model.layers.{layer}.self_attn.{p}_proj"));
                (part("q")?, part("k")?, part("v")?)
            }
        };
        let heads = |x: Tensor, n: usize| {
            x.contiguous()?
                .reshape((b, t, n, d))?
                .transpose(1, 2)?
                .contiguous()
        };
        // Every key and value head repeated for the queries that share it.
        let shared = |x: Tensor| {
            let x = x.unsqueeze(2)?.broadcast_as((b, kv, h / kv, t, d))?;
            x.contiguous()?.reshape((b, h, t, d))
        };
        let q = self.rotate(&heads(q, h)?)?;
        let k = shared(self.rotate(&heads(k, kv)?)?)?;
        let v = shared(heads(v, kv)?)?;
        let scale = f64::from(c.attention_scales[layer]) / (d as f64).sqrt();
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? * scale)?;
        let mask: Vec<f32> = (0..t * t)
            .map(|i| {
                if i % t > i / t {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
            .collect();
        let mask = Tensor::from_vec(mask, (1, 1, t, t), &Device::Cpu)?;
        let scores = scores.broadcast_add(&mask)?;
        let exp = scores
            .broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?
            .exp()?;
        let probs = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
        let att = probs.matmul(&v)?.transpose(1, 2)?;
        let att = att.contiguous()?.reshape((b * t, h * d))?;
        match self.is_gpt2() {
            true => self.linear(&att, &format!("transformer.h.{layer}.attn.c_proj")),
            false => self.linear(&att, &format!("model.layers.{layer}.self_attn.o_proj")),
        }
    }

    fn mlp(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let name = |gpt2: &str, llama: &str| match self.is_gpt2() {
            true => format!("transformer.h.{layer}.mlp.{gpt2}"),
            false => format!("model.layers.{layer}.mlp.{llama}"),
        };
        let hidden = match self.config.mlp {
            Mlp::Gelu => self.linear(x, &name("c_fc", ""))?.gelu()?,
            Mlp::GeluErf => self.linear(x, &name("c_fc", ""))?.gelu_erf()?,
            Mlp::SwiGlu => {
                let gate = self.linear(x, &name("", "gate_proj"))?;
                (gate.silu()? * self.linear(x, &name("", "up_proj"))?)?
            }
        };
        self.linear(&hidden, &name("c_proj", "down_proj"))
    }

    /// Mean loss of a workspace's windows.
    fn loss(&self, ws: &Workspace) -> Result<Tensor> {
        let (b, t, c) = (ws.batch, ws.time, self.config.n_embd);
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
        let flat = ws.inputs.flatten_all()?;
        let mut x = self.get(embedding).index_select(&flat, 0)?;
        if let Some(wpe) = self.maybe("transformer.wpe.weight") {
            let x3 = x.reshape((b, t, c))?;
            x = x3
                .broadcast_add(&wpe.narrow(0, 0, t)?)?
                .reshape((b * t, c))?;
        }
        for layer in 0..self.config.n_layer {
            let block = match self.is_gpt2() {
                true => format!("transformer.h.{layer}"),
                false => format!("model.layers.{layer}"),
            };
            let norm = |x: &Tensor, i: usize| self.norm(x, &format!("{block}.{}", norms[i]));
            x = (&x + self.attention(&norm(&x, 0)?, layer, (b, t))?)?;
            x = (&x + self.mlp(&norm(&x, 1)?, layer)?)?;
        }
        let head = self.maybe("lm_head.weight").unwrap_or(self.get(embedding));
        let logits = self.norm(&x, last)?.matmul(&head.t()?)?;
        candle_nn::loss::cross_entropy(&logits, &ws.targets.flatten_all()?)
    }
}

#[test]
fn gradients_agree_with_candles_autograd() -> Result<()> {
    for (what, config) in configs() {
        let model = model(config)?;
        let ws = workspace(&model.config, 70, Mode::Train)?;
        let vars: Vec<Var> = model
            .weights
            .views
            .iter()
            .map(|v| Var::from_tensor(&v.copy()?))
            .collect::<Result<_>>()?;
        let names = model.params.iter().map(|p| p.name.as_str());
        let composed = Composed {
            config: &model.config,
            tensors: names.zip(vars.iter().map(Var::as_tensor)).collect(),
        };
        let loss = composed.loss(&ws)?;
        let oracle = loss.backward()?;
        model.forward_backward(&ws, 1.0 / 140.0)?;
        let ours = mean_loss(&model, &ws)?;
        let theirs = f64::from(loss.to_scalar::<f32>()?);
        assert!(
            (ours - theirs).abs() < 2e-5,
            "{what}: loss {ours}, candle {theirs}"
        );
        for ((p, grad), var) in model.params.iter().zip(&model.grads.views).zip(&vars) {
            let got = ops::read(&grad.flatten_all()?)?;
            let want = oracle
                .get(var)
                .unwrap_or_else(|| panic!("{}: candle lost it", p.name));
            let want = want.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
            let largest = want.iter().fold(0f32, |a, x| a.max(x.abs()));
            assert!(largest > 0.0, "{} has no gradient", p.name);
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!(
                    (g - w).abs() <= 2e-4 * largest + 1e-7,
                    "{what}, {}[{i}]: {g}, candle says {w} (largest {largest})",
                    p.name
                );
            }
        }
        query_key_norms(what, &model, |i| {
            oracle.get(&vars[i]).expect("seen above").clone()
        })?;
    }
    Ok(())
}

/// Norms of W_Q's and W_K's gradients, in either family's layout.
fn query_key_norms(what: &str, model: &Decoder, oracle: impl Fn(usize) -> Tensor) -> Result<()> {
    let config = &model.config;
    let (c, att) = (config.n_embd, config.attention_width());
    let norm = |t: Tensor| -> Result<f64> { Ok(t.sqr()?.sum_all()?.to_scalar::<f32>()?.into()) };
    let (q, k) = model.query_key_gradients()?;
    assert_eq!((q.len(), k.len()), (config.n_layer, config.n_layer));
    for (i, p) in model.params.iter().enumerate() {
        let Some(layer) = p.layer else { continue };
        let same = |got: f64, want: Tensor, of: &str| -> Result<()> {
            let want = norm(want)?.sqrt();
            assert!(
                want > 0.0 && (got - want).abs() < 1e-3 * want,
                "{what}, {of} of layer {layer}: {got}, {want}"
            );
            Ok(())
        };
        if p.stem.ends_with("c_attn.weight") {
            same(q[layer], oracle(i).narrow(1, 0, c)?, "W_Q")?;
            same(k[layer], oracle(i).narrow(1, c, c)?, "W_K")?;
        } else if p.stem.ends_with("q_proj.weight") {
            assert_eq!(p.shape, [att, c]);
            same(q[layer], oracle(i), "W_Q")?;
        } else if p.stem.ends_with("k_proj.weight") {
            same(k[layer], oracle(i), "W_K")?;
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    for (what, config) in configs() {
        finite_differences(what, &model(config)?)?;
    }
    Ok(())
}

fn finite_differences(what: &str, model: &Decoder) -> Result<()> {
    let ws = workspace(&model.config, 33, Mode::Train)?;
    model.forward_backward(&ws, 1.0 / 66.0)?;
    for (i, p) in model.params.iter().enumerate() {
        let start = ops::read(&model.weights.views[i])?;
        let grad = ops::read(&model.grads.views[i])?;
        // Along the gradient's own direction the difference is as large as it can be.
        let length = grad
            .iter()
            .map(|g| f64::from(*g).powi(2))
            .sum::<f64>()
            .sqrt();
        let at = |distance: f64| -> Result<f64> {
            let moved: Vec<f32> = start
                .iter()
                .zip(&grad)
                .map(|(w, g)| (f64::from(*w) + distance * f64::from(*g) / length) as f32)
                .collect();
            ops::write(&model.weights.views[i], &moved)?;
            mean_loss(model, &ws)
        };
        // Central differences with the first error term taken out (Richardson).
        let central = |h: f64| -> Result<f64> { Ok((at(h)? - at(-h)?) / (2.0 * h)) };
        let h = 2e-2 / length.max(1.0);
        let slope = (4.0 * central(h / 2.0)? - central(h)?) / 3.0;
        ops::write(&model.weights.views[i], &start)?;
        assert!(
            // A bias on keys shifts a row's scores alike: its gradient is next to nothing, f32's noise beside it is not.
            (slope - length).abs() < 5e-3 * length + 3e-6,
            "{what}, {}: slope {slope}, gradient's length {length}",
            p.name
        );
    }
    Ok(())
}

/// Recomputed activations are the kept ones, and so are the gradients, to the bit.
#[test]
fn recomputed_activations_give_the_same_gradients() -> Result<()> {
    for (what, config) in configs() {
        for compute in [Compute::F32, Compute::Bf16] {
            let model = model(config.clone())?;
            let gradients = |mode| -> Result<(Vec<f32>, Vec<f32>)> {
                let ws = computing(&model.config, 70, mode, compute)?;
                ops::zero(&model.grads.flat)?;
                model.forward_backward(&ws, 1.0 / 140.0)?;
                Ok((ops::read(&ws.losses)?, ops::read(&model.grads.flat)?))
            };
            let kept = gradients(Mode::Train)?;
            assert!(kept.1.iter().any(|&g| g != 0.0));
            assert!(
                gradients(Mode::Recompute)? == kept,
                "{what}, {compute:?}: other gradients"
            );
        }
    }
    Ok(())
}

#[test]
fn accumulated_micro_batches_give_the_whole_batchs_gradient() -> Result<()> {
    for config in [config(), llama()] {
        accumulated(&model(config)?)?;
    }
    Ok(())
}

fn accumulated(model: &Decoder) -> Result<()> {
    let whole = workspace(&model.config, 40, Mode::Train)?;
    model.forward_backward(&whole, 1.0 / 80.0)?;
    let want = ops::read(&model.grads.flat)?;
    ops::zero(&model.grads.flat)?;
    let one = Workspace::new(&model.config, 1, 40, Mode::Train, &Device::Cpu)?;
    for row in 0..2 {
        for (from, to) in [(&whole.inputs, &one.inputs), (&whole.targets, &one.targets)] {
            ops::write(
                to,
                &from.narrow(0, row, 1)?.flatten_all()?.to_vec1::<u32>()?,
            )?;
        }
        model.forward_backward(&one, 1.0 / 80.0)?;
    }
    let got = ops::read(&model.grads.flat)?;
    let largest = want.iter().fold(0f32, |a, x| a.max(x.abs()));
    for (g, w) in got.iter().zip(&want) {
        assert!((g - w).abs() <= 1e-5 * largest, "{g} is not {w}");
    }
    Ok(())
}

#[test]
fn forward_only_buffers_give_the_same_losses() -> Result<()> {
    let model = model(config())?;
    let train = workspace(&model.config, 70, Mode::Train)?;
    model.forward_backward(&train, 1.0)?;
    let forward = workspace(&model.config, 70, Mode::Forward)?;
    model.forward(&forward)?;
    assert_eq!(ops::read(&train.losses)?, ops::read(&forward.losses)?);
    assert!(model.forward_backward(&forward, 1.0).is_err());
    Ok(())
}

#[test]
fn a_token_outside_the_vocabulary_is_refused() -> Result<()> {
    let model = model(config())?;
    let ws = workspace(&model.config, 8, Mode::Forward)?;
    let mut ids = vec![0u32; 16];
    ids[5] = 53;
    ops::write(&ws.inputs, &ids)?;
    let error = model.forward(&ws).unwrap_err().to_string();
    assert!(error.contains("token id 53 at position 5"), "{error}");
    assert_eq!(ws.inputs.dtype(), DType::U32);
    Ok(())
}

/// Products of bf16 leave gradients where they were: each tensor's moves by a few rounding errors of bf16 (2^-9).
#[test]
fn gradients_in_bf16_are_those_in_f32_but_for_rounding() -> Result<()> {
    for (what, config) in configs() {
        let model = model(config)?;
        let grads = |compute| -> Result<Vec<f32>> {
            ops::zero(&model.grads.flat)?;
            let ws = computing(&model.config, 70, Mode::Train, compute)?;
            model.forward_backward(&ws, 1.0 / 140.0)?;
            ops::read(&model.grads.flat)
        };
        let (exact, rounded) = (grads(Compute::F32)?, grads(Compute::Bf16)?);
        let mut at = 0;
        for p in &model.params {
            let (e, r) = (&exact[at..at + p.len()], &rounded[at..at + p.len()]);
            at += p.len();
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                let pairs = a.iter().zip(b);
                pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let size = dot(e, e).sqrt();
            let off: Vec<f32> = r.iter().zip(e).map(|(r, e)| r - e).collect();
            let error = dot(&off, &off).sqrt() / size;
            // A bias on keys has next to no gradient: nothing but noise.
            let noise = p.name.ends_with("k_proj.bias");
            assert!(
                noise || (1e-4..8e-2).contains(&error),
                "{what}, {}: moved by {error:.5} of its size",
                p.name
            );
        }
    }
    Ok(())
}
