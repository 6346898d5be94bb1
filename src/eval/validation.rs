//! Loss over a fixed, evenly strided pass of the validation text, and the paired gap between two models.
//!
//! Every model sees the same windows, so differences are taken window by window: their standard error is a fraction
//! of that of two separate means.

use std::ops::Range;

use candle_core::{Device, Result};

use super::error::{disjoint_windows, mean_stderr, paired_gap};
use crate::corpus::{Tokens, even_starts, fill_batch};
use crate::model::{Decoder, DecoderConfig, Mode, Workspace};
use crate::ops::{self, Precision};

/// Most tokens in one forward pass.
const BATCH_TOKENS: usize = 4096;

/// The same on a GPU.
const BATCH_TOKENS_GPU: usize = 32768;

/// Windows of `time` tokens that one forward pass takes when `windows` are evaluated.
pub fn batch(time: usize, windows: usize, gpu: bool) -> usize {
    let most = match gpu {
        true => BATCH_TOKENS_GPU,
        false => BATCH_TOKENS,
    };
    (most / time).clamp(1, windows.max(1))
}

/// Evaluates models of one width and vocabulary on the same windows.
#[derive(Debug)]
pub struct Evaluator {
    starts: Vec<usize>,
    /// The most windows of this length that the text holds without overlap.
    disjoint: usize,
    /// Rows of the vocabulary that losses are taken over.
    vocab: usize,
    workspace: Workspace,
    inputs: Vec<u32>,
    targets: Vec<u32>,
}

impl Evaluator {
    /// Lays out `windows` windows of `time` tokens over `n_tokens` validation tokens, for products in `compute`.
    pub fn new(
        config: &DecoderConfig,
        time: usize,
        n_tokens: usize,
        windows: usize,
        compute: Precision,
        device: &Device,
    ) -> Result<Self> {
        let batch = batch(time, windows, device.is_cuda());
        let workspace = Workspace::computing(config, batch, time, Mode::Forward, compute, device)?;
        Self::within(workspace, n_tokens, windows)
    }

    /// Lays out `windows` windows over `n_tokens` validation tokens for passes in an existing workspace.
    pub fn within(workspace: Workspace, n_tokens: usize, windows: usize) -> Result<Self> {
        let (batch, time) = (workspace.batch, workspace.time);
        Ok(Self {
            starts: even_starts(n_tokens, time, windows),
            disjoint: disjoint_windows(n_tokens, time),
            vocab: workspace.vocab(),
            workspace,
            inputs: vec![0; batch * time],
            targets: vec![0; batch * time],
        })
    }

    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.starts.len()
    }

    /// Takes losses over the first `vocab` rows of the vocabulary only: the rest is padding, which the targets never name
    /// and a softmax over all rows gives a share of the probability.
    pub fn over_vocab(mut self, vocab: usize) -> Self {
        self.vocab = vocab;
        self
    }

    /// Returns the mean of window losses and its [standard error](mean_stderr) on this text.
    pub fn mean_stderr(&self, losses: &[f64]) -> (f64, f64) {
        mean_stderr(losses, self.disjoint)
    }

    /// Returns the [paired gap](paired_gap) of two models' window losses on this text.
    pub fn paired_gap(&self, model: &[f64], reference: &[f64]) -> (f64, f64) {
        paired_gap(model, reference, self.disjoint)
    }

    /// The buffers of its passes.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Where the windows start.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Mean loss in nats of each window.
    pub fn losses(&mut self, model: &Decoder, tokens: &Tokens) -> Result<Vec<f64>> {
        self.losses_with(model, tokens, &mut |_| {})
    }

    /// As [`Self::losses`]; `progress` gets the number of windows done.
    pub fn losses_with(
        &mut self,
        model: &Decoder,
        tokens: &Tokens,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<f64>> {
        self.some(model, tokens, 0..self.passes(), progress)
    }

    /// Number of passes over all windows.
    pub fn passes(&self) -> usize {
        self.starts.len().div_ceil(self.workspace.batch)
    }

    /// As [`Self::losses`], of the windows of some passes: several processes that share the passes get the bits of one.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn losses_of(
        &mut self,
        model: &Decoder,
        tokens: &Tokens,
        passes: Range<usize>,
    ) -> Result<Vec<f64>> {
        self.some(model, tokens, passes, &mut |_| {})
    }

    fn some(
        &mut self,
        model: &Decoder,
        tokens: &Tokens,
        passes: Range<usize>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<f64>> {
        let (batch, time) = (self.workspace.batch, self.workspace.time);
        let mut all = Vec::with_capacity(passes.len() * batch);
        let chunks = self.starts.chunks(batch);
        for starts in chunks.skip(passes.start).take(passes.len()) {
            // The last piece is filled up with its first window, whose extra losses are dropped.
            let mut padded = starts.to_vec();
            padded.resize(batch, starts[0]);
            fill_batch(tokens, &padded, time, &mut self.inputs, &mut self.targets)
                .map_err(candle_core::Error::wrap)?;
            ops::write(&self.workspace.inputs, &self.inputs)?;
            ops::write(&self.workspace.targets, &self.targets)?;
            model.forward_over(&self.workspace, self.vocab)?;
            let losses = ops::read(&self.workspace.losses)?;
            let windows = losses.chunks_exact(time).take(starts.len());
            all.extend(windows.map(|w| w.iter().map(|&l| f64::from(l)).sum::<f64>() / time as f64));
            progress(all.len());
        }
        Ok(all)
    }
}
