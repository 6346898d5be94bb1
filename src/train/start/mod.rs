//! A phase's start as a value: which layers come from which model, which of their parts are taken, and what is random.

mod arms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twins;

use std::sync::Arc;

use anyhow::{Context, Result};

use super::checkpoint::Saved;
use super::learner::Learner;
use super::watched::Watched;
use crate::inherit::{self, Grown, Taken};
use crate::model::{DecoderConfig, Files, Part, Weights};
use crate::run::command::GrowMode;
use crate::run::event;

/// Separates the random numbers of parts that are not inherited, and of a control's random start, from those that the reference began with.
const PARTS_SEED: u64 = 0x7061_7274;
const CONTROL_SEED: u64 = 0x636f_6e74;

const MISSING: &str = "a model that layers are taken from is missing";

/// The origin of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A layer of the reference.
    Reference(usize),
    /// A layer of the model that was trained last.
    Own(usize),
}

/// The weights that a model starts a phase with.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Its name in journals.
    name: event::Start,
    /// The layers, bottom first. The tensors outside the layers come from the model that the first layer comes from.
    layers: Vec<Origin>,
    /// The parts that are taken; the rest is random. If empty, everything is random, and the layers determine only the shape:
    /// number of layers, attention scales and width.
    parts: Vec<Part>,
    seed: u64,
    /// Whether AdamW's moments come along with the layers of the model that was trained last.
    moments: bool,
    /// Number of query heads, for a model that takes the reference's layers but is narrower.
    n_head: Option<usize>,
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
            n_head: None,
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
            n_head: None,
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
            n_head: None,
        }
    }

    /// A growth to the layers `grown`; the layers of the last round came from the layers `sources` of the reference. With
    /// [`GrowMode::Restart`] all are taken from the reference again, as in [`Self::inherit`]; with [`GrowMode::Keep`] the
    /// trained layers stay, with their moments, and copies have the weights and moments of their sources.
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
                    n_head: None,
                }
            }
        }
    }

    /// Returns its name in journals.
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

    /// Whether the reference is read, for its weights or only for its shape.
    pub fn takes_reference(&self) -> bool {
        let reference = |origin: &Origin| matches!(origin, Origin::Reference(_));
        self.layers.iter().any(reference)
    }

    /// Makes the model in `learner`, trainable or only to be measured.
    ///
    /// # Errors
    /// When a source is missing or lacks a layer, their shapes differ, there is not enough memory, weights cannot be
    /// read, or another rank is lost; the learner holds no model after the latter three.
    pub fn apply(
        &self,
        learner: &mut Learner,
        sources: Sources<'_>,
        trainable: bool,
    ) -> Result<()> {
        if self.parts.is_empty() {
            let shape = self.shape_alone(learner.shape(), sources.reference)?;
            return learner.replace(shape, trainable, |model, _| {
                Ok(model.randomise_all(self.seed)?)
            });
        }
        let peers = Arc::clone(learner.peers());
        if self.n_head.is_some() {
            let reference = sources.reference.context(MISSING)?;
            let shape = inherit::half_width(&reference.config, self.n_head)?;
            return learner.replace(shape, trainable, |model, _| {
                let reference = Watched::new(reference, &peers);
                Ok(inherit::fill_half_width(model, &reference)?)
            });
        }
        let (models, layers) = self.taken(sources)?;
        let shape = inherit::shape(&models, &layers)?;
        let watched = models.iter().map(|model| Watched::new(*model, &peers));
        let watched: Vec<Watched<'_>> = watched.collect();
        let models: Vec<&dyn Weights> = watched.iter().map(|model| model as &dyn Weights).collect();
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

    /// Returns the shape of a random start: that of the reference, or of the model before it if its layers are named, with as many
    /// layers as are named.
    fn shape_alone(
        &self,
        present: &DecoderConfig,
        reference: Option<&Files>,
    ) -> Result<DecoderConfig> {
        let whole = match self.takes_reference() {
            true => &reference.context(MISSING)?.config,
            false => present,
        };
        let scale = |origin: &Origin| {
            let (Origin::Own(layer) | Origin::Reference(layer)) = *origin;
            whole.attention_scales.get(layer).copied()
        };
        let scales: Option<Vec<f32>> = self.layers.iter().map(scale).collect();
        let scales = scales.context("a random start names a layer that its shape lacks")?;
        Ok(whole.with_layers(scales))
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
                    models.push(files.context(MISSING)?);
                    *known.insert(models.len() - 1)
                }
            };
            layers.push(Taken { source, layer });
        }
        Ok((models, layers))
    }
}
