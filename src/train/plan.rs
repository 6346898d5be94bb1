//! Shapes and costs that follow from a config before anything is trained.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::memory::Memory;
use super::passes::Passes;
pub use super::schedule::LearningRate;
use crate::config::{self, Config, ReferenceTrainConfig, TrainConfig};
use crate::corpus::Tokenizer;
use crate::inherit;
use crate::model::{DecoderConfig, Family, Files, Mode, Positions, Sizes, Workspace};
use crate::ops::{self, Precision};
use crate::run::event::Phase;

/// The shape of a reference that is trained here.
pub fn reference_shape(config: &Config, tokenizer: &Tokenizer) -> DecoderConfig {
    let m = &config.model;
    let sizes = Sizes {
        n_layer: m.n_layer,
        n_head: m.n_head,
        n_embd: m.n_embd,
        context_length: m.context_length,
        vocab: if m.vocab == 0 {
            tokenizer.padded_vocab()
        } else {
            m.vocab
        },
    };
    let mut shape = match m.family {
        Family::Llama => DecoderConfig::llama(sizes),
        Family::Gpt2 => DecoderConfig::gpt2(sizes, m.bias),
    };
    if m.n_kv_head > 0 {
        shape.n_kv_head = m.n_kv_head;
    }
    if m.n_inner > 0 {
        shape.n_inner = m.n_inner;
    }
    if let Positions::Rotary(rope) = &mut shape.positions {
        rope.theta = m.rope_theta;
    }
    if let Some(tied) = m.tie_word_embeddings {
        shape.tied_head = tied;
    }
    if m.scale_attn_by_inverse_layer_idx {
        shape.attention_scales = (1..=m.n_layer).map(|i| 1.0 / i as f32).collect();
    }
    shape
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

/// What training and evaluation multiply in (`train.dtype`).
pub fn compute(config: &TrainConfig) -> Precision {
    match config.dtype {
        config::Precision::Bf16 => Precision::Bf16,
        config::Precision::F32 => Precision::F32,
    }
}

/// What a training step keeps of its forward pass (`train.recompute`).
pub fn mode(config: &TrainConfig) -> Mode {
    match config.recompute {
        true => Mode::Recompute,
        false => Mode::Train,
    }
}

/// Buffers for training steps of `batch` windows of `time` tokens.
pub fn workspace(
    config: &TrainConfig,
    shape: &DecoderConfig,
    batch: usize,
    time: usize,
    device: &Device,
) -> candle_core::Result<Workspace> {
    Workspace::computing(shape, batch, time, mode(config), compute(config), device)
}

/// What to say where `train.dtype` asks for what the device cannot do well.
pub fn slow_compute(config: &Config, device: &Device) -> Option<String> {
    if device.is_cuda() {
        let slow = compute(&config.train) == Precision::F32;
        return slow.then(|| {
            "train.dtype is \"f32\": on a GPU \"bf16\" trains some twenty times as fast".into()
        });
    }
    let slow = compute(&config.train) == Precision::Bf16 && ops::unit() == "portable";
    slow.then(|| {
        "train.dtype is \"bf16\", and this CPU has no bf16 instructions (AVX512-BF16, AMX): \"f32\" is faster here"
            .into()
    })
}

/// Windows per optimizer step and per forward pass.
pub fn windows(config: &Config, context: usize) -> Result<(usize, usize)> {
    let batch = usize::try_from(config.train.batch_tokens)?;
    if batch == 0 || !batch.is_multiple_of(context) {
        bail!(
            "train.batch_tokens = {batch} is not a multiple of the context of {context} tokens: give {}",
            (batch / context).max(1) * context
        );
    }
    let windows = batch / context;
    let micro = match config.train.micro_batch {
        0 => windows,
        n => n,
    };
    if !windows.is_multiple_of(micro) {
        bail!(
            "train.micro_batch = {micro} does not divide the {windows} windows of a step: give a divisor, or 0 for all of them at once"
        );
    }
    Ok((windows, micro))
}

/// The learning rate of a phase of `steps`; the reference's own where `[reference.train]` says so.
pub fn learning_rate(config: &Config, phase: &Phase, steps: u64) -> LearningRate {
    let t = &config.train;
    let reference = match phase {
        Phase::Reference => config.reference.train.clone(),
        _ => None,
    };
    let r = reference.unwrap_or(ReferenceTrainConfig {
        steps,
        lr: None,
        min_lr: None,
        warmup: None,
        schedule: None,
    });
    let peak = r.lr.unwrap_or(t.lr);
    // A reference with a peak of its own does not share the rounds' floor unless it says so.
    let shared = if r.lr.is_some() { None } else { t.min_lr };
    LearningRate {
        kind: r.schedule.unwrap_or(t.schedule),
        peak,
        min: r.min_lr.or(shared).unwrap_or(peak / 10.0),
        warmup: r.warmup.unwrap_or(t.warmup).min(steps),
        steps,
    }
}

/// Most layers the recipe may grow to.
pub fn max_layers(config: &Config, reference_layers: usize) -> usize {
    match config.grow.max_layers {
        0 => (reference_layers - 1).max(1),
        n => n.min(reference_layers),
    }
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPhase {
    pub phase: Phase,
    /// Whether the phase happens only if those before it do not match.
    pub conditional: bool,
    pub layers: usize,
    pub parameters: u64,
    pub steps: u64,
    pub tokens: u64,
    pub memory: Memory,
    /// Training FLOPs, evaluations included (a forward pass is a third of a step).
    pub flops: f64,
}

/// Every phase that can happen; `text` are the bytes of tokens in memory.
///
/// # Errors
/// When the config does not fit the reference's shape.
pub fn phases(
    config: &Config,
    reference: &DecoderConfig,
    passes: &Passes,
    text: u64,
) -> Result<Vec<PlannedPhase>> {
    let context = passes.time;
    let planned = |phase: Phase, layers: usize, steps: u64, conditional: bool| {
        let scales = (0..layers).map(|_| 1.0).collect();
        let shape = reference.with_layers(scales);
        let tokens = steps * config.train.batch_tokens;
        let evals = steps / config.eval.every + 2;
        let eval_tokens = evals * (passes.eval_windows * context) as u64;
        let per_token = shape.flops_per_token(context);
        PlannedPhase {
            phase,
            conditional,
            layers,
            parameters: shape.parameters(),
            steps,
            tokens,
            memory: Memory::of_phase(passes, &shape, steps > 0, text),
            flops: per_token * (tokens as f64 + eval_tokens as f64 / 3.0),
        }
    };
    let reference_steps = config.reference.train.as_ref().map_or(0, |r| r.steps);
    let mut all = vec![planned(
        Phase::Reference,
        reference.n_layer,
        reference_steps,
        false,
    )];
    let mut layers = inherit::choose(&config.inherit.layers, reference.n_layer, &[])?;
    let max = max_layers(config, reference.n_layer);
    for round in 1.. {
        all.push(planned(
            Phase::Round(round),
            layers.len(),
            config.train.steps,
            round > 1,
        ));
        let room = config.grow.step.min(max.saturating_sub(layers.len()));
        let next = inherit::next_layers(&layers, room, reference.n_layer);
        if next.is_empty() {
            break;
        }
        layers.extend(next);
    }
    if config.control.random {
        all.push(planned(
            Phase::ControlRandom,
            layers.len(),
            config.train.steps,
            false,
        ));
    }
    if config.control.reference_continued {
        all.push(planned(
            Phase::ControlReference,
            reference.n_layer,
            config.train.steps,
            false,
        ));
    }
    Ok(all)
}

/// The phase of most memory among those that will happen whatever the losses.
pub fn largest(phases: &[PlannedPhase]) -> Option<&PlannedPhase> {
    let certain = phases.iter().filter(|p| !p.conditional);
    certain.max_by_key(|p| p.memory.total())
}

/// The reference's files at `path`, checked against the tokenizer.
///
/// # Errors
/// When it cannot be read, or the tokenizer's vocabulary has ids that it lacks.
pub fn open_reference(path: &Path, tokenizer: &Tokenizer) -> Result<Files> {
    let files = Files::open(path).context("the reference cannot be read")?;
    tokenizer.vocabulary_fits(files.config.vocab)?;
    Ok(files)
}
