//! What a model starts a phase from, as a value: which layers from where, which parts of them, and what is random.

use anyhow::{Context, Result};

use super::checkpoint::Saved;
use super::learner::Learner;
use crate::inherit::{self, Grown, Taken};
use crate::model::{DecoderConfig, Files, Part, Weights};
use crate::run::command::GrowMode;
use crate::run::event;

/// Set the random numbers of parts that are not inherited, and of a control's random start, apart from those the
/// reference began with.
const PARTS_SEED: u64 = 0x7061_7274;
const CONTROL_SEED: u64 = 0x636f_6e74;

/// Where a layer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A layer of the reference.
    Reference(usize),
    /// A layer of the model that was trained last.
    Own(usize),
}

/// What a model starts a phase from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// As journals name it.
    name: event::Start,
    /// Bottom first. What lies outside the layers comes from where the first one comes from.
    layers: Vec<Origin>,
    /// The parts that are taken; the rest is random. None: all is random, and layers give the shape alone.
    parts: Vec<Part>,
    seed: u64,
    /// Whether AdamW's moments come along with the layers of the model that was trained last.
    moments: bool,
}

/// The models that layers are taken from, on disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    pub reference: Option<&'a Files>,
    pub own: Option<&'a Saved>,
}

impl Start {
    /// A reference that is trained here: random weights in a shape of `n_layer` layers.
    pub fn random(n_layer: usize, seed: u64) -> Self {
        Self {
            name: event::Start::Random,
            layers: (0..n_layer).map(Origin::Own).collect(),
            parts: Vec::new(),
            seed,
            moments: false,
        }
    }

    /// A control: as [`Self::random`], with other numbers than a reference that was trained here began with.
    pub fn random_control(n_layer: usize, seed: u64) -> Self {
        Self::random(n_layer, seed ^ CONTROL_SEED)
    }

    /// A reference of `n_layer` layers that is loaded.
    pub fn loaded(n_layer: usize) -> Self {
        Self {
            name: event::Start::Loaded,
            ..Self::reference(n_layer)
        }
    }

    /// A control: the reference itself, trained on.
    pub fn reference(n_layer: usize) -> Self {
        Self {
            name: event::Start::Reference,
            layers: (0..n_layer).map(Origin::Reference).collect(),
            parts: inherit::all_parts(),
            seed: 0,
            moments: false,
        }
    }

    /// Round 1: these layers of the reference, and of all parts those named in `what`.
    pub fn inherit(layers: &[usize], what: &[Part], seed: u64) -> Self {
        Self {
            name: event::Start::Inherit,
            layers: layers.iter().copied().map(Origin::Reference).collect(),
            parts: what.to_vec(),
            seed: seed ^ PARTS_SEED,
            moments: false,
        }
    }

    /// A growth to the layers `grown`, where those of the last round came from the layers `sources` of the reference. With
    /// [`GrowMode::Restart`] all are taken from the reference again, as [`Self::inherit`] does; with [`GrowMode::Keep`] the
    /// trained ones stay, with their moments, and copies have both.
    pub fn grown(
        mode: GrowMode,
        sources: &[usize],
        grown: &[Grown],
        what: &[Part],
        seed: u64,
    ) -> Self {
        match mode {
            GrowMode::Restart => Self {
                name: event::Start::Restart,
                ..Self::inherit(&inherit::sources(grown, sources).0, what, seed)
            },
            GrowMode::Keep => {
                let origin = |layer: &Grown| match *layer {
                    Grown::Kept(own) | Grown::Copied(own) => Origin::Own(own),
                    Grown::Next(layer) => Origin::Reference(layer),
                };
                Self {
                    name: event::Start::Keep,
                    layers: grown.iter().map(origin).collect(),
                    parts: inherit::all_parts(),
                    seed: 0,
                    moments: true,
                }
            }
        }
    }

    /// As journals name it.
    pub fn name(&self) -> event::Start {
        self.name
    }

    /// Returns the reference layer that each layer came from, where the layers of the model that was trained last came
    /// from `own`; empty when all is random.
    pub fn source_layers(&self, own: &[usize]) -> Vec<usize> {
        if self.parts.is_empty() {
            return Vec::new();
        }
        let source = |origin: &Origin| match *origin {
            Origin::Reference(layer) => Some(layer),
            Origin::Own(layer) => own.get(layer).copied(),
        };
        self.layers.iter().filter_map(source).collect()
    }

    /// Whether weights of the model that was trained last are taken.
    pub fn takes_own(&self) -> bool {
        let own = |origin: &Origin| matches!(origin, Origin::Own(_));
        !self.parts.is_empty() && self.layers.iter().any(own)
    }

