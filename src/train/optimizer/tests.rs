use super::*;
use crate::model::{DecoderConfig, Sizes};

fn model() -> Decoder {
    let sizes = Sizes {
        n_layer: 4,
        n_head: 2,
        n_embd: 8,
        context_length: 6,
        vocab: 11,
    };
    let model = Decoder::random(DecoderConfig::gpt2(sizes, true), 3, &Device::Cpu).unwrap();
    let n = model.grads.flat.elem_count();
    let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
    ops::write(&model.grads.flat, &values).unwrap();
    model
}

fn values(frozen: &[usize]) -> Hyperparameters<'_> {
    Hyperparameters {
        lr: 1e-2,
        betas: [0.9, 0.95],
        weight_decay: 0.1,
        clip: 1.0,
        frozen,
        muon: None,
    }
}

/// Weights, moments and counts of one tensor after two updates.
type State = (Vec<f32>, Vec<f32>, Vec<f32>, u32);

fn updated(frozen: &[usize]) -> (Decoder, Vec<State>, f64) {
    let model = model();
    let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
    let norm = Optimizer::grad_norm(&model, frozen).unwrap();
    for _ in 0..2 {
        optimizer.step(&model, norm, &values(frozen)).unwrap();
    }
    let state = |i: usize| {
        let read = |arena: &Arena| ops::read(&arena.views[i]).unwrap();
        (
            model.weights.read(i).unwrap(),
            read(&optimizer.m),
            read(&optimizer.v),
            optimizer.steps[i],
        )
    };
    let states = (0..model.params.len()).map(state).collect();
    (model, states, norm)
}

#[test]
fn frozen_layers_do_not_change_by_a_bit_and_do_not_count() {
    let frozen = [0, 2, 3];
    let (model, states, norm) = updated(&frozen);
    let fresh = self::model();
    let mut squares = 0.0;
    for (i, (p, (w, m, v, steps))) in model.params.iter().zip(&states).enumerate() {
        let before = fresh.weights.read(i).unwrap();
        let is_frozen = p.layer.is_some_and(|layer| frozen.contains(&layer));
        if is_frozen {
            assert_eq!(w, &before, "{}", p.name);
            assert!(m.iter().chain(v).all(|&x| x == 0.0) && *steps == 0);
        } else {
            assert_ne!(w, &before, "{}", p.name);
            assert_eq!(*steps, 2);
            let grad = ops::read(&fresh.grads.views[i]).unwrap();
            squares += grad
                .iter()
                .map(|&g| f64::from(g) * f64::from(g))
                .sum::<f64>();
        }
    }
    assert!((norm - squares.sqrt()).abs() < 1e-9 * norm);
}

#[test]
fn layers_that_train_do_so_as_if_alone_were_clipped() {
    // The norm is over what trains: the same scale, and the same update, as a model with other gradients of zero.
    let (_, states, norm) = updated(&[1]);
    let model = model();
    for (p, grad) in model.params.iter().zip(&model.grads.views) {
        if p.layer == Some(1) {
            ops::zero(grad).unwrap();
        }
    }
    assert!((Optimizer::grad_norm(&model, &[]).unwrap() - norm).abs() < 1e-9 * norm);
    let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
    for _ in 0..2 {
        optimizer.step(&model, norm, &values(&[])).unwrap();
    }
    for (i, p) in model.params.iter().enumerate() {
        if p.layer != Some(1) {
            let weights = model.weights.read(i).unwrap();
            assert_eq!(weights, states[i].0, "{}", p.name);
        }
    }
}
