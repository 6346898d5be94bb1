//! The baselines of a config: their phases, and the starts and shapes of their models.

use anyhow::{Context, Result};

use super::start::Start;
use crate::config::{BaselineConfig, BaselineStart, BaselineSteps, Config, LayerChoice};
use crate::inherit;
use crate::model::{DecoderConfig, Part};
use crate::run::baseline::BaselinePhase;
use crate::run::event::{self, Depth, Length, PlannedBaseline};

/// Returns the phases of a config's baselines, in the order in which they are trained.
pub fn planned(config: &Config, reference_layers: usize) -> Vec<PlannedBaseline> {
    let parts = config.baseline.iter().flat_map(|entry| {
        let parts = 1..=parts(entry);
        parts.map(move |part| (entry, part))
    });
    let planned = |(entry, part): (&BaselineConfig, u32)| PlannedBaseline {
        name: entry.name.clone(),
        part,
        start: start_name(entry, part),
        depth: depth(entry, part, reference_layers),
        length: match entry.steps {
            BaselineSteps::Same => Length::Same,
            BaselineSteps::Double => Length::Double,
            BaselineSteps::Exactly(n) => Length::Steps(n),
        },
        objective: entry.objective.to_string(),
        cost: None,
    };
    parts.map(planned).collect()
}

/// Returns the config's entry that a phase belongs to.
pub fn entry<'c>(config: &'c Config, phase: &BaselinePhase) -> Option<&'c BaselineConfig> {
    config.baseline.iter().find(|b| b.name == phase.name())
}

/// Returns the number of phases of a baseline.
fn parts(entry: &BaselineConfig) -> u32 {
    match entry.start {
        BaselineStart::Stack => 2,
        _ => 1,
    }
}

/// Returns the start of a phase, as journals name it.
pub fn start_name(entry: &BaselineConfig, part: u32) -> event::Start {
    match (&entry.start, part) {
        (BaselineStart::Random | BaselineStart::Full, _) | (BaselineStart::Stack, 1) => {
            event::Start::Random
        }
        (BaselineStart::Inherit, _) => event::Start::Inherit,
        (BaselineStart::Stack, _) => event::Start::Stack,
        (BaselineStart::Hybrid, _) => event::Start::Hybrid,
        (BaselineStart::HalfWidth { .. }, _) => event::Start::HalfWidth,
        (BaselineStart::Layers { .. }, _) => event::Start::Layers,
    }
}

fn depth(entry: &BaselineConfig, part: u32, reference_layers: usize) -> Depth {
    match (&entry.start, part) {
        (BaselineStart::Full | BaselineStart::HalfWidth { .. }, _) => Depth::Reference,
        (BaselineStart::Stack, 1) => Depth::HalfFinal,
        (
            BaselineStart::Layers {
                layers: Some(layers),
                ..
            },
            _,
        ) => Depth::Layers(layers.of(reference_layers).len()),
        _ => Depth::Final,
    }
}

/// Returns the layers that a baseline names.
pub fn named(entry: &BaselineConfig) -> Option<&LayerChoice> {
    match &entry.start {
        BaselineStart::Layers { layers, .. } => layers.as_ref(),
        _ => None,
    }
}

/// Facts about the run when a baseline begins.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub reference: &'a DecoderConfig,
    /// The reference's layers from which the final model was made.
    pub sources: &'a [usize],
    /// The parts that rounds take.
    pub what: &'a [Part],
    /// The layers that the baseline names, if any.
    pub named: Option<&'a [usize]>,
    pub seed: u64,
}

/// Returns the start of a phase of a baseline.
///
/// # Errors
/// When the shape of the reference or of the final model does not allow this start.
pub fn start(entry: &BaselineConfig, part: u32, known: Known<'_>) -> Result<Start> {
    let n_layer = known.sources.len();
    let made = match (&entry.start, part) {
        (BaselineStart::Random, _) => Ok(Start::random_baseline(n_layer, known.seed)),
        (BaselineStart::Full, _) => Ok(Start::full(known.reference.n_layer, known.seed)),
        (BaselineStart::Inherit, _) => Ok(Start::inherit(known.sources, known.what, known.seed)),
        (BaselineStart::Stack, 1) => {
            Start::stack_height(n_layer).map(|half| Start::random_baseline(half, known.seed))
        }
        (BaselineStart::Stack, _) => Start::stack_height(n_layer).and_then(Start::stacked),
        (BaselineStart::Hybrid, _) => Start::hybrid(n_layer),
        (BaselineStart::HalfWidth { n_head }, _) => Start::half_width(known.reference, *n_head),
        (BaselineStart::Layers { what, .. }, _) => {
            let layers = known.named.unwrap_or(known.sources);
            Start::layers(layers, what, known.seed)
        }
    };
    made.with_context(|| entry.label())
}

/// Checks that every baseline fits the reference and each number of layers that the model can grow to.
///
/// # Errors
/// Names the first baseline that does not fit, with its place in the config.
pub fn check(config: &Config, reference: &DecoderConfig, sizes: &[usize]) -> Result<()> {
    for entry in &config.baseline {
        for &size in sizes {
            let sources: Vec<usize> = (0..size).collect();
            let named = named(entry).map(|choice| inherit::choose(choice, reference.n_layer, &[]));
            let named = named.transpose().with_context(|| entry.label())?;
            let known = Known {
                reference,
                sources: &sources,
                what: &config.inherit.what,
                named: named.as_deref(),
                seed: config.train.seed,
            };
            for part in 1..=parts(entry) {
                start(entry, part, known)?;
                shape(entry, part, reference, size)?;
            }
        }
    }
    Ok(())
}

/// Returns the shape of a phase's model, where the final model has `last` layers. Its attention scales are those of a
/// random start: memory and time do not depend on them.
///
/// # Errors
/// As [`start`].
pub fn shape(
    entry: &BaselineConfig,
    part: u32,
    reference: &DecoderConfig,
    last: usize,
) -> Result<DecoderConfig> {
    let layers = depth(entry, part, reference.n_layer).layers(last, reference.n_layer);
    match &entry.start {
        BaselineStart::HalfWidth { n_head } => {
            inherit::half_width(reference, *n_head).with_context(|| entry.label())
        }
        _ => Ok(reference.with_layers(vec![1.0; layers])),
    }
}
