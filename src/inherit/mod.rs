//! Layer surgery: what a small model takes from its reference, and how it grows.
//!
//! This room moves tensors between models; it knows no training and no files.

use std::collections::HashSet;

use candle_core::{Device, Result, bail};

use crate::config::LayerChoice;
use crate::model::{Decoder, Param, Part};
use crate::ops;

/// A layer whose MaxRank is below this is lazy or nearly so.
const POTENT_RANK: f64 = 2.0;

/// The reference layers that a choice means, in order. `max_rank` is the reference's MaxRank per layer: `auto` takes
/// half of the layers, but none from the first collapsing one on, and at least one.
///
/// # Errors
/// When the choice names a layer the reference does not have, or none.
pub fn choose(choice: &LayerChoice, n_layer: usize, max_rank: &[f64]) -> Result<Vec<usize>> {
    let mut layers = choice.of(n_layer);
    if matches!(choice, LayerChoice::Named(name) if name == "auto") {
        let potent = max_rank.iter().position(|&rank| rank < POTENT_RANK);
        layers.truncate(potent.unwrap_or(n_layer).max(1));
    }
    match layers.iter().find(|&&l| l >= n_layer) {
        Some(l) => {
            bail!("inherit.layers names layer {l}; the reference has {n_layer}, counted from 0")
        }
        None if layers.is_empty() => bail!("inherit.layers names no layer"),
        None => Ok(layers),
    }
}

/// The reference's next `n` contiguous layers after the last one inherited: fewer, or none, when it has no more, or
/// when the layers were picked by hand and are not its first ones.
pub fn next_layers(layers: &[usize], n: usize, n_layer: usize) -> Vec<usize> {
    let contiguous = layers.iter().enumerate().all(|(i, &l)| i == l);
    if !contiguous {
        return Vec::new();
    }
    (layers.len()..n_layer.min(layers.len().saturating_add(n))).collect()
}

/// The parts that `inherit.what` names. A tied head is the embedding, so either name brings it along.
fn parts(what: &[String], tied_head: bool) -> HashSet<Part> {
    let named = |part: &&Part| what.iter().any(|name| name == part.name());
    let mut parts: HashSet<Part> = Part::ALL.iter().filter(named).copied().collect();
    if tied_head && parts.contains(&Part::Head) {
        parts.insert(Part::Embeddings);
    }
    parts
}

/// A model made of the reference's `layers` in that order, with the parts named in `what`; the rest starts random.
/// Each layer keeps its own attention scale.
pub fn inherit(
    reference: &Decoder,
    layers: &[usize],
    what: &[String],
    seed: u64,
    device: &Device,
) -> Result<Decoder> {
    let scales = layers.iter().map(|&l| reference.config.attention_scales[l]);
    let config = reference.config.with_layers(scales.collect());
    let model = Decoder::zeros(config, device)?;
    let wanted = parts(what, reference.config.tied_head);
    for (i, p) in model.params.iter().enumerate() {
        if wanted.contains(&p.part) {
            copy(reference, p, p.layer.map(|l| layers[l]), &model, i)?;
        } else {
            model.randomise(i, seed)?;
        }
    }
    Ok(model)
}

/// `model` with the reference's `added` layers on top; trained layers, embeddings and final norm stay as they are.
pub fn append(
    model: &Decoder,
    reference: &Decoder,
    added: &[usize],
    device: &Device,
) -> Result<Decoder> {
    let old = model.config.n_layer;
    let mut scales = model.config.attention_scales.clone();
    scales.extend(added.iter().map(|&l| reference.config.attention_scales[l]));
    let grown = Decoder::zeros(model.config.with_layers(scales), device)?;
    for (i, p) in grown.params.iter().enumerate() {
        match p.layer {
            Some(l) if l >= old => copy(reference, p, Some(added[l - old]), &grown, i)?,
            _ => copy(model, p, p.layer, &grown, i)?,
        }
    }
    Ok(grown)
}

