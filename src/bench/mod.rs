//! Measures training steps of a model of any shape on this machine.

mod card;
mod peak;
pub mod presets;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use candle_core::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::TrainConfig;
use crate::model::{
    Decoder, DecoderConfig, Format, Head, Mode, Positions, Workspace, memory_bytes,
};
use crate::ops::{self, Accumulation, Recording, Sums, clock};
use crate::train::{Hyperparameters, Optimizer, plan};

pub use crate::device::memory::peak_resident as peak_memory;
pub use card::peak_bf16;
pub use peak::gemm_gflops;

/// A measurement's settings.
#[derive(Debug, Clone)]
pub struct Job {
    pub batch: usize,
    pub time: usize,
    /// Measured steps, after two warm-up steps.
    pub steps: usize,
    /// Whether only losses are computed, without gradients and updates.
    pub forward: bool,
    pub train: TrainConfig,
}

/// Steps that are not measured, in which memory is touched for the first time.
const WARM_UP: usize = 2;

/// Steps on a GPU after the measured ones, in which each op is waited for.
const WAITED: usize = 3;

/// A measurement.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Seconds of each step.
    pub seconds: Vec<f64>,
    /// Loss of each step in nats, including the warm-up steps.
    pub losses: Vec<f64>,
    /// Seconds of each step by part; "other" is the time outside ops.
    pub parts: Vec<(&'static str, Vec<f64>)>,
}

impl Job {
    /// Returns the bytes that the job needs on `device`.
    pub fn bytes(&self, config: &DecoderConfig, device: &Device) -> u64 {
        let format = Format::on(device, self.train.dtype.on(device));
        memory_bytes(config, self.batch, self.time, self.mode(), format)
    }

    fn mode(&self) -> Mode {
        match self.forward {
            true => Mode::Forward,
            false => plan::mode(&self.train),
        }
    }

    /// Returns the FLOPs of a token by the definition of model FLOPs utilisation: 6 for each parameter except position embeddings, and
    /// 12 L d T for attention, causal or not (Chowdhery et al., "PaLM", arXiv 2204.02311, appendix B).
    pub fn mfu_flops(&self, config: &DecoderConfig) -> f64 {
        let positions = match config.positions {
            Positions::Learned => (config.context_length * config.n_embd) as f64,
            Positions::Rotary(_) => 0.0,
        };
        let attention = config.n_layer * config.attention_width() * self.time;
        let passes = if self.forward { 1.0 / 3.0 } else { 1.0 };
        passes * (6.0 * (config.parameters() as f64 - positions) + 12.0 * attention as f64)
    }

    /// Returns the floating-point operations of a step: 2 for each weight that a token is multiplied with and for each multiplication of
    /// attention, and twice that for the gradients. Recomputation, which saves memory, does not count.
    pub fn flops(&self, config: &DecoderConfig) -> f64 {
        let passes = if self.forward { 1.0 / 3.0 } else { 1.0 };
        passes * config.flops_per_token(self.time) * (self.batch * self.time) as f64
    }

