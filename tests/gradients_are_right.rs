//! Every parameter's gradient agrees with candle's autograd and with finite differences, for all parts of decoders.

use candle_core::{DType, Device, Result};
use heirloom::model::{Decoder, DecoderConfig, Mode, Workspace};
use heirloom::ops::{self, Accumulation, Precision};
use heirloom::selftest::{SelfTest, configs};

/// Returns one of the models that `heirloom selftest` checks.
fn config(name: &str) -> DecoderConfig {
    let mut all = configs().into_iter();
    all.find(|(known, _)| *known == name).unwrap().1
}

/// Makes a model whose norms and biases are not ones and zeros.
fn model(config: DecoderConfig) -> Result<Decoder> {
    let model = Decoder::random(config, 7, &Device::Cpu)?;
    for (i, p) in model.params.iter().enumerate() {
        let values = model.weights.read(i)?;
        let size = if p.shape.len() == 1 { 0.2 } else { 0.1 };
        let values: Vec<f32> = (0u64..)
            .zip(values)
            .map(|(j, v)| v + size * noise(i as u64 * 1_000_003 + j))
            .collect();
        model.weights.write(i, &values)?;
    }
    Ok(model)
}

/// Returns a repeatable number in (-1, 1).
fn noise(i: u64) -> f32 {
    let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0
}

/// Makes a workspace of two ragged windows: longer than one attention block, not a multiple of any vector length.
fn workspace(config: &DecoderConfig, time: usize, mode: Mode) -> Result<Workspace> {
    computing(config, time, mode, Precision::F32)
}

fn computing(
    config: &DecoderConfig,
    time: usize,
    mode: Mode,
    compute: Precision,
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

/// Runs the checks of `heirloom selftest`, in f32 and bf16: losses, gradients and steps of every model are compared with candle's
/// autograd and candle-nn's AdamW in f64.
#[test]
fn gradients_and_steps_agree_with_candles_autograd() {
    for seed in [1, 2] {
        let mut failed = Vec::new();
        let mut told = |good: bool, name: &str, found: &str| {
            if !good {
                failed.push(format!("{name}: {found}"));
            }
        };
        let mut test = SelfTest::new(&Device::Cpu, seed, &mut told);
        test.whole_models();
        assert_eq!(
            test.counts().0,
            4 * configs().len(),
            "seed {seed}:\n{}",
            failed.join("\n")
        );
    }
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
        let start = model.weights.read(i)?;
        let grad = ops::read(&model.grads.views[i])?;
        // Along the gradient's direction, the difference is largest.
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
            model.weights.write(i, &moved)?;
            mean_loss(model, &ws)
        };
        // Central differences with the first error term taken out (Richardson).
        let central = |h: f64| -> Result<f64> { Ok((at(h)? - at(-h)?) / (2.0 * h)) };
        let h = 2e-2 / length.max(1.0);
        let slope = (4.0 * central(h / 2.0)? - central(h)?) / 3.0;
        model.weights.write(i, &start)?;
        assert!(
            // A bias on keys shifts all scores of a row equally, so its gradient is almost zero and f32's noise dominates.
            (slope - length).abs() < 5e-3 * length + 3e-6,
            "{what}, {}: slope {slope}, gradient's length {length}",
            p.name
        );
    }
    Ok(())
}

/// Recomputed activations and their gradients equal the kept ones, bit for bit.
#[test]
fn recomputed_activations_give_the_same_gradients() -> Result<()> {
    for (what, config) in configs() {
        for compute in [Precision::F32, Precision::Bf16] {
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
    for config in [config("gpt2"), config("llama")] {
        accumulated(&model(config)?)?;
    }
    Ok(())
}

/// Runs the checks of `heirloom selftest` on a batch in parts: losses, gradients and their norms.
#[test]
fn batches_in_parts_agree_with_whole_ones() {
    let mut failed = Vec::new();
    let mut told = |good: bool, name: &str, found: &str| {
        if !good {
            failed.push(format!("{name}: {found}"));
        }
    };
    let mut test = SelfTest::new(&Device::Cpu, 1, &mut told);
    test.passes();
    let checks = 2 * configs().len();
    assert_eq!(test.counts(), (checks, 0), "{}", failed.join("\n"));
}

/// A first pass that writes gradients gives the same as one that adds to zeros, bit for bit except the sign of zeros.
#[test]
fn gradients_that_are_written_are_those_added_to_zeros() -> Result<()> {
    for (what, config) in configs() {
        for compute in [Precision::F32, Precision::Bf16] {
            let model = model(config.clone())?;
            let ws = computing(&model.config, 40, Mode::Train, compute)?;
            let gradients = |before: f32, how| -> Result<Vec<f32>> {
                let values = vec![before; model.grads.flat.elem_count()];
                ops::write(&model.grads.flat, &values)?;
                model.forward_backward_with(&ws, how, |head| head.cross_entropy(1.0 / 80.0))?;
                ops::read(&model.grads.flat)
            };
            let added = gradients(0.0, Accumulation::Add)?;
            assert!(added.iter().any(|&g| g != 0.0));
            assert!(
                gradients(f32::NAN, Accumulation::Write)? == added,
                "{what}, {compute:?}: other gradients"
            );
        }
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
    let model = model(config("gpt2"))?;
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
    let model = model(config("gpt2"))?;
    let ws = workspace(&model.config, 8, Mode::Forward)?;
    let mut ids = vec![0u32; 16];
    ids[5] = 53;
    ops::write(&ws.inputs, &ids)?;
    let error = model.forward(&ws).unwrap_err().to_string();
    assert!(error.contains("token id 53 at position 5"), "{error}");
    assert_eq!(ws.inputs.dtype(), DType::U32);
    Ok(())
}