/// Fills parameter `index` of `to` with the one that `p` is in layer `layer` of `from`.
fn copy(from: &Decoder, p: &Param, layer: Option<usize>, to: &Decoder, index: usize) -> Result<()> {
    match from.find(p.stem, layer) {
        Some(i) => ops::write(
            &to.weights.views[index],
            &ops::read(&from.weights.views[i])?,
        ),
        None => bail!("the source model has no tensor for {}", p.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DecoderConfig, Sizes};

    fn reference() -> Decoder {
        let sizes = Sizes {
            n_layer: 4,
            n_head: 2,
            n_embd: 8,
            context_length: 6,
            vocab: 11,
        };
        let config = DecoderConfig {
            attention_scales: vec![1.0, 0.5, 0.25, 0.125],
            ..DecoderConfig::gpt2(sizes, true)
        };
        let model = Decoder::random(config, 3, &Device::Cpu).unwrap();
        for (i, view) in model.weights.views.iter().enumerate() {
            let values: Vec<f32> = (0..view.elem_count())
                .map(|j| (i * 1000 + j) as f32)
                .collect();
            ops::write(view, &values).unwrap();
        }
        model
    }

    fn tensor(model: &Decoder, name: &str) -> Vec<f32> {
        let i = model.params.iter().position(|p| p.name == name).unwrap();
        ops::read(&model.weights.views[i]).unwrap()
    }

    fn all() -> Vec<String> {
        crate::config::INHERITABLE.map(String::from).to_vec()
    }

    #[test]
    fn layers_come_in_the_order_named_with_their_scales() {
        let r = reference();
        let model = inherit(&r, &[2, 0], &all(), 1, &Device::Cpu).unwrap();
        assert_eq!(model.config.attention_scales, [0.25, 1.0]);
        for part in ["ln_1.weight", "attn.c_attn.bias", "mlp.c_proj.weight"] {
            let got = tensor(&model, &format!("transformer.h.0.{part}"));
            assert_eq!(got, tensor(&r, &format!("transformer.h.2.{part}")));
        }
        for name in [
            "transformer.wpe.weight",
            "transformer.ln_f.weight",
            "transformer.wte.weight",
        ] {
            assert_eq!(tensor(&model, name), tensor(&r, name), "{name}");
        }
    }

    #[test]
    fn what_is_not_named_starts_random() {
        let r = reference();
        let what = vec!["attention".to_string(), "norms".to_string()];
        let model = inherit(&r, &[0, 1], &what, 1, &Device::Cpu).unwrap();
        let same = |name: &str| tensor(&model, name) == tensor(&r, name);
        assert!(same("transformer.h.1.attn.c_attn.weight") && same("transformer.h.0.ln_2.bias"));
        assert!(!same("transformer.h.1.mlp.c_fc.weight") && !same("transformer.wte.weight"));
        assert_eq!(tensor(&model, "transformer.ln_f.weight"), vec![1.0; 8]);
    }

    #[test]
    fn appending_keeps_what_was_trained() {
        let r = reference();
        let small = inherit(&r, &[0, 1], &all(), 1, &Device::Cpu).unwrap();
        let i = small
            .params
            .iter()
            .position(|p| p.name.contains("h.1.mlp.c_fc.weight"))
            .unwrap();
        ops::zero(&small.weights.views[i]).unwrap();
        let grown = append(&small, &r, &[2, 3], &Device::Cpu).unwrap();
        assert_eq!(grown.config.n_layer, 4);
        assert!(
            tensor(&grown, "transformer.h.1.mlp.c_fc.weight")
                .iter()
                .all(|&x| x == 0.0)
        );
        let name = "transformer.h.3.attn.c_proj.weight";
        assert_eq!(tensor(&grown, name), tensor(&r, name));
    }

    #[test]
    fn next_layers_are_contiguous_and_end_with_the_reference() {
        assert_eq!(next_layers(&[0, 1], 2, 8), [2, 3]);
        assert_eq!(next_layers(&[0, 1, 2], 2, 4), [3]);
        assert!(next_layers(&[0, 1], 2, 2).is_empty());
        assert!(next_layers(&[0, 5], 2, 8).is_empty());
    }

    #[test]
    fn a_layer_the_reference_lacks_is_named() {
        let error = choose(&LayerChoice::List(vec![0, 9]), 4, &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("layer 9; the reference has 4"), "{error}");
        assert_eq!(
            choose(&LayerChoice::Named("half".into()), 5, &[]).unwrap(),
            [0, 1]
        );
    }

    #[test]
    fn auto_ends_before_the_first_collapsing_layer() {
        let auto = |ranks: &[f64]| choose(&LayerChoice::Named("auto".into()), 8, ranks).unwrap();
        assert_eq!(
            auto(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 1.0, 1.0]),
            [0, 1, 2, 3]
        );
        assert_eq!(auto(&[9.0, 8.0, 1.9, 6.0, 5.0, 4.0, 1.0, 1.0]), [0, 1]);
        assert_eq!(auto(&[1.0; 8]), [0]);
        assert_eq!(auto(&[]), [0, 1, 2, 3], "not measured yet");
    }
}
