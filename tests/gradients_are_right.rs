//! Every parameter's gradient agrees with candle's autograd and with finite differences.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use heirloom::model::{Gpt2, Gpt2Config, Mode, Workspace};
use heirloom::ops;

fn config(bias: bool) -> Gpt2Config {
    Gpt2Config {
        n_layer: 3,
        n_head: 2,
        n_embd: 24,
        context_length: 70,
        vocab: 53,
        bias,
        attention_scales: vec![1.0, 0.5, 1.0 / 3.0],
        layer_norm_epsilon: 1e-5,
    }
}

/// A model whose norms and biases are not at their trivial start.
fn model(bias: bool) -> Result<Gpt2> {
    let model = Gpt2::random(config(bias), 7, &Device::Cpu)?;
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
fn workspace(config: &Gpt2Config, time: usize, mode: Mode) -> Result<Workspace> {
    let ws = Workspace::new(config, 2, time, mode, &Device::Cpu)?;
    let ids = |seed: u64| -> Vec<u32> {
        (0..2 * time as u64)
            .map(|i| ((noise(i + seed) + 1.0) * 0.5 * config.vocab as f32) as u32)
            .collect()
    };
    ops::write(&ws.inputs, &ids(11))?;
    ops::write(&ws.targets, &ids(999))?;
    Ok(ws)
}

fn mean_loss(model: &Gpt2, ws: &Workspace) -> Result<f64> {
    model.forward(ws)?;
    let losses = ops::read(&ws.losses)?;
    Ok(losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64)
}

/// The same model composed of candle's differentiable operations.
fn candle_loss(config: &Gpt2Config, vars: &[Var], ws: &Workspace) -> Result<Tensor> {
    let mut vars = vars.iter().map(Var::as_tensor);
    let mut next = || vars.next().expect("a variable for every parameter");
    let (b, t, c, h) = (ws.batch, ws.time, config.n_embd, config.n_head);
    let maybe = |x: Tensor, bias: Option<&Tensor>| match bias {
        Some(bias) => x.broadcast_add(bias),
        None => Ok(x),
    };
    let norm = |x: &Tensor, w: &Tensor, bias: Option<&Tensor>| -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let var = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let x = centred.broadcast_div(&(var + config.layer_norm_epsilon)?.sqrt()?)?;
        maybe(x.broadcast_mul(w)?, bias)
    };
    let (wte, wpe) = (next(), next());
    let flat = ws.inputs.flatten_all()?;
    let tokens = wte.index_select(&flat, 0)?.reshape((b, t, c))?;
    let mut x = tokens.broadcast_add(&wpe.narrow(0, 0, t)?)?;
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
    for layer in 0..config.n_layer {
        let mut pair = || (next(), config.bias.then(&mut next));
        let (ln_1, attn, proj, ln_2, fc, fc_proj) =
            (pair(), pair(), pair(), pair(), pair(), pair());
        let qkv = norm(&x, ln_1.0, ln_1.1)?
            .reshape((b * t, c))?
            .matmul(attn.0)?;
        let qkv = maybe(qkv, attn.1)?.reshape((b, t, 3, h, c / h))?;
        let part = |i: usize| {
            qkv.narrow(2, i, 1)?
                .squeeze(2)?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scale = f64::from(config.attention_scales[layer]) / ((c / h) as f64).sqrt();
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? * scale)?;
        let scores = scores.broadcast_add(&mask)?;
        let exp = scores
            .broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?
            .exp()?;
        let probs = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
        let att = probs
            .matmul(&v)?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((b * t, c))?;
        x = (x + maybe(att.matmul(proj.0)?, proj.1)?.reshape((b, t, c))?)?;
        let hidden = norm(&x, ln_2.0, ln_2.1)?
            .reshape((b * t, c))?
            .matmul(fc.0)?;
        let hidden = maybe(hidden, fc.1)?.gelu()?;
        x = (x + maybe(hidden.matmul(fc_proj.0)?, fc_proj.1)?.reshape((b, t, c))?)?;
    }
    let (w, bias) = (next(), config.bias.then(&mut next));
    let x = norm(&x, w, bias)?.reshape((b * t, c))?;
    let logits = x.matmul(&wte.t()?)?;
    candle_nn::loss::cross_entropy(&logits, &ws.targets.flatten_all()?)
}

#[test]
fn gradients_agree_with_candles_autograd() -> Result<()> {
    for bias in [true, false] {
        let model = model(bias)?;
        let ws = workspace(&model.config, 70, Mode::Train)?;
        let vars: Vec<Var> = model
            .weights
            .views
            .iter()
            .map(|v| Var::from_tensor(&v.copy()?))
            .collect::<Result<_>>()?;
        let loss = candle_loss(&model.config, &vars, &ws)?;
        let oracle = loss.backward()?;
        model.forward_backward(&ws, 1.0 / 140.0)?;
        let ours = mean_loss(&model, &ws)?;
        let theirs = f64::from(loss.to_scalar::<f32>()?);
        assert!((ours - theirs).abs() < 2e-5, "loss {ours}, candle {theirs}");
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
                    "bias {bias}, {}[{i}]: {g}, candle says {w} (largest {largest})",
                    p.name
                );
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    let model = model(true)?;
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
        let h = 2e-2 / length.max(1.0);
        let at = |sign: f64| -> Result<f64> {
            let moved: Vec<f32> = start
                .iter()
                .zip(&grad)
                .map(|(w, g)| (f64::from(*w) + sign * h * f64::from(*g) / length) as f32)
                .collect();
            ops::write(&model.weights.views[i], &moved)?;
            mean_loss(&model, &ws)
        };
        let slope = (at(1.0)? - at(-1.0)?) / (2.0 * h);
        ops::write(&model.weights.views[i], &start)?;
        assert!(
            (slope / length - 1.0).abs() < 5e-3,
            "{}: slope {slope}, gradient's length {length}",
            p.name
        );
    }
    Ok(())
}

#[test]
fn accumulated_micro_batches_give_the_whole_batchs_gradient() -> Result<()> {
    let model = model(true)?;
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
    let model = model(true)?;
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
    let model = model(true)?;
    let ws = workspace(&model.config, 8, Mode::Forward)?;
    let mut ids = vec![0u32; 16];
    ids[5] = 53;
    ops::write(&ws.inputs, &ids)?;
    let error = model.forward(&ws).unwrap_err().to_string();
    assert!(error.contains("token id 53 at position 5"), "{error}");
    assert_eq!(ws.inputs.dtype(), DType::U32);
    Ok(())
}
