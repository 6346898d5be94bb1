//! The sizes of a run's passes for training, evaluation and probes, which stay the same over all phases.

use anyhow::{Result, bail};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::config::{Config, OptimizerChoice, ShardChoice, TrainConfig};
use crate::eval;
use crate::model::{DecoderConfig, Format, Mode};

/// Most attention elements in memory during a probe.
const PROBE_ELEMENTS: usize = 8 << 20;

/// Sizes of every pass of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Passes {
    /// Windows of a forward and backward pass of this process, and tokens of a window.
    pub micro: usize,
    pub time: usize,
    /// Tokens of an optimizer step, of all ranks together.
    pub batch_tokens: u64,
    /// The values that a training pass keeps.
    pub mode: Mode,
    pub format: Format,
    /// Windows of an evaluation, and of one of its passes.
    pub eval_windows: usize,
    pub eval_batch: usize,
    /// Windows of a probe, and their tokens.
    pub probe_windows: usize,
    pub probe_length: usize,
    /// Whether Muon updates the hidden matrices.
    pub muon: bool,
    /// Number of ranks that train together.
    pub world: usize,
    /// Whether each of them keeps the moments of its part of the parameters alone.
    pub sharded: bool,
    /// Tokens of a pass over downstream tasks; 0 where the config names none.
    pub task_tokens: usize,
}

impl Passes {
    /// The passes of a run with this config whose reference has this shape.
    ///
    /// # Errors
    /// When windows are longer than the reference's context, or do not divide a batch.
    pub fn of(config: &Config, reference: &DecoderConfig, device: &Device) -> Result<Self> {
        let time = window_length(config, reference)?;
        let (_, micro) = windows(config, time)?;
        let format = Format::on(device, config.train.dtype.on(device));
        let eval_windows = config.eval.windows;
        Ok(Self {
            micro,
            time,
            batch_tokens: config.train.batch_tokens,
            mode: mode(&config.train),
            format,
            eval_windows,
            eval_batch: eval::batch(time, eval_windows, format.gpu),
            probe_windows: config.probe.windows,
            probe_length: config.probe.length.min(time),
            muon: config.train.optimizer == OptimizerChoice::Muon,
            world: 1,
            sharded: config.train.shard == ShardChoice::Optimizer,
            task_tokens: match config.eval.tasks().is_empty() {
                true => 0,
                false => eval::score::default_tokens(format.gpu),
            },
        })
    }

    /// Returns these passes with another number of validation windows: as many as the text holds without overlap.
    pub fn with_eval_windows(self, eval_windows: usize) -> Self {
        Self {
            eval_windows,
            eval_batch: eval::batch(self.time, eval_windows, self.format.gpu),
            ..self
        }
    }

    /// Returns the passes of one of `world` ranks, which share each step's windows equally.
    ///
    /// # Errors
    /// As [`windows_of_rank`].
    pub fn among(self, config: &Config, world: usize) -> Result<Self> {
        let (_, micro) = windows_of_rank(config, self.time, world)?;
        Ok(Self {
            micro,
            world,
            ..self
        })
    }

    /// Passes of `micro` windows of `time` tokens in f32 on the CPU, with a config's defaults otherwise.
    pub fn usual(micro: usize, time: usize) -> Self {
        let (eval_windows, probe_windows, probe_length) = (256, 100, 100);
        Self {
            micro,
            time,
            batch_tokens: (micro * time) as u64,
            mode: Mode::Train,
            format: Format::PLAIN,
            eval_windows,
            eval_batch: eval::batch(time, eval_windows, false),
            probe_windows,
            probe_length: time.min(probe_length),
            muon: false,
            world: 1,
            sharded: false,
            task_tokens: 0,
        }
    }

    /// Rows (B T) that a workspace has room for: those of the largest pass.
    pub fn rows(&self) -> usize {
        self.time * self.micro.max(self.eval_batch)
    }

    /// Windows of one pass of a probe.
    pub fn probe_batch(&self, shape: &DecoderConfig) -> usize {
        let per_window = shape.n_head * self.probe_length * self.probe_length;
        let fitting = (PROBE_ELEMENTS / per_window).min(self.rows() / self.probe_length);
        fitting.clamp(1, self.probe_windows)
    }

    /// Whether a probe, which computes in f32, can use the workspace's memory.
    pub fn probe_shares_memory(&self) -> bool {
        !(self.format.gpu && self.format.compute == crate::ops::Precision::Bf16)
    }
}

