//! Layer surgery: what a small model takes from its reference, and how it grows.
//!
//! This room moves tensors between models; it knows no training and no files.

mod half;
mod merge;
mod origin;
mod scale;
mod slices;

use std::collections::HashSet;

use candle_core::Device;

use crate::config::LayerChoice;
use crate::model::{Decoder, DecoderConfig, ModelError, Part, Weights};
use crate::tensors::DType;

pub use half::{fill_half_width, half_width};
pub use merge::assemble_slices;
pub use origin::{Ends, Origin, Taken};
pub use slices::{Slices, SlicesError};

/// A layer whose MaxRank is below this is lazy or nearly so.
const POTENT_RANK: f64 = 2.0;

/// The reference layers that a choice means, in order. `max_rank` is the reference's MaxRank per layer: `auto` takes
/// half of the layers, but none from the first collapsing one on, and at least one.
///
/// # Errors
/// When the choice names a layer the reference does not have, or none.
pub fn choose(
    choice: &LayerChoice,
    n_layer: usize,
    max_rank: &[f64],
) -> Result<Vec<usize>, InheritError> {
    let mut layers = choice.of(n_layer);
    if *choice == LayerChoice::Auto {
        let potent = max_rank.iter().position(|&rank| rank < POTENT_RANK);
        layers.truncate(potent.unwrap_or(n_layer).max(1));
    }
    match layers.iter().find(|&&l| l >= n_layer) {
        Some(&layer) => Err(InheritError::NoLayer { layer, n_layer }),
        None if layers.is_empty() => Err(InheritError::Nothing),
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

/// The parts that `inherit.what` names. A tied head is the embedding, so either name brings it along; the norms of a layer
/// are in the set each and, where both are taken, as [`Part::Norms`].
pub fn parts(what: &[Part], tied_head: bool) -> HashSet<Part> {
    let mut parts: HashSet<Part> = what.iter().copied().collect();
    if tied_head && parts.contains(&Part::Head) {
        parts.insert(Part::Embeddings);
    }
    let of_layer = [Part::AttentionNorm, Part::MlpNorm];
    if parts.contains(&Part::Norms) {
        parts.extend(of_layer);
    } else if of_layer.iter().all(|norm| parts.contains(norm)) {
        parts.insert(Part::Norms);
    }
    parts
}

#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error(
        "tensor {name} has {value} times its scale, which {dtype} cannot hold; write dtype: float32 or another scale in the recipe"
    )]
    DoesNotFit {
        name: String,
        value: f32,
        dtype: DType,
    },
    #[error(
        "layers are taken that are not there: layer {layer} of a model of {n_layer}, counted from 0"
    )]
    NoLayer { layer: usize, n_layer: usize },
    #[error("no layer is taken")]
    Nothing,
    #[error("no part of a layer is taken; start = \"random\" takes nothing of the reference")]
    NoPart,
    #[error(
        "a stack is one block of layers twice, so the final model needs an even number of layers, and has {0}; choose inherit.layers, grow.step and grow.max_layers for an even number, or another start"
    )]
    Odd(usize),
    #[error("half the width: {what}; {advice}")]
    NotHalved { what: String, advice: String },
    #[error("models {0} and {1} cannot be put together: {2} differs")]
    Unlike(usize, usize, &'static str),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl From<candle_core::Error> for InheritError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// A model made of layers of one or several models of one shape, in the order named, with the parts named in `what`; the
/// rest starts random. Each layer keeps its own attention scale. What lies outside the layers comes from the first source.
///
/// # Errors
/// When a layer is not there or cannot be read, or the models are not of one shape.
pub fn assemble(
    sources: &[&dyn Weights],
    layers: &[Taken],
    what: &[Part],
    seed: u64,
    device: &Device,
) -> Result<Decoder, InheritError> {
    let model = Decoder::zeros(shape(sources, layers)?, device)?;
    fill(&model, sources, layers, what, seed)?;
    Ok(model)
}

/// Overwrites the weights of `model`, which has the [`shape`] of these sources and layers, as [`assemble`] does.
///
/// # Errors
/// When a layer cannot be read.
pub fn fill(
    model: &Decoder,
    sources: &[&dyn Weights],
    layers: &[Taken],
    what: &[Part],
    seed: u64,
) -> Result<(), InheritError> {
    let as_it_is = |_: &Origin, _: &mut [f32]| Ok(());
    fill_from(
        model,
        sources,
        layers,
        Ends::default(),
        what,
        seed,
        as_it_is,
    )
}

fn fill_from(
    model: &Decoder,
    sources: &[&dyn Weights],
    layers: &[Taken],
    ends: Ends,
    what: &[Part],
    seed: u64,
    change: impl Fn(&Origin, &mut [f32]) -> Result<(), InheritError>,
) -> Result<(), InheritError> {
    let wanted = parts(what, model.config.tied_head);
    for (i, p) in model.params.iter().enumerate() {
        if wanted.contains(&p.part) {
            let from = Origin::of(p, layers, ends);
            let source = sources[from.source];
            model.weights.fill(i, |out| {
                source.parameter(p.stem, from.layer, out)?;
                change(&from, out)
            })??;
        } else {
            model.randomise(i, seed)?;
        }
    }
    Ok(())
}

/// Every part: what a growth takes that keeps the trained layers.
pub fn all_parts() -> Vec<Part> {
    Part::ALL.to_vec()
}

/// The shape of the model that [`assemble`] makes.
///
/// # Errors
/// When a layer is not there or the models are not of one shape.
pub fn shape(sources: &[&dyn Weights], layers: &[Taken]) -> Result<DecoderConfig, InheritError> {
    let first = sources.first().ok_or(InheritError::Nothing)?.config();
    for (i, other) in sources.iter().enumerate().skip(1) {
        if let Some(what) = difference(first, other.config()) {
            return Err(InheritError::Unlike(0, i, what));
        }
    }
    let mut scales = Vec::with_capacity(layers.len());
    for taken in layers {
        let config = sources[taken.source].config();
        match config.attention_scales.get(taken.layer) {
            Some(scale) => scales.push(*scale),
            None => {
                return Err(InheritError::NoLayer {
                    layer: taken.layer,
                    n_layer: config.n_layer,
                });
            }
        }
    }
    match scales.is_empty() {
        true => Err(InheritError::Nothing),
        false => Ok(first.with_layers(scales)),
    }
}

/// What sets two shapes apart besides their layers.
fn difference(a: &DecoderConfig, b: &DecoderConfig) -> Option<&'static str> {
    let facts = [
        (a.family == b.family, "the family"),
        (a.n_embd == b.n_embd, "the width"),
        (
            (a.n_head, a.n_kv_head, a.head_size) == (b.n_head, b.n_kv_head, b.head_size),
            "the heads",
        ),
        ((a.n_inner, a.mlp) == (b.n_inner, b.mlp), "the MLP"),
        (a.vocab == b.vocab, "the vocabulary"),
        (
            (a.norm, a.norm_epsilon) == (b.norm, b.norm_epsilon),
            "the norms",
        ),
        (a.biases == b.biases, "which layers have biases"),
        (
            a.positions == b.positions && a.context_length == b.context_length,
            "the positions",
        ),
        (
            a.tied_head == b.tied_head,
            "whether the head is the embedding",
        ),
    ];
    facts.iter().find(|(same, _)| !same).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

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
        for (i, p) in model.params.iter().enumerate() {
            let values: Vec<f32> = (0..p.len()).map(|j| (i * 1000 + j) as f32).collect();
            model.weights.write(i, &values).unwrap();
        }
        model
    }

    fn tensor(model: &Decoder, name: &str) -> Vec<f32> {
        let i = model.params.iter().position(|p| p.name == name).unwrap();
        model.weights.read(i).unwrap()
    }

    fn all() -> Vec<Part> {
        crate::config::INHERITABLE.to_vec()
    }

    fn inherit(reference: &Decoder, layers: &[usize], what: &[Part], seed: u64) -> Decoder {
        let first = |&layer| Taken { source: 0, layer };
        let layers: Vec<Taken> = layers.iter().map(first).collect();
        assemble(&[reference], &layers, what, seed, &Device::Cpu).unwrap()
    }

    #[test]
    fn layers_come_in_the_order_named_with_their_scales() {
        let r = reference();
        let model = inherit(&r, &[2, 0], &all(), 1);
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
        let what = [Part::Attention, Part::Norms];
        let model = inherit(&r, &[0, 1], &what, 1);
        let same = |name: &str| tensor(&model, name) == tensor(&r, name);
        assert!(same("transformer.h.1.attn.c_attn.weight") && same("transformer.h.0.ln_2.bias"));
        assert!(!same("transformer.h.1.mlp.c_fc.weight") && !same("transformer.wte.weight"));
        assert_eq!(tensor(&model, "transformer.ln_f.weight"), vec![1.0; 8]);
    }

    #[test]
    fn a_norm_comes_along_without_the_other_one() {
        let r = reference();
        let of = |what: &[Part]| {
            let model = inherit(&r, &[0, 1], what, 1);
            let same = |stem: &str| {
                let name = format!("transformer.h.1.{stem}");
                tensor(&model, &name) == tensor(&r, &name)
            };
            ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"].map(same)
        };
        assert_eq!(of(&[Part::AttentionNorm]), [true, true, false, false]);
        assert_eq!(of(&[Part::MlpNorm]), [false, false, true, true]);
        assert_eq!(of(&[Part::MlpNorm, Part::AttentionNorm]), [true; 4]);
        assert_eq!(of(&[Part::Norms]), [true; 4]);
        assert_eq!(of(&[Part::Mlp]), [false; 4]);
    }

    #[test]
    fn layers_of_several_models_need_one_shape() {
        let r = reference();
        let wider = Sizes {
            n_layer: 4,
            n_head: 2,
            n_embd: 12,
            context_length: 6,
            vocab: 11,
        };
        let wider = Decoder::random(DecoderConfig::gpt2(wider, true), 1, &Device::Cpu).unwrap();
        let taken = |source, layer| Taken { source, layer };
        let layers = [taken(0, 0), taken(1, 3)];
        let error = assemble(&[&r, &wider], &layers, &all(), 1, &Device::Cpu)
            .unwrap_err()
            .to_string();
        assert!(error.contains("the width differs"), "{error}");
        let other = inherit(&r, &[3, 2, 1, 0], &all(), 1);
        let model = assemble(&[&r, &other], &layers, &all(), 1, &Device::Cpu).unwrap();
        let name = "transformer.h.1.attn.c_attn.weight";
        let want = tensor(&r, "transformer.h.0.attn.c_attn.weight");
        assert_eq!(tensor(&model, name), want);
        assert_eq!(model.config.attention_scales, [1.0, 1.0]);
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
        assert!(error.contains("layer 9 of a model of 4"), "{error}");
        assert_eq!(choose(&LayerChoice::Half, 5, &[]).unwrap(), [0, 1]);
    }

    #[test]
    fn auto_ends_before_the_first_collapsing_layer() {
        let auto = |ranks: &[f64]| choose(&LayerChoice::Auto, 8, ranks).unwrap();
        assert_eq!(
            auto(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 1.0, 1.0]),
            [0, 1, 2, 3]
        );
        assert_eq!(auto(&[9.0, 8.0, 1.9, 6.0, 5.0, 4.0, 1.0, 1.0]), [0, 1]);
        assert_eq!(auto(&[1.0; 8]), [0]);
        assert_eq!(auto(&[]), [0, 1, 2, 3], "not measured yet");
    }
}
