mod sharded;

use super::*;
use crate::config::MuonScale;
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

/// Returns weights, moments and counts of one tensor after two updates.
type State = (Vec<f32>, Vec<f32>, Vec<f32>, u32);

fn read(optimizer: &Optimizer, moment: Moment, index: usize) -> Vec<f32> {
    let tensor = optimizer.tensor(index);
    optimizer.gather(moment, tensor).unwrap()
}

fn updated(frozen: &[usize]) -> (Decoder, Vec<State>, f64) {
    updated_with(model(), &values(frozen))
}

fn updated_with(model: Decoder, values: &Hyperparameters<'_>) -> (Decoder, Vec<State>, f64) {
    let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
    let norm = Optimizer::grad_norm(&model, values.frozen).unwrap();
    for _ in 0..2 {
        optimizer.step(&model, norm, values).unwrap();
    }
    let state = |i: usize| {
        (
            model.weights.read(i).unwrap(),
            read(&optimizer, Moment::First, i),
            read(&optimizer, Moment::Second, i),
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
    // The norm covers only trained tensors: scale and update equal those of a model whose other gradients are zero.
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

fn with_muon(frozen: &[usize]) -> Hyperparameters<'_> {
    Hyperparameters {
        muon: Some(Muon {
            lr: 1e-2,
            momentum: 0.95,
            scale: MuonScale::MatchRmsAdamw,
        }),
        ..values(frozen)
    }
}

#[test]
fn muon_updates_hidden_matrices_and_adamw_the_rest() {
    let (_, adamw, _) = updated(&[]);
    let (model, muon, _) = updated_with(self::model(), &with_muon(&[]));
    let mut hidden = 0;
    for (i, p) in model.params.iter().enumerate() {
        if p.is_hidden_matrix() {
            hidden += 1;
            let (w, m, v, steps) = &muon[i];
            assert_ne!(w, &adamw[i].0, "{}", p.name);
            assert!(m.iter().any(|&x| x != 0.0), "{}", p.name);
            assert!(v.iter().all(|&x| x == 0.0) && *steps == 2, "{}", p.name);
        } else {
            assert_eq!(muon[i], adamw[i], "{}", p.name);
        }
    }
    assert_eq!(hidden, 4 * 4);
}

#[test]
fn muon_leaves_frozen_layers_alone() {
    let frozen = [1, 3];
    let (model, states, _) = updated_with(self::model(), &with_muon(&frozen));
    let fresh = self::model();
    for (i, (p, (w, m, _, steps))) in model.params.iter().zip(&states).enumerate() {
        let before = fresh.weights.read(i).unwrap();
        let is_frozen = p.layer.is_some_and(|layer| frozen.contains(&layer));
        assert_eq!(w == &before, is_frozen, "{}", p.name);
        assert_eq!(m.iter().all(|&x| x == 0.0), is_frozen, "{}", p.name);
        assert_eq!(*steps == 0, is_frozen, "{}", p.name);
    }
}

#[test]
fn gradients_are_clipped_before_they_become_muons_momentum() {
    let (_, clipped, norm) = updated_with(self::model(), &with_muon(&[]));
    assert!(norm > 1.0);
    let small = self::model();
    let grads = ops::read(&small.grads.flat).unwrap();
    let grads: Vec<f32> = grads
        .iter()
        .map(|&g| (f64::from(g) / norm) as f32)
        .collect();
    ops::write(&small.grads.flat, &grads).unwrap();
    let not_clipped = Hyperparameters {
        clip: 0.0,
        ..with_muon(&[])
    };
    let (model, scaled, _) = updated_with(small, &not_clipped);
    for (i, p) in model
        .params
        .iter()
        .enumerate()
        .filter(|(_, p)| p.is_hidden_matrix())
    {
        let pairs = clipped[i].1.iter().zip(&scaled[i].1);
        for (a, b) in pairs {
            assert!(
                (a - b).abs() <= 1e-6 * b.abs() + 1e-9,
                "{}: {a} {b}",
                p.name
            );
        }
    }
}

#[test]
fn norms_are_those_of_what_is_trained() {
    let model = model();
    let mut optimizer = Optimizer::new(&model, &Device::Cpu).unwrap();
    let frozen = [2];
    let norm = Optimizer::grad_norm(&model, &frozen).unwrap();
    optimizer.step(&model, norm, &with_muon(&frozen)).unwrap();
    let (mut params, mut momentum) = (0.0, 0.0);
    for (i, p) in model.params.iter().enumerate() {
        if p.layer != Some(2) {
            let squares = |all: Vec<f32>| all.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
            params += squares(model.weights.read(i).unwrap());
            momentum += squares(read(&optimizer, Moment::First, i));
        }
    }
    let norms = optimizer.norms(&model, &frozen).unwrap();
    assert!((norms.params - params.sqrt()).abs() < 1e-9 * norms.params);
    assert!((norms.momentum - momentum.sqrt()).abs() < 1e-9 * norms.momentum);
}
