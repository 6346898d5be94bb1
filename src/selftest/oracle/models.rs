//! Checks complete models of both families: losses, gradients, and steps of AdamW.

use candle_core::{Device, Result, Tensor, bail};
use candle_nn::{AdamW, Optimizer as _};

use super::super::compare::Twin;
use super::super::{Case, SelfTest};
use super::composed::Composed;
use super::distillation::{self, Mix};
use super::optimizer::settings;
use crate::config::TrainConfig;
use crate::model::{
    Biases, Decoder, DecoderConfig, Mlp, Mode, Norms, Positions, RopeScaling, Sizes, Workspace,
};
use crate::ops::{self, Accumulation, Precision};
use crate::train::{Hyperparameters, Optimizer};

const SIZES: Sizes = Sizes {
    n_layer: 3,
    n_head: 2,
    n_embd: 24,
    context_length: 70,
    vocab: 53,
};

/// Two windows: longer than one attention block, not a multiple of any vector length.
pub(super) const BATCH: usize = 2;
pub(super) const TIME: usize = 70;

/// A gradient below this share of the mean gradient is only rounding error: a bias on keys shifts all scores of a row equally.
const SMALL: f64 = 1e-2;

/// Returns small decoders that together have every part: GPT-2 with biases and attention scales, without biases, and with the exact
/// GELU and an untied head; Llama with shared keys, Llama 3, Qwen2, Llama with biases, OLMo.
pub fn configs() -> Vec<(&'static str, DecoderConfig)> {
    let gpt2 = DecoderConfig {
        attention_scales: vec![1.0, 0.5, 1.0 / 3.0],
        ..DecoderConfig::gpt2(SIZES, true)
    };
    // Four query heads of ten channels, two of them for each key and value head; together not as wide as the residual stream.
    let llama = DecoderConfig {
        n_head: 4,
        n_kv_head: 2,
        head_size: 10,
        n_inner: 40,
        attention_scales: vec![1.0, 0.5, 1.0],
        ..DecoderConfig::llama(SIZES)
    };
    let mut llama3 = llama.clone();
    if let Positions::Rotary(rope) = &mut llama3.positions {
        rope.scaling = RopeScaling::Llama3 {
            factor: 4.0,
            low: 1.0,
            high: 4.0,
            original: 40.0,
        };
    }
    let bare = DecoderConfig {
        biases: Biases::default(),
        ..gpt2.clone()
    };
    let exact_gelu = DecoderConfig {
        mlp: Mlp::GeluErf,
        tied_head: false,
        n_inner: 37,
        ..gpt2.clone()
    };
    let tied = DecoderConfig {
        tied_head: true,
        ..llama3
    };
    let qwen2 = DecoderConfig {
        biases: Biases {
            qkv: true,
            ..Biases::default()
        },
        n_kv_head: 1,
        ..llama.clone()
    };
    let biased = DecoderConfig {
        biases: Biases {
            norms: false,
            ..Biases::all(true)
        },
        n_kv_head: 4,
        head_size: 6,
        ..llama.clone()
    };
    let olmo = DecoderConfig {
        norm: Norms::Plain,
        ..llama.clone()
    };
    vec![
        ("gpt2", gpt2),
        ("gpt2 without biases", bare),
        (
            "gpt2 with exact gelu, own head, odd inner width",
            exact_gelu,
        ),
        ("llama", llama),
        ("llama 3, tied", tied),
        ("qwen2", qwen2),
        ("llama with biases", biased),
        ("olmo", olmo),
    ]
}

/// Returns the entry of [`configs`] with this name, or GPT-2.
pub(super) fn of_name(name: &str) -> DecoderConfig {
    let mut all = configs().into_iter();
    let found = all.find(|(known, _)| *known == name);
    found.map_or_else(|| DecoderConfig::gpt2(SIZES, true), |(_, config)| config)
}

