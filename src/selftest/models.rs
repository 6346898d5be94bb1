//! Tests of complete models: gradients, repetition, recomputation, steps, and a batch that is too large.

use candle_core::{Device, Result, bail};
use rand::Rng;

use super::SelfTest;
use super::compare::{Tolerance, apart};
use crate::config::TrainConfig;
use crate::model::{Decoder, DecoderConfig, Head, Mlp, Mode, Norms, Sizes, Workspace};
use crate::ops::{self, Accumulation, Precision, Recording};
use crate::train::{Hyperparameters, Optimizer};

const BATCH: usize = 3;
const TIME: usize = 70;

impl SelfTest<'_> {
    pub(super) fn models(&mut self) {
        let sizes = Sizes {
            n_layer: 3,
            n_head: 2,
            n_embd: 128,
            context_length: 96,
            vocab: 301,
        };
        let gpt2 = DecoderConfig::gpt2(sizes, true);
        let mut llama = DecoderConfig::llama(Sizes {
            n_head: 4,
            n_embd: 256,
            ..sizes
        });
        llama.n_kv_head = 2;
        llama.n_inner = 344;
        let exact_gelu = DecoderConfig {
            mlp: Mlp::GeluErf,
            ..gpt2.clone()
        };
        let olmo = DecoderConfig {
            norm: Norms::Plain,
            ..llama.clone()
        };
        for (name, config) in [
            ("gpt2", gpt2),
            ("gpt2 with exact gelu", exact_gelu),
            ("llama", llama),
            ("olmo", olmo),
        ] {
            for compute in [Precision::F32, Precision::Bf16] {
                let what = format!("{name} {}", compute.name());
                self.check(&format!("gradients of a {what} model"), |t| {
                    t.gradients(&config, compute)
                });
                self.check(
                    &format!("{what}: the same bits again, and recomputed"),
                    |t| t.repeats(&config, compute),
                );
                self.check(&format!("{what}: the same bits of recorded passes"), |t| {
                    t.recorded(&config, compute)
                });
                self.check(&format!("{what}: training on one batch"), |t| {
                    t.steps(&config, compute)
                });
            }
        }
        self.check("more memory than there is", Self::too_large);
    }

    fn tokens(&mut self, vocab: usize) -> (Vec<u32>, Vec<u32>) {
        let most = u32::try_from(vocab).unwrap_or(u32::MAX);
        let mut draw = || {
            (0..BATCH * TIME)
                .map(|_| self.rng.random_range(0..most))
                .collect()
        };
        (draw(), draw())
    }

    /// Makes a model with the same weights on every `device`. Adds a fixed pattern, so that norms and biases are not ones and zeros.
    fn model(config: &DecoderConfig, device: &Device) -> Result<Decoder> {
        let model = Decoder::random(config.clone(), 11, device)?;
        let weights = model.weights.read_all()?;
        let shaken = weights.iter().enumerate();
        let shaken: Vec<f32> = shaken.map(|(i, w)| w + 0.02 * (i as f32).sin()).collect();
        model.weights.write_all(&shaken)?;
        Ok(model)
    }

    fn workspace(
        config: &DecoderConfig,
        mode: Mode,
        compute: Precision,
        device: &Device,
        tokens: &(Vec<u32>, Vec<u32>),
    ) -> Result<Workspace> {
        let ws = Workspace::computing(config, BATCH, TIME, mode, compute, device)?;
        ops::write(&ws.inputs, &tokens.0)?;
        ops::write(&ws.targets, &tokens.1)?;
        Ok(ws)
    }

    fn gradients(&mut self, config: &DecoderConfig, compute: Precision) -> Result<String> {
        let tokens = self.tokens(config.vocab);
        let run = |device: &Device, compute: Precision| -> Result<(Vec<f32>, Decoder)> {
            let model = Self::model(config, device)?;
            let ws = Self::workspace(config, Mode::Train, compute, device, &tokens)?;
            model.forward_backward(&ws, 1.0 / (BATCH * TIME) as f32)?;
            Ok((ops::read(&ws.losses)?, model))
        };
        let exact = run(&Device::Cpu, Precision::F32)?;
        let got = run(self.device, compute)?;
        let loss = match compute {
            Precision::F32 => 1e-5,
            Precision::Bf16 => 1e-2,
        };
        apart(&exact.0, &got.0, Tolerance(loss))?;
        // In bf16, the effect of the CPU's rounding determines the tolerance for the GPU, which also rounds activations.
        let rounded = match compute {
            Precision::F32 => None,
            Precision::Bf16 => Some(run(&Device::Cpu, compute)?.1),
        };
        let mut worst: f64 = 0.0;
        for (i, p) in exact.1.params.iter().enumerate() {
            let share = distance(&exact.1, &got.1, i)?;
            let allowed = match &rounded {
                None => 2e-4,
                Some(rounded) => 3.0 * distance(&exact.1, rounded, i)? + 5e-3,
            };
            if !share.is_finite() || share > allowed {
                bail!(
                    "the gradient of {} is off by {share:.1e} of its norm, allowed {allowed:.0e}",
                    p.name
                );
            }
            worst = worst.max(share / allowed);
        }
        Ok(format!("at most {:.0} % of what is allowed", 100.0 * worst))
    }

    fn repeats(&mut self, config: &DecoderConfig, compute: Precision) -> Result<String> {
        let tokens = self.tokens(config.vocab);
        let gpu = Self::model(config, self.device)?;
        let mut first: Option<(Vec<f32>, Vec<f32>)> = None;
        for mode in [Mode::Train, Mode::Train, Mode::Recompute] {
            let ws = Self::workspace(config, mode, compute, self.device, &tokens)?;
            ops::zero(&gpu.grads.flat)?;
            gpu.forward_backward(&ws, 1.0)?;
            let now = (ops::read(&ws.losses)?, ops::read(&gpu.grads.flat)?);
            match &first {
                None => first = Some(now),
                Some(first) if *first == now => {}
                Some(_) => bail!("other bits in mode {mode:?}"),
            }
        }
        Ok("three times".into())
    }

    /// Compares passes that are run directly with passes that are queued as the trainer does: with the feature `graph`, the third
    /// and later ones replay a recording. Each pass has other tokens.
    fn recorded(&mut self, config: &DecoderConfig, compute: Precision) -> Result<String> {
        const PASSES: usize = 5;
        let batches: Vec<_> = (0..PASSES).map(|_| self.tokens(config.vocab)).collect();
        let mut all = Vec::new();
        for recorded in [false, true] {
            let model = Self::model(config, self.device)?;
            let mode = Mode::Train;
            let ws = Self::workspace(config, mode, compute, self.device, &batches[0])?;
            let mut recording = Recording::default();
            let mut found = Vec::new();
            for (inputs, targets) in &batches {
                ops::write(&ws.inputs, inputs)?;
                ops::write(&ws.targets, targets)?;
                let how = Accumulation::Add;
                let loss = |head: Head<'_>| head.cross_entropy(1.0);
                match recorded {
                    true => model.forward_backward_recorded(&mut recording, &ws, how, loss)?,
                    false => model.forward_backward_with(&ws, how, loss)?,
                }
                found.push((ops::read(&ws.losses)?, ops::read(&model.grads.flat)?));
                // The bf16 copy must follow a change of the weights.
                let scaled = model
                    .weights
                    .read_all()?
                    .iter()
                    .map(|w| 0.99 * w)
                    .collect::<Vec<_>>();
                model.weights.write_all(&scaled)?;
            }
            all.push(found);
        }
        match all[0].iter().zip(&all[1]).position(|(a, b)| a != b) {
            None => Ok(format!("{PASSES} passes")),
            Some(pass) => bail!("other bits in pass {pass}"),
        }
    }

    fn steps(&mut self, config: &DecoderConfig, compute: Precision) -> Result<String> {
        const STEPS: usize = 30;
        // Small enough that rounding errors do not grow from step to step.
        const LR: f64 = 2e-4;
        let tokens = self.tokens(config.vocab);
        let train: TrainConfig = serde_json::from_value(serde_json::json!({
            "steps": STEPS, "batch_tokens": BATCH * TIME, "lr": LR,
        }))
        .map_err(candle_core::Error::wrap)?;
        let losses = |device: &Device, compute: Precision| -> Result<Vec<f32>> {
            let model = Self::model(config, device)?;
            let ws = Self::workspace(config, Mode::Train, compute, device, &tokens)?;
            let mut optimizer = Optimizer::new(&model, device)?;
            let mut losses = Vec::new();
            for _ in 0..STEPS {
                let how = Accumulation::first(&model.grads.flat)?;
                let scale = 1.0 / (BATCH * TIME) as f32;
                model.forward_backward_with(&ws, how, |head| head.cross_entropy(scale))?;
                let mut sums = ops::Sums::zero(device)?;
                sums.add_losses(&ws.losses)?;
                Optimizer::add_squares(&model, &[], &mut sums)?;
                let totals = sums.read()?;
                losses.push((totals.losses / (BATCH * TIME) as f64) as f32);
                let norm = totals.squares.sqrt();
                optimizer.step(&model, norm, &Hyperparameters::of(&train, LR))?;
            }
            Ok(losses)
        };
        let (cpu, gpu) = (
            losses(&Device::Cpu, Precision::F32)?,
            losses(self.device, compute)?,
        );
        let allowed = match compute {
            Precision::F32 => 2e-3,
            Precision::Bf16 => 3e-2,
        };
        let found = apart(&cpu, &gpu, Tolerance(allowed))?;
        Ok(format!("{:.3} to {:.3}, {found}", gpu[0], gpu[STEPS - 1]))
    }

    /// Checks that a batch that is too large is an error, and that everything works after it.
    fn too_large(&mut self) -> Result<String> {
        let config = DecoderConfig::gpt2(
            Sizes {
                n_layer: 48,
                n_head: 25,
                n_embd: 1600,
                context_length: 2048,
                vocab: 50304,
            },
            true,
        );
        let device = self.device;
        let Err(error) =
            Workspace::computing(&config, 2000, 2048, Mode::Train, Precision::Bf16, device)
        else {
            bail!("buffers of some 13 TB were given");
        };
        let x = self.normal(&[1000], candle_core::DType::F32, 1.0)?;
        let (want, got) = (ops::sum_of_squares(&x.cpu)?, ops::sum_of_squares(&x.gpu)?);
        if (want - got).abs() > 1e-9 * want {
            bail!("after an error of memory the sum of squares is {got}, the CPU's {want}");
        }
        let error = error.to_string();
        Ok(error.lines().next().unwrap_or_default().to_string())
    }
}

/// Returns the distance of two models' gradients of parameter `i`, as a share of the first one's norm.
fn distance(a: &Decoder, b: &Decoder, i: usize) -> Result<f64> {
    let (a, b) = (ops::read(&a.grads.views[i])?, ops::read(&b.grads.views[i])?);
    let square = |v: f32| f64::from(v).powi(2);
    let apart: f64 = a.iter().zip(&b).map(|(a, b)| square(a - b)).sum();
    let size: f64 = a.iter().map(|&a| square(a)).sum();
    Ok((apart / size.max(1e-30)).sqrt())
}
