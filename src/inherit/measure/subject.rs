//! Types that the measures share: the model and its windows, passes over them, and results.

use std::ops::ControlFlow;

use crate::config::Measure;
use crate::corpus::{Tokens, fill_batch};
use crate::inherit::error::InheritError;
use crate::model::{Decoder, Workspace};
use crate::ops;

/// A model, and the windows that it is measured on.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub model: &'a Decoder,
    /// For forward passes of this model over some windows at a time; its `time` is their length T.
    pub workspace: &'a Workspace,
    pub tokens: &'a Tokens,
    /// Where windows start; each has T tokens and one more, its last target.
    pub starts: &'a [usize],
    /// Rows of the vocabulary that losses are taken over.
    pub vocab: usize,
}

/// The result of a measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub measure: Measure,
    /// Layers that are kept, ascending.
    pub kept: Vec<usize>,
    /// The other layers. Influence: ascending by influence. Angular: the block, ascending. Loss: in the order of dropping.
    pub dropped: Vec<usize>,
    /// Influence: a value for each layer. Angular: the distance of the block that begins with each layer, from layer 0 on. Loss:
    /// the loss after each drop, in nats.
    pub values: Vec<f64>,
    /// The loss of the whole model, for the measure by loss.
    pub whole: Option<f64>,
    /// For the measure by loss: a round for each dropped layer.
    pub rounds: Vec<Round>,
}

/// The progress of a measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The part of the work that is done, from 0 to 1.
    pub share: f64,
    /// The layer that was just dropped and the loss without it, for the measure by loss.
    pub dropped: Option<(usize, f64)>,
}

/// A callback between passes; stops the measure by returning `Break`.
pub type Watch<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// One round of the measure by loss: the losses from which a layer was chosen to be dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// The remaining layers, ascending, and the loss without each of them in nats.
    pub without: Vec<(usize, f64)>,
    /// The layer that was dropped, and the loss without it.
    pub dropped: (usize, f64),
}

impl Subject<'_> {
    /// Loads windows into the workspace, a batch at a time, and calls `each` with the number of windows in the batch. Stops if `each` breaks.
    pub(super) fn each_batch(
        &self,
        each: &mut dyn FnMut(usize) -> Result<ControlFlow<()>, InheritError>,
    ) -> Result<ControlFlow<()>, InheritError> {
        let ws = self.workspace;
        let (batch, time) = (ws.batch, ws.time);
        let (mut inputs, mut targets) = (vec![0; batch * time], vec![0; batch * time]);
        for starts in self.starts.chunks(batch) {
            // The last batch is filled up with its first window, which is not counted again.
            let mut padded = starts.to_vec();
            padded.resize(batch, starts[0]);
            fill_batch(self.tokens, &padded, time, &mut inputs, &mut targets)
                .map_err(candle_core::Error::wrap)?;
            ops::write(&ws.inputs, &inputs)?;
            ops::write(&ws.targets, &targets)?;
            if each(starts.len())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the number of batches of one pass over all windows.
    pub(super) fn batches(&self) -> usize {
        self.starts.len().div_ceil(self.workspace.batch)
    }
}

/// Reports the progress of a single pass over the windows.
pub(super) struct Passes<'w, 'f> {
    watch: &'w mut Watch<'f>,
    done: usize,
    all: usize,
}

impl<'w, 'f> Passes<'w, 'f> {
    /// Starts a pass over all windows of `subject`.
    pub(super) fn over(subject: &Subject<'_>, watch: &'w mut Watch<'f>) -> Self {
        Self {
            watch,
            done: 0,
            all: subject.batches(),
        }
    }

    /// Reports that one more batch is done.
    pub(super) fn one_more(&mut self) -> ControlFlow<()> {
        self.done += 1;
        (self.watch)(Progress {
            share: self.done as f64 / self.all as f64,
            dropped: None,
        })
    }
}

/// Rejects non-finite values.
pub(super) fn finite(measure: Measure, values: &[f64]) -> Result<(), InheritError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(InheritError::NotFinite(measure.name())),
    }
}