/// Tokens of a training or validation window: `train.context_length`, or the model's whole context.
///
/// # Errors
/// When the model's context is shorter.
pub fn window_length(config: &Config, shape: &DecoderConfig) -> Result<usize> {
    let most = shape.context_length;
    match config.train.context_length {
        0 => Ok(most),
        n if n <= most => Ok(n),
        n => bail!(
            "train.context_length = {n} is longer than the reference's context of {most} tokens: give at most that, or 0 for all of it"
        ),
    }
}

/// Returns the values that a training step keeps of its forward pass (`train.recompute`).
pub fn mode(config: &TrainConfig) -> Mode {
    match config.recompute {
        true => Mode::Recompute,
        false => Mode::Train,
    }
}

/// Windows per optimizer step and per forward pass of a run of one process.
///
/// # Errors
/// When windows do not divide the batch, or passes do not divide the windows.
pub fn windows(config: &Config, context: usize) -> Result<(usize, usize)> {
    windows_of_rank(config, context, 1)
}

/// Windows per optimizer step, of all ranks together, and per forward pass of one of `world` ranks.
///
/// # Errors
/// When windows do not divide the batch, ranks cannot share the windows equally, passes do not divide a rank's windows, or
/// there are more ranks than passes.
pub fn windows_of_rank(config: &Config, context: usize, world: usize) -> Result<(usize, usize)> {
    let batch = usize::try_from(config.train.batch_tokens)?;
    if batch == 0 || !batch.is_multiple_of(context) {
        bail!(
            "train.batch_tokens = {batch} is not a multiple of the context of {context} tokens: give {}",
            (batch / context).max(1) * context
        );
    }
    let windows = batch / context;
    let (asked, ranks) = (config.train.micro_batch, world.max(1));
    if asked > 0 && !windows.is_multiple_of(asked) {
        bail!(
            "train.micro_batch = {asked} does not divide the {windows} windows of a step: give a divisor, or 0 for all of them at once"
        );
    }
    let passes = windows / asked.max(1);
    if ranks > passes {
        let what = match asked {
            0 | 1 => format!("the {windows} windows of a step"),
            n => format!("the {passes} passes of {n} windows (train.micro_batch) of a step"),
        };
        bail!(
            "{ranks} ranks are more than {what}: start at most {passes}, or set train.batch_tokens to {} or more",
            ranks * asked.max(1) * context
        );
    }
    if !windows.is_multiple_of(ranks) {
        bail!(
            "the {windows} windows of a step (train.batch_tokens = {batch}, windows of {context} tokens) do not divide among {ranks} ranks: start {} ranks, or set train.batch_tokens to {}",
            divisor_below(windows, ranks),
            windows.next_multiple_of(ranks) * context
        );
    }
    let own = windows / ranks;
    let micro = match asked {
        0 => own,
        n => n,
    };
    if !own.is_multiple_of(micro) {
        bail!(
            "train.micro_batch = {micro} does not divide the {own} windows that each of {ranks} ranks has of a step: give a divisor of {own}, or 0 for all of them at once"
        );
    }
    Ok((windows, micro))
}

/// The largest divisor of `n` that is at most `most`.
fn divisor_below(n: usize, most: usize) -> usize {
    (1..=most).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(batch_tokens: u64, micro_batch: usize) -> Config {
        let text = format!(
            "data.train = 'a.txt'\nreference.path = 'r'\n[train]\nlr = 1e-3\nsteps = 1\nbatch_tokens = {batch_tokens}\nmicro_batch = {micro_batch}\n"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn ranks_share_the_windows_of_a_step_equally() {
        for (batch, micro, world, wanted) in [
            (640, 0, 1, (64, 64)),
            (640, 0, 4, (64, 16)),
            (640, 8, 4, (64, 8)),
            (640, 1, 64, (64, 1)),
        ] {
            let found = windows_of_rank(&config(batch, micro), 10, world).unwrap();
            assert_eq!(found, wanted, "{batch} {micro} {world}");
        }
    }

    #[test]
    fn batches_that_ranks_cannot_share_are_refused_with_what_to_set() {
        for (batch, micro, world, wanted) in [
            (60, 0, 4, "start 3 ranks, or set train.batch_tokens to 80"),
            (60, 0, 7, "start at most 6, or set train.batch_tokens to 70"),
            (
                80,
                4,
                3,
                "the 2 passes of 4 windows (train.micro_batch) of a step: start at most 2",
            ),
            (
                120,
                4,
                2,
                "does not divide the 6 windows that each of 2 ranks has",
            ),
            (55, 0, 2, "not a multiple of the context of 10 tokens"),
        ] {
            let error = windows_of_rank(&config(batch, micro), 10, world).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
