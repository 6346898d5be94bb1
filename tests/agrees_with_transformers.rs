//! Logits, losses and a training curve agree with Hugging Face's transformers and PyTorch's AdamW.
//!
//! The fixture is made by `tests/fixtures/make_gpt2_fixture.py`.

use std::path::PathBuf;

use candle_core::{Device, Result};
use heirloom::config::Schedule;
use heirloom::model::{self, Decoder, Mode, Workspace};
use heirloom::ops;
use heirloom::run::schedule::LearningRate;
use heirloom::train::optimizer::{Hyperparameters, Optimizer};
use serde_json::Value;

struct Fixture {
    model: Decoder,
    expected: Value,
    tokens: Vec<u32>,
    context: usize,
}

impl Fixture {
    fn load() -> Self {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        Self {
            model: model::load(&dir, &Device::Cpu).unwrap(),
            tokens: serde_json::from_value(expected["tokens"].clone()).unwrap(),
            context: expected["context"].as_u64().unwrap() as usize,
            expected,
        }
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        serde_json::from_value(self.expected[key].clone()).unwrap()
    }

    fn number(&self, key: &str) -> f64 {
        self.expected[key].as_f64().unwrap()
    }

    fn workspace(&self, batch: usize) -> Result<Workspace> {
        Workspace::new(
            &self.model.config,
            batch,
            self.context,
            Mode::Train,
            &Device::Cpu,
        )
    }

    /// Puts `ws.batch` windows from window `first` on into a workspace.
    fn fill(&self, ws: &Workspace, first: usize) -> Result<()> {
        let windows: Vec<&[u32]> = self
            .tokens
            .chunks_exact(self.context + 1)
            .skip(first)
            .take(ws.batch)
            .collect();
        let inputs: Vec<u32> = windows
            .iter()
            .flat_map(|w| w[..self.context].to_vec())
            .collect();
        let targets: Vec<u32> = windows.iter().flat_map(|w| w[1..].to_vec()).collect();
        ops::write(&ws.inputs, &inputs)?;
        ops::write(&ws.targets, &targets)
    }
}

fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() < tolerance, "{what}[{i}]: {g}, expected {w}");
    }
}

fn floats(tensor: &candle_core::Tensor) -> Vec<f64> {
    ops::read(tensor)
        .unwrap()
        .iter()
        .map(|&x| f64::from(x))
        .collect()
}

#[test]
fn logits_and_losses_are_those_of_transformers() -> Result<()> {
    let f = Fixture::load();
    assert_eq!(f.model.config.attention_scales, [1.0, 0.5, 1.0 / 3.0]);
    let ws = f.workspace(1)?;
    f.fill(&ws, 0)?;
    let logits = floats(&f.model.logits(&ws)?);
    let last = &logits[(f.context - 1) * f.model.config.vocab..];
    assert_close("logits", last, &f.numbers("last_logits"), 2e-5);
    f.model.forward(&ws)?;
    assert_close(
        "losses",
        &floats(&ws.losses),
        &f.numbers("token_losses"),
        1e-5,
    );
    Ok(())
}

#[test]
fn ten_training_steps_follow_pytorchs_curve() -> Result<()> {
    let f = Fixture::load();
    let (batch, micro) = (f.number("batch") as usize, f.number("micro") as usize);
    let steps = f.number("steps") as u64;
    let rate = LearningRate {
        kind: Schedule::Cosine,
        peak: f.number("lr"),
        min: f.number("min_lr"),
        warmup: f.number("warmup") as u64,
        steps,
    };
    let config = heirloom::config::TrainConfig {
        clip: f.number("clip"),
        weight_decay: f.number("weight_decay"),
        ..train_config()
    };
    let mut optimizer = Optimizer::new(&f.model, &Device::Cpu)?;
    let ws = f.workspace(micro)?;
    let scale = 1.0 / (batch * f.context) as f32;
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..steps {
        ops::zero(&f.model.grads.flat)?;
        let mut sum = 0.0;
        for part in 0..batch / micro {
            f.fill(&ws, step as usize * batch + part * micro)?;
            f.model.forward_backward(&ws, scale)?;
            sum += floats(&ws.losses).iter().sum::<f64>();
        }
        let norm = Optimizer::grad_norm(&f.model, &[])?;
        let values = Hyperparameters::of(&config, rate.at(step));
        optimizer.step(&f.model, norm, &values)?;
        losses.push(sum * f64::from(scale));
        norms.push(norm);
    }
    assert_close("loss", &losses, &f.numbers("train_losses"), 2e-5);
    assert_close("gradient norm", &norms, &f.numbers("grad_norms"), 5e-5);
    Ok(())
}

fn train_config() -> heirloom::config::TrainConfig {
    let source = heirloom::config::Source::named("tiny").unwrap();
    heirloom::config::load(&source, &[]).unwrap().config.train
}