    /// Whether weights of the reference are taken.
    pub fn takes_reference(&self) -> bool {
        let reference = |origin: &Origin| matches!(origin, Origin::Reference(_));
        !self.parts.is_empty() && self.layers.iter().any(reference)
    }

    /// Makes the model in `learner`, trainable or only to be measured.
    ///
    /// # Errors
    /// When a source is missing or lacks a layer, their shapes differ, there is not enough memory, or weights cannot be
    /// read; the learner holds no model after the latter two.
    pub fn apply(
        &self,
        learner: &mut Learner,
        sources: Sources<'_>,
        trainable: bool,
    ) -> Result<()> {
        if self.parts.is_empty() {
            let shape = self.shape_alone(learner.shape())?;
            return learner.replace(shape, trainable, |model, _| {
                Ok(model.randomise_all(self.seed)?)
            });
        }
        let (models, layers) = self.taken(sources)?;
        let shape = inherit::shape(&models, &layers)?;
        learner.replace(shape, trainable, |model, optimizer| {
            inherit::fill(model, &models, &layers, &self.parts, self.seed)?;
            if let Some((optimizer, own)) = optimizer.zip(sources.own).filter(|_| self.moments) {
                let (params, steps) = (own.files.params(), &own.state.optimizer_steps);
                let own_layer = |layer: usize| match self.layers.get(layer) {
                    Some(Origin::Own(own)) => Some(*own),
                    _ => None,
                };
                own.moments
                    .load_layers_into(params, steps, model, optimizer, &own_layer)?;
            }
            Ok(())
        })
    }

    /// The shape of a random start: that of the model before it, as many layers as are named.
    fn shape_alone(&self, present: &DecoderConfig) -> Result<DecoderConfig> {
        let scale = |origin: &Origin| {
            let (Origin::Own(layer) | Origin::Reference(layer)) = *origin;
            present.attention_scales.get(layer).copied()
        };
        let scales: Option<Vec<f32>> = self.layers.iter().map(scale).collect();
        let scales = scales.context("a random start names a layer that its shape lacks")?;
        Ok(present.with_layers(scales))
    }

