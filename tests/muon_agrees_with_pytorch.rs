//! Fifty steps with given gradients lead to the weights of `torch.optim.Muon`, for tall, wide and square matrices, and for
//! queries, keys and values in one tensor. `tests/fixtures/make_muon_fixtures.py` made the fixtures.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use heirloom::config::{MuonScale, OptimizerChoice, TrainConfig};
use heirloom::model::{Decoder, DecoderConfig, Sizes};
use heirloom::ops;
use heirloom::train::{Hyperparameters, Optimizer};

const STEPS: u64 = 50;
/// Largest allowed difference from PyTorch's weights, which have magnitudes up to 1 and move by up to 0.7.
const MOST: f32 = 1e-5;

/// Returns the numbers of a tensor at a step, in (-1, 1), from a hash of their positions.
fn numbers(tensor: u64, step: u64, n: usize) -> Vec<f32> {
    let first = (tensor * 64 + step) << 20;
    (first..)
        .take(n)
        .map(|place| {
            let x = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn gradient(tensor: u64, step: u64, n: usize) -> Vec<f32> {
    let (noise, steady) = (numbers(tensor, step, n), numbers(tensor, 63, n));
    let small = (1.0 / step as f64) as f32;
    let both = noise.iter().zip(steady);
    both.map(|(a, b)| (a + 0.5 * b) * small).collect()
}

/// Returns a model of one layer; Llama's has half as many key and value heads.
fn layer(family: &str) -> DecoderConfig {
    let sizes = Sizes {
        n_layer: 1,
        n_head: 2,
        n_embd: 16,
        context_length: 4,
        vocab: 8,
    };
    match family {
        "gpt2" => DecoderConfig::gpt2(sizes, true),
        _ => DecoderConfig {
            n_kv_head: 1,
            n_inner: 40,
            ..DecoderConfig::llama(sizes)
        },
    }
}

/// Trains the layer, and returns the largest difference from PyTorch's weights.
fn farthest(
    family: &str,
    scale: (MuonScale, &str),
    lr: f64,
    want: &HashMap<String, Tensor>,
) -> f32 {
    let model = Decoder::random(layer(family), 1, &Device::Cpu).unwrap();
    let hidden: Vec<usize> = (0..model.params.len())
        .filter(|&i| model.params[i].is_hidden_matrix())
        .collect();
    for (tensor, &i) in (0..).zip(&hidden) {
        let values = numbers(tensor, 0, model.params[i].len());
        model.weights.write(i, &values).unwrap();
    }
    let train = serde_json::json!({"steps": STEPS, "batch_tokens": 1, "lr": lr});
    let train = TrainConfig {
        optimizer: OptimizerChoice::Muon,
        muon_scale: scale.0,
        weight_decay: 0.1,
        ..serde_json::from_value(train).unwrap()
    };
    let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
    for step in 1..=STEPS {
        for (tensor, &i) in (0..).zip(&hidden) {
            let values = gradient(tensor, step, model.params[i].len());
            ops::write(&model.grads.views[i], &values).unwrap();
        }
        // A norm of 0 is not clipped.
        let values = Hyperparameters::of(&train, lr);
        optimizer.step(&model, 0.0, &values).unwrap();
    }
    let mut farthest = 0f32;
    for &i in &hidden {
        let name = &model.params[i].name;
        let want = &want[&format!("{family}/{}/{name}", scale.1)];
        let want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let got = model.weights.read(i).unwrap();
        assert_eq!(got.len(), want.len(), "{name}");
        let before = numbers(
            hidden.iter().position(|&j| j == i).unwrap() as u64,
            0,
            want.len(),
        );
        let moved = want.iter().zip(&before).map(|(a, b)| (a - b).abs());
        assert!(moved.fold(0f32, f32::max) > 0.1, "{name} has not moved");
        let off = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
        farthest = off.fold(farthest, f32::max);
    }
    farthest
}

#[test]
fn fifty_steps_agree() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/muon.safetensors"
    );
    let want = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let (original, match_rms) = (MuonScale::Original, MuonScale::MatchRmsAdamw);
    for family in ["gpt2", "llama"] {
        for (scale, lr) in [
            ((original, "original"), 0.02),
            ((match_rms, "match_rms_adamw"), 0.005),
        ] {
            let off = farthest(family, scale, lr, &want);
            println!("{family} {}: {off:.1e}", scale.1);
            assert!(off < MOST, "{family} {}: {off:e}", scale.1);
        }
    }
}