impl SelfTest<'_> {
    /// Checks losses, gradients and steps of complete models.
    pub fn whole_models(&mut self) {
        for (name, config) in configs() {
            let config = self.fitted(&config);
            for case in self.cases() {
                let what = format!("{name}, {}", case.name());
                self.check_shares(&format!("gradients of {what}"), |t| {
                    t.gradients_of(&config, case, None)
                });
                self.check_shares(&format!("steps of {what}"), |t| t.steps_of(&config, case));
            }
        }
    }

    /// Checks losses and gradients of models distilled from a teacher that shares only their vocabulary.
    pub fn taught_models(&mut self) {
        let [gpt2, llama] = ["gpt2", "llama"].map(of_name);
        let wide = Sizes {
            n_layer: 2,
            n_embd: 40,
            context_length: 96,
            ..SIZES
        };
        let teacher = DecoderConfig::gpt2(wide, true);
        let mix = |alpha, temperature| Mix { alpha, temperature };
        for (name, student, teacher, mix) in [
            ("gpt2", &gpt2, &teacher, mix(0.4, 2.0)),
            ("llama", &llama, &teacher, mix(0.5, 1.0)),
            ("gpt2", &gpt2, &llama, mix(1.0, 1.0)),
        ] {
            let [student, teacher] = [student, teacher].map(|config| self.fitted(config));
            let learns = format!("{name} from {}, {mix}", teacher.family.name());
            for case in self.cases() {
                let what = format!("gradients of distillation, {learns}, {}", case.name());
                self.check_shares(&what, |t| {
                    let model = t.shaken(&teacher, &Device::Cpu)?;
                    t.gradients_of(&student, case, Some((&model, mix)))
                });
            }
        }
    }

    /// Makes a model whose norms and biases are not ones and zeros.
    pub(super) fn shaken(&mut self, config: &DecoderConfig, device: &Device) -> Result<Decoder> {
        let model = Decoder::random(config.clone(), 7, device)?;
        for (i, p) in model.params.iter().enumerate() {
            let size = if p.shape.len() == 1 { 0.1 } else { 0.05 };
            let noise = ops::read(&self.normal_there(&p.shape, candle_core::DType::F32, size)?)?;
            let values = model.weights.read(i)?.into_iter().zip(noise);
            let shaken: Vec<f32> = values.map(|(v, n)| v + n).collect();
            model.weights.write(i, &shaken)?;
        }
        Ok(model)
    }

    fn gradients_of(
        &mut self,
        config: &DecoderConfig,
        case: Case,
        taught: Option<(&Decoder, Mix)>,
    ) -> Result<Vec<f64>> {
        let model = self.shaken(config, self.device)?;
        let (inputs, targets) = (
            self.ids(&[BATCH, TIME], config.vocab)?,
            self.ids(&[BATCH, TIME], config.vocab)?,
        );
        let composed = Composed::of(&model)?;
        let loss = match taught {
            None => composed.loss(&inputs.cpu, &targets.cpu)?,
            Some((teacher, mix)) => {
                let taught = Composed::of(teacher)?.logits(&inputs.cpu)?.detach();
                let logits = composed.logits(&inputs.cpu)?;
                let ids = targets.cpu.flatten_all()?;
                distillation::row_losses(&logits, &taught, &ids, mix)?.mean_all()?
            }
        };
        let pass = |model: &Decoder, ws: &Workspace| {
            let scale = 1.0 / (BATCH * TIME) as f32;
            let Some((teacher, mix)) = taught else {
                return model.forward_backward(ws, scale);
            };
            let teacher = distillation::teacher(teacher, ws, model.weights.device())?;
            teacher.read(&inputs.cpu.flatten_all()?.to_vec1::<u32>()?)?;
            let (alpha, temperature) = (mix.alpha as f32, mix.temperature as f32);
            model.forward_backward_with(ws, Accumulation::Add, |head| {
                head.distillation(&teacher, alpha, temperature, scale)
            })
        };
        let oracle = loss.backward()?;
        let wanted = composed.vars.iter().map(|var| match oracle.get(var) {
            Some(grad) => grad.flatten_all()?.to_vec1::<f64>(),
            None => bail!("candle has lost a gradient of {:?}", var.shape()),
        });
        let wanted: Vec<Vec<f64>> = wanted.collect::<Result<_>>()?;

        let ws = workspace(config, case.compute, self.device, [&inputs, &targets])?;
        pass(&model, &ws)?;
        let mut shares = vec![self.mean_loss(&ws, &loss, case)?];
        let distances = Distances::new(&wanted, &model)?;
        // A GPU also rounds activations, so its tolerance is a multiple of the CPU's error.
        let rounded = match (case.compute, self.device.is_cuda()) {
            (Precision::Bf16, true) => {
                let cpu = Decoder::zeros(config.clone(), &Device::Cpu)?;
                cpu.weights.write_all(&model.weights.read_all()?)?;
                let ws = [&inputs, &targets];
                let ws = workspace(config, case.compute, &Device::Cpu, ws)?;
                pass(&cpu, &ws)?;
                Some(Distances::new(&wanted, &cpu)?)
            }
            _ => None,
        };
        for (i, (p, found)) in model.params.iter().zip(&distances.0).enumerate() {
            let allowed = match (case.compute, &rounded) {
                (Precision::F32, _) => 1e-5,
                (Precision::Bf16, None) => 8e-2,
                (Precision::Bf16, Some(cpu)) => 3.0 * cpu.0[i] + 5e-3,
            };
            if found.is_nan() || *found > allowed {
                bail!(
                    "the gradient of {} is off by {found:.1e} of its norm, allowed {allowed:.0e}",
                    p.name
                );
            }
            shares.push(found / allowed);
        }
        if case.compute == Precision::Bf16 && distances.0.iter().all(|d| *d < 1e-4) {
            bail!("no gradient moved: nothing was rounded to bf16");
        }
        self.query_key_norms(&model, &wanted, case, &mut shares)?;
        Ok(shares)
    }

    /// Compares the mean loss.
    fn mean_loss(&mut self, ws: &Workspace, want: &Tensor, case: Case) -> Result<f64> {
        let losses = ops::read(&ws.losses)?;
        let mean = losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64;
        let mean = self.put(&[mean as f32], &[1], candle_core::DType::F32)?;
        self.agree(&mean, want, case.one_of(1e-6, 1e-3, 5e-3))
    }

    /// Checks the norms of W_Q's and W_K's gradients, in either family's layout.
    fn query_key_norms(
        &mut self,
        model: &Decoder,
        wanted: &[Vec<f64>],
        case: Case,
        shares: &mut Vec<f64>,
    ) -> Result<()> {
        let c = &model.config;
        let (queries, keys) = (c.attention_width(), c.n_kv_head * c.head_size);
        let got = model.query_key_gradients()?;
        let (mut q, mut k) = (vec![0.0; c.n_layer], vec![0.0; c.n_layer]);
        for (p, wanted) in model.params.iter().zip(wanted) {
            let Some(layer) = p.layer else { continue };
            let norm =
                |values: &mut dyn Iterator<Item = &f64>| values.map(|v| v * v).sum::<f64>().sqrt();
            let columns = |from: usize, n: usize| {
                let rows = wanted.chunks(c.qkv_width());
                norm(&mut rows.flat_map(|row| &row[from..from + n]))
            };
            if p.stem.ends_with("c_attn.weight") {
                (q[layer], k[layer]) = (columns(0, queries), columns(queries, keys));
            } else if p.stem.ends_with("q_proj.weight") {
                q[layer] = norm(&mut wanted.iter());
            } else if p.stem.ends_with("k_proj.weight") {
                k[layer] = norm(&mut wanted.iter());
            }
        }
        for (got, want) in [(got.0, q), (got.1, k)] {
            let got: Vec<f32> = got.iter().map(|&v| v as f32).collect();
            let got = self.put(&got, &[c.n_layer], candle_core::DType::F32)?;
            let want = Tensor::from_vec(want, c.n_layer, &Device::Cpu)?;
            shares.push(self.agree(&got, &want, case.one_of(1e-5, 8e-2, 2e-1))?);
        }
        Ok(())
    }

    /// Compares steps on one batch with candle-nn's AdamW, with clipping, and weight decay for matrices only.
    fn steps_of(&mut self, config: &DecoderConfig, case: Case) -> Result<Vec<f64>> {
        const STEPS: usize = 6;
        const LR: f64 = 1e-3;
        let model = self.shaken(config, self.device)?;
        let ids = [
            self.ids(&[BATCH, TIME], config.vocab)?,
            self.ids(&[BATCH, TIME], config.vocab)?,
        ];
        let ws = workspace(config, case.compute, self.device, [&ids[0], &ids[1]])?;
        let composed = Composed::of(&model)?;
        let train: TrainConfig = serde_json::from_value(serde_json::json!({
            "steps": STEPS, "batch_tokens": BATCH * TIME, "lr": LR, "weight_decay": 0.1,
            "betas": [0.9, 0.95], "clip": 0.7,
        }))
        .map_err(candle_core::Error::wrap)?;
        let update = ops::AdamW {
            lr: LR as f32,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            grad_scale: 1.0,
            step: 1,
        };
        let [mut decayed, mut others] = [true, false].map(|decays| {
            let vars = model.params.iter().zip(&composed.vars);
            let own = vars.filter(|(p, _)| p.decays() == decays);
            let settings = settings(&ops::AdamW {
                weight_decay: if decays { 0.1 } else { 0.0 },
                ..update
            });
            AdamW::new(own.map(|(_, var)| var.clone()).collect(), settings)
        });
        let (decayed, others) = (decayed.as_mut(), others.as_mut());
        let (Ok(decayed), Ok(others)) = (decayed, others) else {
            bail!("candle-nn's AdamW takes no variables");
        };
        let mut optimizer = Optimizer::new(&model, self.device)?;
        let mut shares = Vec::new();
        for _ in 0..STEPS {
            ops::zero(&model.grads.flat)?;
            model.forward_backward(&ws, 1.0 / (BATCH * TIME) as f32)?;
            let norm = Optimizer::grad_norm(&model, &[])?;
            optimizer.step(&model, norm, &Hyperparameters::of(&train, LR))?;

            let loss = composed.loss(&ids[0].cpu, &ids[1].cpu)?;
            let mut grads = loss.backward()?;
            let mut squares = 0.0;
            for var in &composed.vars {
                if let Some(grad) = grads.get(var) {
                    squares += grad.sqr()?.sum_all()?.to_scalar::<f64>()?;
                }
            }
            let clip = (train.clip / squares.sqrt()).min(1.0);
            for var in &composed.vars {
                if let Some(grad) = grads.get(var) {
                    let clipped = (grad * clip)?;
                    grads.insert(var, clipped);
                }
            }
            decayed.step(&grads)?;
            others.step(&grads)?;
            shares.push(self.mean_loss(&ws, &loss, case)?);
            shares.push(self.gradient_norm(norm, squares.sqrt(), case)?);
        }
        Ok(shares)
    }

    fn gradient_norm(&mut self, got: f64, want: f64, case: Case) -> Result<f64> {
        let got = self.put(&[got as f32], &[1], candle_core::DType::F32)?;
        let want = Tensor::new(want, &Device::Cpu)?;
        self.agree(&got, &want, case.one_of(1e-5, 3e-2, 1e-1))
    }
}

