//! The texts of a run: batches of the training text, windows of the validation text, and their latest losses.

use anyhow::Result;

use super::instruction::Drawn;
use super::learner::Learner;
use super::plan;
use super::reader::Reader;
use crate::config::Config;
use crate::corpus::{Batch, Dataset, Tokenizer, Tokens};
use crate::fault;
use crate::run::windows::EvalWindows;

/// Batches of the config's size, and the losses of the latest evaluation.
pub(super) struct Data {
    reader: Reader,
    seed: u64,
    /// Windows of a batch, of all ranks together, and tokens of a window.
    windows: usize,
    time: usize,
    eval_windows: EvalWindows,
    /// Loss of each validation window at the latest evaluation; empty after a resume or a rollback, which restore its record alone.
    window_losses: Vec<f64>,
}

impl Data {
    /// Draws batches of the size in `config`, of windows of `time` tokens. `place` is this rank, and the number of ranks.
    ///
    /// # Errors
    /// When a batch cannot be cut into such windows.
    pub(super) fn new(
        dataset: Dataset,
        config: &Config,
        time: usize,
        eval_windows: EvalWindows,
        place: (usize, usize),
    ) -> Result<Self> {
        let (windows, _) = plan::windows(config, time)?;
        Ok(Self {
            reader: Reader::new(dataset, place),
            seed: config.train.seed,
            windows,
            time,
            eval_windows,
            window_losses: Vec::new(),
        })
    }

    /// Draws batches of another size where `config` asks for one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn fit(&mut self, config: &Config, time: usize) -> Result<()> {
        let (windows, _) = plan::windows(config, time)?;
        (self.windows, self.time) = (windows, time);
        Ok(())
    }

    /// Names the windows of a step of a stream, drawn from the sources with these weights.
    pub(super) fn drawn(&self, stream: u64, step: u64, weights: Vec<f64>) -> Drawn {
        Drawn {
            seed: self.seed,
            stream,
            step,
            weights,
            windows: self.windows,
            time: self.time,
        }
    }

    /// Returns this rank's windows of a batch. [`Self::give_back`] their memory after use.
    ///
    /// # Errors
    /// When the system refuses a thread, or an id is outside the vocabulary.
    pub(super) fn batch(&mut self, drawn: &Drawn) -> Result<Batch> {
        self.reader.read(drawn)
    }

    /// Returns the memory of a batch.
    pub(super) fn give_back(&mut self, batch: Batch) {
        self.reader.give_back(batch);
    }

    /// The weights of the sources of the training text, as configured.
    pub(super) fn weights(&self) -> &[f64] {
        self.reader.dataset.weights()
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
        &self.reader.dataset.val
    }

    /// Tokens of the training text.
    pub(super) fn train_tokens(&self) -> usize {
        self.reader.dataset.train.len()
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.reader.dataset.tokenizer
    }

    /// Bytes of tokens that are not mapped from files.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.reader.dataset.bytes_in_memory()
    }
}