    /// Each model once, in the order in which the layers name them, and each layer's place among them.
    fn taken<'a>(&self, sources: Sources<'a>) -> Result<(Vec<&'a dyn Weights>, Vec<Taken>)> {
        let mut models: Vec<&dyn Weights> = Vec::new();
        let (mut reference, mut own) = (None, None);
        let mut layers = Vec::with_capacity(self.layers.len());
        for origin in &self.layers {
            let (known, files, layer) = match *origin {
                Origin::Reference(layer) => (&mut reference, sources.reference, layer),
                Origin::Own(layer) => (&mut own, sources.own.map(|own| &own.files), layer),
            };
            let source = match *known {
                Some(source) => source,
                None => {
                    models.push(files.context("a model that layers are taken from is missing")?);
                    *known.insert(models.len() - 1)
                }
            };
            layers.push(Taken { source, layer });
        }
        Ok((models, layers))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::file::Dir;
    use crate::model::{self, Decoder, Sizes};
    use crate::run::command::GrowSource;
    use crate::train::checkpoint::Moments;
    use crate::train::passes::Passes;
    use crate::train::state::TrainState;

    /// A checkpoint at `path` of a random model, whose layers have these scales; its moments are as its weights, and each
    /// tensor has had `steps` updates.
    fn saved(path: &Path, scales: &[f32], seed: u64, steps: u32) -> Saved {
        let sizes = Sizes {
            n_layer: scales.len(),
            n_head: 2,
            n_embd: 8,
            context_length: 8,
            vocab: 11,
        };
        let shape = DecoderConfig::gpt2(sizes, true).with_layers(scales.to_vec());
        let model = Decoder::random(shape, seed, &Device::Cpu).unwrap();
        let all = 0..model.params.len();
        let values: Vec<f32> = all.flat_map(|i| model.weights.read(i).unwrap()).collect();
        std::fs::create_dir(path).unwrap();
        let dir = Dir::open(path).unwrap();
        model::save(&model.config, &model.params, &values, None, &dir).unwrap();
        let m = model::named("m.", &model.params, &values);
        let v = model::named("v.", &model.params, &values);
        model::save_tensors(&dir, "optimizer.safetensors", m.chain(v), &[]).unwrap();
        Saved {
            files: Files::open_in(&dir).unwrap(),
            moments: Moments::open(&dir).unwrap(),
            state: TrainState {
                optimizer_steps: vec![steps; model.params.len()],
                ..TrainState::new([String::new(), String::new()])
            },
        }
    }

    #[test]
    fn a_growth_that_keeps_adds_layers_of_the_reference_to_what_was_trained() {
        let tmp = tempfile::tempdir().unwrap();
        let reference = saved(
            &tmp.path().join("reference"),
            &[1.0, 0.5, 0.25, 0.125],
            1,
            9,
        );
        let own = saved(&tmp.path().join("own"), &[1.0, 0.5], 2, 7);
        let sources = Sources {
            reference: Some(&reference.files),
            own: Some(&own),
        };
        let shape = own.files.config.clone();
        let mut learner = Learner::new(shape, Passes::usual(2, 8), 100, &Device::Cpu);
        let layers = inherit::grow(GrowSource::Next, &[0, 1], 2, 4);
        let start = Start::grown(GrowMode::Keep, &[0, 1], &layers, &[], 0);
        start.apply(&mut learner, sources, true).unwrap();
        let grown = learner.model().unwrap();
        let optimizer = learner.optimizer().unwrap().unwrap();
        assert_eq!(grown.config.attention_scales, [1.0, 0.5, 0.25, 0.125]);
        for (i, p) in grown.params.iter().enumerate() {
            let (from, steps) = match p.layer {
                Some(2 | 3) => (&reference, 0),
                _ => (&own, 7),
            };
            let mut wanted = vec![0.0; p.len()];
            from.files.parameter(p.stem, p.layer, &mut wanted).unwrap();
            assert_eq!(grown.weights.read(i).unwrap(), wanted, "{}", p.name);
            assert_eq!(optimizer.steps[i], steps, "{}", p.name);
        }
    }

    #[test]
    fn copies_have_the_weights_and_the_moments_of_their_layers() {
        let tmp = tempfile::tempdir().unwrap();
        let own = saved(&tmp.path().join("own"), &[1.0, 0.5, 0.25], 2, 7);
        let sources = Sources {
            reference: None,
            own: Some(&own),
        };
        let present = [0, 3, 7];
        for (source, from) in [
            (GrowSource::CopyMiddle, [0, 1, 0, 1, 2]),
            (GrowSource::CopyTop, [0, 1, 2, 1, 2]),
        ] {
            let shape = own.files.config.clone();
            let mut learner = Learner::new(shape, Passes::usual(2, 8), 100, &Device::Cpu);
            let layers = inherit::grow(source, &present, 2, 8);
            let start = Start::grown(GrowMode::Keep, &present, &layers, &[], 0);
            assert_eq!(start.source_layers(&present), from.map(|l| present[l]));
            start.apply(&mut learner, sources, true).unwrap();
            let grown = learner.model().unwrap();
            let optimizer = learner.optimizer().unwrap().unwrap();
            assert_eq!(grown.config.n_layer, 5);
            for (i, p) in grown.params.iter().enumerate() {
                let layer = p.layer.map(|l| from[l]);
                let mut wanted = vec![0.0; p.len()];
                own.files.parameter(p.stem, layer, &mut wanted).unwrap();
                assert_eq!(grown.weights.read(i).unwrap(), wanted, "{}", p.name);
                // The moments of these checkpoints are as their weights.
                for moment in [&optimizer.m, &optimizer.v] {
                    let values = crate::ops::read(&moment.views[i]).unwrap();
                    assert_eq!(values, wanted, "{}", p.name);
                }
                assert_eq!(optimizer.steps[i], 7, "{}", p.name);
            }
            let restart = Start::grown(GrowMode::Restart, &present, &layers, &[], 0);
            let from = from.map(|l| Origin::Reference(present[l]));
            assert_eq!(restart.layers, from);
        }
    }

    #[test]
    fn a_growth_keeps_the_trained_layers_or_takes_them_again() {
        let what = [Part::Attention];
        let layers = inherit::grow(GrowSource::Next, &[0, 1], 1, 4);
        let grown = |mode| Start::grown(mode, &[0, 1], &layers, &what, 5);
        let restart = grown(GrowMode::Restart);
        assert_eq!(
            restart.layers,
            [0, 1, 2].map(Origin::Reference),
            "all from the reference"
        );
        assert_eq!((restart.parts.len(), restart.takes_own()), (1, false));
        let keep = grown(GrowMode::Keep);
        assert_eq!(
            keep.layers,
            [Origin::Own(0), Origin::Own(1), Origin::Reference(2)]
        );
        assert!(keep.takes_own() && keep.moments && keep.parts == inherit::all_parts());
        for start in [restart, keep] {
            assert_eq!(start.source_layers(&[0, 1]), [0, 1, 2]);
        }
        let random = Start::random(2, 1);
        assert!(random.source_layers(&[0, 1]).is_empty() && !random.takes_own());
        assert_ne!(random.seed, Start::random_control(2, 1).seed);
    }

    #[test]
    fn a_source_that_is_missing_is_an_error() {
        let inherit = Start::inherit(&[0], &inherit::all_parts(), 1);
        let error = inherit.taken(Sources::default()).err().unwrap();
        assert!(error.to_string().contains("is missing"), "{error}");
    }
}
