//! The text of a run and what was last measured on it: batches of the training text, windows of the validation text.

use anyhow::Result;

use super::learner::Learner;
use super::plan;
use crate::config::Config;
use crate::corpus::{Batch, BatchSpec, Batches, CorpusError, Dataset, Sampler, Tokenizer, Tokens};
use crate::fault;
use crate::run::windows::EvalWindows;

/// Batches of the config's size, and the losses of the latest evaluation.
pub(super) struct Data {
    dataset: Dataset,
    batches: Batches,
    /// Windows of a batch.
    windows: usize,
    eval_windows: EvalWindows,
    /// Loss of each validation window at the latest evaluation; empty after a resume or a rollback, which restore its record alone.
    window_losses: Vec<f64>,
}

impl Data {
    /// Draws batches as `config` says, of windows of `time` tokens.
    ///
    /// # Errors
    /// When a batch cannot be cut into such windows, or no thread can be had.
    pub(super) fn new(
        dataset: Dataset,
        config: &Config,
        time: usize,
        eval_windows: EvalWindows,
    ) -> Result<Self> {
        let (windows, _) = plan::windows(config, time)?;
        Ok(Self {
            batches: draw(&dataset, config, windows, time)?,
            windows,
            eval_windows,
            window_losses: Vec::new(),
            dataset,
        })
    }

    /// Draws batches of another size where `config` asks for one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn fit(&mut self, config: &Config, time: usize) -> Result<()> {
        let (windows, _) = plan::windows(config, time)?;
        if windows != self.windows {
            self.batches = draw(&self.dataset, config, windows, time)?;
            self.windows = windows;
        }
        Ok(())
    }

    /// Returns the batch of a step of a stream, drawn from the sources with these weights. [`Self::give_back`] its memory
    /// after use.
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    pub(super) fn batch(
        &mut self,
        stream: u64,
        step: u64,
        weights: &[f64],
    ) -> Result<Batch, CorpusError> {
        if self.dataset.mixture.len() > 1 {
            let mixture = self.dataset.mixture.with_weights(weights);
            self.batches.set_mixture(mixture);
        }
        self.batches.take(stream, step)
    }

    /// Returns the memory of a batch.
    pub(super) fn give_back(&mut self, batch: Batch) {
        self.batches.give_back(batch);
    }

    /// The weights of the sources of the training text, as configured.
    pub(super) fn weights(&self) -> &[f64] {
        self.dataset.weights()
    }

    /// Evaluates the model at `step` of the run. Returns the loss of each validation window.
    ///
    /// # Errors
    /// When the model cannot be evaluated, or memory is short.
    pub(super) fn evaluate(&mut self, learner: &mut Learner, step: u64) -> Result<&[f64]> {
        let mut losses = learner.evaluate(self.val())?;
        if fault::is_at("eval-nan", step) {
            losses.fill(f64::NAN);
        }
        self.window_losses = losses;
        Ok(&self.window_losses)
    }

    /// Returns the losses of the latest evaluation, which was of the present model. They are measured again where only its
    /// record is known, as after a resume at its very step.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub(super) fn latest_losses(&mut self, learner: &mut Learner) -> Result<&[f64]> {
        if self.window_losses.is_empty() {
            self.window_losses = learner.evaluate(self.val())?;
        }
        Ok(&self.window_losses)
    }

    /// Forgets the losses of the latest evaluation, which was of another model.
    pub(super) fn forget_losses(&mut self) {
        self.window_losses.clear();
    }

    pub(super) fn eval_windows(&self) -> EvalWindows {
        self.eval_windows
    }

    /// The validation text.
    pub(super) fn val(&self) -> &Tokens {
        &self.dataset.val
    }

    /// Tokens of the training text.
    pub(super) fn train_tokens(&self) -> usize {
        self.dataset.train.len()
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.dataset.tokenizer
    }

    /// Bytes of tokens that are not mapped from files.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.dataset.bytes_in_memory()
    }
}

fn draw(
    dataset: &Dataset,
    config: &Config,
    windows: usize,
    time: usize,
) -> std::io::Result<Batches> {
    Batches::of(BatchSpec {
        tokens: dataset.train.clone(),
        mixture: dataset.mixture.clone(),
        sampler: Sampler {
            seed: config.train.seed,
        },
        windows,
        time,
    })
}