/// Makes buffers with these token ids.
pub(super) fn workspace(
    config: &DecoderConfig,
    compute: Precision,
    device: &Device,
    ids: [&Twin; 2],
) -> Result<Workspace> {
    let ws = Workspace::computing(config, BATCH, TIME, Mode::Train, compute, device)?;
    for (into, ids) in [&ws.inputs, &ws.targets].into_iter().zip(ids) {
        ops::write(into, &ids.cpu.flatten_all()?.to_vec1::<u32>()?)?;
    }
    Ok(ws)
}

/// Returns the error of each gradient of a model, as a share of its norm.
struct Distances(Vec<f64>);

impl Distances {
    fn new(wanted: &[Vec<f64>], model: &Decoder) -> Result<Self> {
        let squares = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
        let elements: usize = wanted.iter().map(Vec::len).sum();
        let all: f64 = wanted.iter().map(|w| squares(w)).sum();
        let mean = all / elements as f64;
        let mut distances = Vec::new();
        for (want, view) in wanted.iter().zip(&model.grads.views) {
            let got = ops::read(view)?;
            if got.len() != want.len() {
                bail!("{} gradients, expected {}", got.len(), want.len());
            }
            let off = got.iter().zip(want).map(|(g, w)| f64::from(*g) - w);
            let off: Vec<f64> = off.collect();
            let least = SMALL * SMALL * mean * want.len() as f64;
            distances.push((squares(&off) / squares(want).max(least)).sqrt());
        }
        Ok(Self(distances))
    }
}