    /// Makes steps on one batch of random tokens, on the model's device. Calls `after_step` after each step.
    ///
    /// # Errors
    /// When a loss is not finite.
    pub fn run(&self, model: &Decoder, after_step: &mut dyn FnMut()) -> Result<Measured> {
        let (config, device) = (&model.config, model.weights.device());
        let compute = self.train.dtype.on(device);
        let (batch, time) = (self.batch, self.time);
        let ws = Workspace::computing(config, batch, time, self.mode(), compute, device)?;
        let (inputs, targets) = tokens(self.batch, self.time, model.config.vocab);
        ops::write(&ws.inputs, &inputs)?;
        ops::write(&ws.targets, &targets)?;
        let mut optimizer = match self.forward {
            true => None,
            false => Some(Optimizer::new(model, device)?),
        };
        let (mut sums, mut recording) = (Sums::zero(device)?, Recording::default());
        let (mut seconds, mut losses) = (Vec::new(), Vec::new());
        let mut parts: Vec<(&'static str, Vec<f64>)> = Vec::new();
        // A GPU's parts can only be timed by waiting for each op, which the measured steps must not do.
        let apart = if device.is_cuda() { WAITED } else { 0 };
        for step in 0..WARM_UP + self.steps + apart {
            let waits = step >= WARM_UP + self.steps;
            clock::wait_for_gpu(waits);
            let (begin, before) = (Instant::now(), clock::spent());
            let loss = match &mut optimizer {
                None => self.loss(model, &ws, &mut sums)?,
                Some(optimizer) => {
                    let how = Accumulation::first(&model.grads.flat)?;
                    let loss = |head: Head<'_>| head.cross_entropy(1.0 / self.tokens() as f32);
                    model.forward_backward_recorded(&mut recording, &ws, how, loss)?;
                    self.update(model, &ws, optimizer, &mut sums)?
                }
            };
            let passed = begin.elapsed().as_secs_f64();
            if step >= WARM_UP && !waits {
                seconds.push(passed);
            }
            if waits || (step >= WARM_UP && apart == 0) {
                for (i, (name, s)) in by_part(&before, &clock::spent(), passed).enumerate() {
                    if parts.len() == i {
                        parts.push((name, Vec::new()));
                    }
                    parts[i].1.push(s);
                }
            }
            if !loss.is_finite() {
                bail!("the loss of step {step} is {loss}");
            }
            losses.push(loss);
            after_step();
        }
        clock::wait_for_gpu(false);
        Ok(Measured {
            parts,
            seconds,
            losses,
        })
    }

    fn tokens(&self) -> usize {
        self.batch * self.time
    }

    fn loss(&self, model: &Decoder, ws: &Workspace, sums: &mut Sums) -> Result<f64> {
        model.forward(ws)?;
        sums.clear()?;
        sums.add_losses(&ws.losses)?;
        Ok(sums.read()?.losses / self.tokens() as f64)
    }

    /// Updates the weights as the trainer does. Returns the loss.
    fn update(
        &self,
        model: &Decoder,
        ws: &Workspace,
        optimizer: &mut Optimizer,
        sums: &mut Sums,
    ) -> Result<f64> {
        sums.clear()?;
        sums.add_losses(&ws.losses)?;
        Optimizer::add_squares(model, &[], sums)?;
        let totals = sums.read()?;
        let values = Hyperparameters::of(&self.train, self.train.lr);
        optimizer.step(model, totals.squares.sqrt(), &values)?;
        Ok(totals.losses / self.tokens() as f64)
    }
}

/// Returns the seconds by part between two readings of the clock, `passed` seconds apart.
fn by_part(
    before: &[(&'static str, Duration)],
    after: &[(&'static str, Duration)],
    passed: f64,
) -> impl Iterator<Item = (&'static str, f64)> {
    let known = before.iter().zip(after);
    let known: Vec<_> = known
        .map(|((name, before), (_, after))| (*name, (*after - *before).as_secs_f64()))
        .collect();
    let rest = passed - known.iter().map(|(_, s)| s).sum::<f64>();
    known.into_iter().chain([("other", rest.max(0.0))])
}

/// Returns the median.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

/// Returns inputs and targets of `batch` windows, with the same random ids on every call.
pub fn tokens(batch: usize, time: usize, vocab: usize) -> (Vec<u32>, Vec<u32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let most = u32::try_from(vocab).unwrap_or(u32::MAX);
    let windows: Vec<Vec<u32>> = (0..batch)
        .map(|_| (0..=time).map(|_| rng.random_range(0..most)).collect())
        .collect();
    let all = |from: usize| {
        let windows = windows.iter();
        windows
            .flat_map(|w| w[from..from + time].to_vec())
            .collect()
    };
    (all(0), all(1))
}
