//! A checkpoint that is read: its tensors go straight from the files into a learner's arenas.

use std::sync::Arc;

use crate::file::Dir;
use crate::model::{Decoder, Files, ModelError, Param, Weights};
use crate::tensors::Source;
use crate::train::learner::Learner;
use crate::train::optimizer::{Moment, Optimizer};
use crate::train::state::TrainState;
use crate::train::watched::Watched;

/// The file with AdamW's moments.
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";

/// Prefixes of the names of both moments in their file.
pub(super) const MOMENTS: [&str; 2] = ["m.", "v."];

/// A verified checkpoint whose tensors are still on disk.
#[derive(Debug)]
pub struct Saved {
    pub files: Files,
    pub moments: Moments,
    pub state: TrainState,
}

impl Saved {
    /// Puts the model into `learner`, with AdamW's state when it is to be trained.
    ///
    /// # Errors
    /// When there is not enough memory, a file cannot be read any more, or another rank is lost; the learner holds no model then.
    pub fn load_into(&self, learner: &mut Learner, trainable: bool) -> anyhow::Result<()> {
        let (shape, peers) = (self.files.config.clone(), Arc::clone(learner.peers()));
        learner.replace(shape, trainable, |model, optimizer| {
            Watched::new(&self.files, &peers).load_into(model)?;
            if let Some(optimizer) = optimizer {
                let steps = &self.state.optimizer_steps;
                self.moments
                    .load_into(self.files.params(), steps, model, optimizer)?;
            }
            Ok(())
        })
    }
}

/// AdamW's moments in a checkpoint, under their parameters' names with a prefix each.
#[derive(Debug)]
pub struct Moments {
    source: Source,
}

impl Moments {
    /// Opens the optimizer's file of a checkpoint.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn open(checkpoint: &Dir) -> Result<Self, ModelError> {
        let source = Source::open_in(checkpoint, OPTIMIZER)?;
        Ok(Self { source })
    }

    /// Whether both moments of a parameter are there, in its shape.
    pub fn has(&self, p: &Param) -> bool {
        let fits = |name: &str| self.source.info(name).is_some_and(|i| i.shape == p.shape);
        MOMENTS
            .iter()
            .all(|prefix| fits(&format!("{prefix}{}", p.name)))
    }

    /// Fills in the moments and step counts of those tensors of `model` that the checkpoint's model has under the same name;
    /// `steps` are its counts, in the order of `saved`.
    ///
    /// # Errors
    /// When a tensor cannot be read, or not be sent to the rank that holds it.
    pub fn load_into(
        &self,
        saved: &[Param],
        steps: &[u32],
        model: &Decoder,
        optimizer: &mut Optimizer,
    ) -> anyhow::Result<()> {
        self.load_layers_into(saved, steps, model, optimizer, &Some)
    }

    /// As [`Self::load_into`]. `from` maps a layer of `model` to the layer of the checkpoint's model that it came from, or to
    /// `None` if it came from elsewhere; the moments of such a layer are unchanged.
    ///
    /// # Errors
    /// As [`Self::load_into`].
    pub fn load_layers_into(
        &self,
        saved: &[Param],
        steps: &[u32],
        model: &Decoder,
        optimizer: &mut Optimizer,
        from: &dyn Fn(usize) -> Option<usize>,
    ) -> anyhow::Result<()> {
        for (i, p) in model.params.iter().enumerate() {
            let layer = p.layer.and_then(from);
            let is_source = |q: &Param| q.stem == p.stem && q.layer == layer;
            let known = saved.iter().position(is_source);
            let Some(known) = known.filter(|_| layer.is_some() == p.layer.is_some()) else {
                continue;
            };
            let rows = p.shape.first().copied().unwrap_or(1);
            for (prefix, moment) in MOMENTS.iter().zip(Moment::BOTH) {
                let name = format!("{prefix}{}", saved[known].name);
                optimizer.fill(moment, i, rows, |rows, out| {
                    Ok::<_, anyhow::Error>(self.source.read_rows_into(&name, rows, out)?)
                })?;
            }
            optimizer.steps[i] = steps.get(known).copied().unwrap_or(0);
        }
        Ok(())
    }
}
