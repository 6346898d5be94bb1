//! Layer surgery: initialises a small model from its reference, and grows it.
//!
//! This folder copies tensors between models. It does not depend on training or files.

mod choice;
mod error;
mod growth;
mod half;
pub mod measure;
mod merge;
mod origin;
mod scale;
mod slices;

use std::collections::HashSet;

use candle_core::Device;

use crate::model::{Decoder, DecoderConfig, Part, Weights};

pub use choice::{Chosen, choose, next_layers, resolve};
pub use error::InheritError;
pub use growth::{Grown, grow, sources};
pub use half::{fill_half_width, half_width};
pub use measure::Measured;
pub use merge::assemble_slices;
pub use origin::{Ends, Origin, Taken};
pub use slices::{Slices, SlicesError};

/// Returns the parts that `inherit.what` names. A tied head is the embedding, so either name includes both. The set contains each
/// norm of a layer and, if both norms are taken, also [`Part::Norms`].
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

/// Makes a model of layers of one or several models of the same shape, in the given order, with the parts named in `what`; other
/// parts are random. Each layer keeps its own attention scale. Parts outside the layers come from the first source.
///
/// # Errors
/// When a layer is missing or cannot be read, or the models differ in shape.
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

/// Returns every part, as a growth takes that keeps the trained layers.
pub fn all_parts() -> Vec<Part> {
    Part::ALL.to_vec()
}

/// Returns the shape of the model that [`assemble`] makes.
///
/// # Errors
/// When a layer is missing or the models differ in shape.
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

/// Returns the difference between two shapes, apart from their layers.
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
}
