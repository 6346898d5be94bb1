//! Counts the tensors that Muon updates and those that AdamW updates.

use serde::Serialize;

use crate::config::{Config, OptimizerChoice};
use crate::model::{DecoderConfig, Param};
use crate::run::table;
use crate::train::plan::PhaseSpec;

/// Numbers of tensors and of their parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Tensors {
    tensors: usize,
    parameters: u64,
}

impl Tensors {
    fn of<'p>(params: impl Iterator<Item = &'p Param>) -> Self {
        params.fold(Self::default(), |sum, p| Self {
            tensors: sum.tensors + 1,
            parameters: sum.parameters + p.len() as u64,
        })
    }
}

impl std::fmt::Display for Tensors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters = table::count(self.parameters);
        write!(f, "{} tensors, {parameters} parameters", self.tensors)
    }
}

/// The tensors of one model by the optimizer that updates them.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Split {
    name: &'static str,
    layers: usize,
    muon: Tensors,
    /// Number of matrices that are orthogonalised separately.
    matrices: usize,
    adamw: Tensors,
}

impl Split {
    /// Counts the tensors of `largest`, a phase of a run whose reference has this shape. Returns `None` if AdamW updates all of them.
    pub(super) fn of(
        config: &Config,
        reference: &DecoderConfig,
        largest: Option<&PhaseSpec>,
    ) -> Option<Self> {
        if config.train.optimizer != OptimizerChoice::Muon {
            return None;
        }
        let layers = largest?.layers;
        let shape = reference.with_layers(vec![1.0; layers]);
        let params = shape.params();
        let hidden = || params.iter().filter(|p| p.is_hidden_matrix());
        Some(Self {
            name: "muon",
            layers,
            muon: Tensors::of(hidden()),
            matrices: hidden().map(|p| shape.hidden_matrices(p).len()).sum(),
            adamw: Tensors::of(params.iter().filter(|p| !p.is_hidden_matrix())),
        })
    }

    /// Describes the split in two lines.
    pub(super) fn lines(&self) -> String {
        let layers = table::plural(self.layers, "layer");
        format!(
            "muon     weights of attention and MLP: {} ({} matrices, {layers})\n\
             adamw    embeddings, head, norms and biases: {}\n",
            self.muon, self.matrices, self.adamw
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};
    use crate::train::{Passes, plan};

    fn split(sets: &[&str]) -> Option<Split> {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let source = Source::named("tiny").unwrap();
        let config = config::load(&source, &sets).unwrap().config;
        let shape = DecoderConfig::gpt2(
            crate::model::Sizes {
                n_layer: 2,
                n_head: 2,
                n_embd: 8,
                context_length: config.model.context_length,
                vocab: 11,
            },
            true,
        );
        let passes = Passes::of(&config, &shape, &candle_core::Device::Cpu).unwrap();
        let phases = plan::phases(&config, &shape, &passes, 0, &Default::default()).unwrap();
        Split::of(&config, &shape, plan::largest(&phases))
    }

    #[test]
    fn the_dry_run_names_what_muon_updates() {
        assert_eq!(split(&[]), None);
        let split = split(&["train.optimizer=muon"]).unwrap();
        // A layer of width 8 has 192 parameters in c_attn, 64 in c_proj, and 256 in each matrix of the MLP.
        let muon = Tensors {
            tensors: 4 * split.layers,
            parameters: 768 * split.layers as u64,
        };
        assert_eq!((split.muon, split.matrices), (muon, 6 * split.layers));
        // Embeddings, positions, two tensors of the final norm, and per layer four of the norms and four biases.
        assert_eq!(split.adamw.tensors, 4 + 8 * split.layers);
        let lines = split.lines();
        assert!(
            lines.contains("muon     weights of attention and MLP: 8 tensors"),
            "{lines}"
        );
    }
}
