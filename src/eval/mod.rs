//! Loss over a fixed, evenly strided pass of the validation text, and the paired gap between two models.
//!
//! Every model sees the same windows, so differences are taken window by window: their standard error is a fraction
//! of that of two separate means.

use candle_core::{Device, Result};

use crate::corpus::{Tokens, even_starts, fill_batch};
use crate::model::{Decoder, DecoderConfig, Mode, Workspace};
use crate::ops::{self, Compute};

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

/// Mean and standard error (sample standard deviation with ddof 1, over the square root of n).
pub fn mean_stderr(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, f64::NAN);
    }
    let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (var / n).sqrt())
}

/// Mean and standard error of the paired differences `model - reference` (positive: the model is worse).
pub fn paired_gap(model: &[f64], reference: &[f64]) -> (f64, f64) {
    debug_assert_eq!(model.len(), reference.len());
    let differences: Vec<f64> = model.iter().zip(reference).map(|(a, b)| a - b).collect();
    mean_stderr(&differences)
}

/// Evaluates models of one width and vocabulary on the same windows.
#[derive(Debug)]
pub struct Evaluator {
    starts: Vec<usize>,
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
        compute: Compute,
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
            workspace,
            inputs: vec![0; batch * time],
            targets: vec![0; batch * time],
        })
    }

    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.starts.len()
    }

    /// Where the windows start.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Mean loss in nats of each window.
    pub fn losses(&mut self, model: &Decoder, tokens: &Tokens) -> Result<Vec<f64>> {
        self.losses_with(model, tokens, &mut |_| {})
    }

    /// As [`Self::losses`]; `progress` is told of the windows done.
    pub fn losses_with(
        &mut self,
        model: &Decoder,
        tokens: &Tokens,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<f64>> {
        let (batch, time) = (self.workspace.batch, self.workspace.time);
        let mut all = Vec::with_capacity(self.starts.len());
        for starts in self.starts.chunks(batch) {
            // The last piece is filled up with its first window, whose extra losses are dropped.
            let mut padded = starts.to_vec();
            padded.resize(batch, starts[0]);
            fill_batch(tokens, &padded, time, &mut self.inputs, &mut self.targets)
                .map_err(candle_core::Error::wrap)?;
            ops::write(&self.workspace.inputs, &self.inputs)?;
            ops::write(&self.workspace.targets, &self.targets)?;
            model.forward(&self.workspace)?;
            let losses = ops::read(&self.workspace.losses)?;
            let windows = losses.chunks_exact(time).take(starts.len());
            all.extend(windows.map(|w| w.iter().map(|&l| f64::from(l)).sum::<f64>() / time as f64));
            progress(all.len());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paired_error_leaves_out_what_both_share() {
        // Window difficulty varies by nats, the models differ by 0.1 with a little noise.
        let reference: Vec<f64> = (0..50).map(|i| 3.0 + f64::from(i % 7)).collect();
        let model: Vec<f64> = reference
            .iter()
            .enumerate()
            .map(|(i, r)| r + 0.1 + if i % 2 == 0 { 0.01 } else { -0.01 })
            .collect();
        let (gap, stderr) = paired_gap(&model, &reference);
        assert!((gap - 0.1).abs() < 1e-12);
        // sd with ddof 1 of ±0.01 is 0.01 * sqrt(50/49).
        assert!((stderr - 0.01 * (50f64 / 49.0).sqrt() / 50f64.sqrt()).abs() < 1e-12);
        assert!(mean_stderr(&reference).1 > 0.2);
        assert!(mean_stderr(&[1.0]).1.is_nan());
    }
}
