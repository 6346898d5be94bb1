//! The plan that follows from a config before anything is trained: the phases in their order and their ends, rates, shapes, costs.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;

use super::baselines;
use super::memory::{Held, Memory};
use super::objective::Objective;
use super::optimizer::Optimizer;
pub use super::passes::{Passes, mode, window_length, windows, windows_of_rank};
use super::start::Start;
use super::task::Task;
use super::teacher::{self, TeacherPaths};
use crate::config::{BaselineConfig, Config, ObjectiveChoice, TrainConfig};
use crate::corpus::Tokenizer;
use crate::inherit;
use crate::model::{DecoderConfig, Family, Files, Positions, Sizes, Workspace};
use crate::ops::{self, Precision};
use crate::run::command::GrowMode;
use crate::run::controls::Control;
use crate::run::event::{self, Phase, Planned};
use crate::run::order::{Comparison, Recipe, after};
pub use crate::run::schedule::LearningRate;

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

/// Buffers for training steps of `batch` windows of `time` tokens.
pub fn workspace(
    config: &TrainConfig,
    shape: &DecoderConfig,
    batch: usize,
    time: usize,
    device: &Device,
) -> candle_core::Result<Workspace> {
    let compute = config.dtype.on(device);
    Workspace::computing(shape, batch, time, mode(config), compute, device)
}

/// Returns a warning where the device is slow at the products that `train.dtype` asks for.
pub fn slow_compute(config: &Config, device: &Device) -> Option<String> {
    let dtype = config.train.dtype.on(device);
    if device.is_cuda() && dtype == Precision::F32 {
        let warning = "train.dtype is \"f32\": on a GPU \"bf16\" trains some twenty times as fast";
        return Some(warning.into());
    }
    ops::slow_bf16(dtype, device).map(|why| format!("train.dtype is \"bf16\": {why}"))
}

/// Most layers the recipe may grow to.
pub fn max_layers(config: &Config, reference_layers: usize) -> usize {
    match config.grow.max_layers {
        0 => (reference_layers - 1).max(1),
        n => n.min(reference_layers),
    }
}

/// The consequence of the end of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseEnd {
    /// All other models are compared with its losses; round 1 inherits from it.
    Benchmark,
    /// The decision whether the model grows.
    Decision,
    /// Its result is compared with that of the rounds; the next control or baseline follows.
    Comparison,
}

impl PhaseEnd {
    /// Returns the consequence of the end of a phase; `None` for a phase that this program does not know.
    pub fn of(phase: &Phase) -> Option<Self> {
        match phase {
            Phase::Reference => Some(Self::Benchmark),
            Phase::Round(_) => Some(Self::Decision),
            Phase::Control(_) | Phase::Baseline(_) => Some(Self::Comparison),
            Phase::Other(_) => None,
        }
    }
}

/// Returns the models for comparison that a config asks for, in the order in which they are trained.
fn comparisons(config: &Config, reference_layers: usize) -> Vec<Comparison> {
    let baselines = baselines::planned(config, reference_layers);
    let only = config.policy.only_baseline.as_deref();
    Comparison::all(Control::wanted(&config.control), &baselines, only)
}

/// Returns the task after the reference.
pub fn after_reference(config: &Config, reference_layers: usize) -> Task {
    match config.policy.only_baseline {
        Some(_) => comparison_after(None, config, reference_layers),
        None => Task::Inherit,
    }
}

/// Returns the task after a control or a baseline or, for another phase, after the last round.
pub fn comparison_after(before: Option<&Phase>, config: &Config, reference_layers: usize) -> Task {
    let all = comparisons(config, reference_layers);
    match after(&all, before).first().map(|next| &next.phase) {
        Some(Phase::Control(control)) => Task::Control(control),
        Some(Phase::Baseline(baseline)) => Task::Baseline(baseline.clone()),
        _ => Task::Finish,
    }
}

/// Returns the start of a control for a final model of `n_layer` layers.
pub fn start_of_control(control: &Control, n_layer: usize, config: &Config) -> Start {
    match control.start {
        event::Start::Reference => Start::reference(n_layer),
        _ => Start::random_control(n_layer, config.train.seed),
    }
}

/// A phase as the recipe plans it.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseSpec {
    pub phase: Phase,
    /// The weights that its model starts from. A growth's start is the config's; an operator may choose another one.
    pub start: event::Start,
    pub objective: Objective,
    pub schedule: LearningRate,
    /// Whether the phase happens only if those before it do not match.
    pub conditional: bool,
    pub layers: usize,
    pub parameters: u64,
    pub steps: u64,
    pub tokens: u64,
    pub memory: Memory,
    /// Training FLOPs; evaluations (a forward pass is a third of a step), a teacher's passes and Muon's updates are included.
    pub flops: f64,
}

/// Returns every phase that can happen; `text` is the bytes of tokens in memory, `teachers` the paths of the models that
/// baselines learn from.
///
/// # Errors
/// When the config does not fit the reference's shape, or a teacher cannot teach models of this shape.
pub fn phases(
    config: &Config,
    reference: &DecoderConfig,
    passes: &Passes,
    text: u64,
    teachers: &TeacherPaths,
) -> Result<Vec<PhaseSpec>> {
    let context = passes.time;
    let layers = inherit::choose(&config.inherit.layers, reference.n_layer, &[])?;
    let steps = config.train.steps;
    let order = order(config, &Phase::Reference, &layers, reference.n_layer, steps);
    check_baselines(config, reference)?;
    let last = sizes(&order, layers.len()).last().copied().unwrap_or(1);
    let planned = |planned: Planned| -> Result<PhaseSpec> {
        let Planned {
            phase,
            layers,
            steps,
            conditional,
        } = planned;
        let baseline = baseline_of(config, &phase);
        let shape = match baseline {
            Some((entry, part)) => baselines::shape(entry, part, reference, last)?,
            None => reference.with_layers(vec![1.0; layers]),
        };
        let objective = objective(config, &phase);
        let teacher = match baseline {
            Some((entry, _)) => teacher::shape(&objective, teachers, reference, context)
                .with_context(|| entry.label())?,
            None => None,
        };
        let teacher = teacher.as_ref();
        let tokens = steps * config.train.batch_tokens;
        let evals = steps / config.eval.interval(steps) + 2;
        let eval_tokens = evals * (passes.eval_windows * context) as u64;
        let per_token = shape.flops_per_token(context);
        let muon_flops = match passes.muon {
            true => Optimizer::muon_flops(&shape),
            false => 0.0,
        };
        Ok(PhaseSpec {
            schedule: LearningRate::of_phase(config, &phase, steps),
            start: planned_start(config, &phase),
            objective: Objective::from(&objective),
            phase,
            conditional,
            layers,
            parameters: shape.parameters(),
            steps,
            tokens,
            memory: Memory::of_phase(passes, &shape, steps > 0, text).with_teacher(passes, teacher),
            flops: per_token * (tokens as f64 + eval_tokens as f64 / 3.0)
                + teacher::flops(teacher, tokens, context)
                + steps as f64 * muon_flops,
        })
    };
    order.into_iter().map(planned).collect()
}

/// Returns the phases from `first` on. The first round has the reference's layers `layers` if it is still to come, and the
/// present model has them otherwise. Controls take `control_steps`.
pub fn order(
    config: &Config,
    first: &Phase,
    layers: &[usize],
    reference_layers: usize,
    control_steps: u64,
) -> Vec<Planned> {
    let grows = grows(config, layers, reference_layers);
    let recipe = Recipe {
        reference_layers,
        reference_steps: config.reference.train.as_ref().map_or(0, |r| r.steps),
        round_steps: config.train.steps,
        grow_step: if grows { config.grow.step } else { 0 },
        grow_source: config.grow.source,
        max_layers: max_layers(config, reference_layers),
        comparisons: comparisons(config, reference_layers),
        without_rounds: config.policy.only_baseline.is_some(),
    };
    recipe.phases(first, layers.len(), control_steps)
}

/// Whether a model of these layers of the reference can grow. Layers that were listed or measured can be copied, but have no
/// next layers.
pub fn grows(config: &Config, layers: &[usize], reference_layers: usize) -> bool {
    let grown = inherit::grow(config.grow.source, layers, 1, reference_layers);
    grown.len() > layers.len()
}

/// Layers that the model can have, smallest first.
fn sizes(order: &[Planned], first: usize) -> Vec<usize> {
    let rounds = order.iter().filter(|p| matches!(p.phase, Phase::Round(_)));
    let sizes: Vec<usize> = rounds.map(|p| p.layers).collect();
    match sizes.is_empty() {
        true => vec![first],
        false => sizes,
    }
}

/// Checks that every baseline fits the reference and each size that the model is planned to grow to.
///
/// # Errors
/// Describes the first baseline that does not fit, with its place in the config.
pub fn check_baselines(config: &Config, reference: &DecoderConfig) -> Result<()> {
    let layers = inherit::choose(&config.inherit.layers, reference.n_layer, &[])?;
    let steps = config.train.steps;
    let order = order(config, &Phase::Reference, &layers, reference.n_layer, steps);
    baselines::check(config, reference, &sizes(&order, layers.len()))
}

/// Returns the training objective of a phase.
pub fn objective(config: &Config, phase: &Phase) -> ObjectiveChoice {
    let baseline = baseline_of(config, phase);
    baseline.map_or(ObjectiveChoice::CrossEntropy, |(entry, _)| {
        entry.objective.clone()
    })
}

/// The config's entry of a baseline's phase, and the number of the phase.
fn baseline_of<'c>(config: &'c Config, phase: &Phase) -> Option<(&'c BaselineConfig, u32)> {
    match phase {
        Phase::Baseline(baseline) => Some((baselines::entry(config, baseline)?, baseline.part())),
        _ => None,
    }
}

/// Returns the start of a phase's model according to the config.
fn planned_start(config: &Config, phase: &Phase) -> event::Start {
    let trained = config.reference.train.as_ref().is_some_and(|r| r.steps > 0);
    match (phase, config.grow.mode) {
        (Phase::Reference, _) if trained => event::Start::Random,
        (Phase::Reference | Phase::Other(_), _) => event::Start::Loaded,
        (Phase::Round(1), _) => event::Start::Inherit,
        (Phase::Round(_), GrowMode::Restart) => event::Start::Restart,
        (Phase::Round(_), GrowMode::Keep) => event::Start::Keep,
        (Phase::Control(control), _) => control.start,
        (Phase::Baseline(_), _) => baseline_of(config, phase)
            .map_or(event::Start::Random, |(entry, part)| {
                baselines::start_name(entry, part)
            }),
    }
}

/// Returns the phase of most memory among those that will happen whatever the losses are.
pub fn largest(phases: &[PhaseSpec]) -> Option<&PhaseSpec> {
    let certain = phases.iter().filter(|p| !p.conditional);
    certain.max_by_key(|p| p.memory.total())
}

/// Checks that every phase that will happen fits into memory, the largest one first.
///
/// # Errors
/// Describes the first phase that does not fit; a baseline is named with its place in the config.
pub fn check_memory(config: &Config, phases: &[PhaseSpec], held: &Held) -> Result<()> {
    let certain = phases.iter().filter(|p| !p.conditional);
    for phase in largest(phases).into_iter().chain(certain) {
        let what = match baseline_of(config, &phase.phase) {
            Some((entry, _)) => entry.label(),
            None => format!("the phase {}", phase.phase),
        };
        phase.memory.check(&what, held)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [reference]
        path = "reference"
        [data]
        train = "a.txt"
        [inherit]
        layers = 1
        [train]
        steps = 9
        batch_tokens = 16
        lr = 0.1
        [grow]
        max_layers = 1
        [control]
        random = false
        reference_continued = false
        [[baseline]]
        name = "whole"
        start = "full"
    "#;

    fn planned(text: &str) -> (Config, Vec<PhaseSpec>) {
        let config: Config = toml::from_str(text).unwrap();
        let sizes = Sizes {
            n_layer: 6,
            n_head: 4,
            n_embd: 64,
            context_length: 16,
            vocab: 64,
        };
        let shape = DecoderConfig::gpt2(sizes, true);
        let passes = Passes::of(&config, &shape, &Device::Cpu).unwrap();
        let phases = phases(&config, &shape, &passes, 0, &TeacherPaths::new()).unwrap();
        (config, phases)
    }

    #[test]
    fn a_baseline_that_does_not_fit_in_memory_is_named() {
        let (config, phases) = planned(CONFIG);
        let of = |name: &str| {
            let found = phases.iter().find(|p| p.phase.to_string() == name);
            found.unwrap().memory.without_copy().host()
        };
        // A reference that is loaded is only measured; the baseline trains all of its layers.
        let (whole, others) = (of("baseline-whole"), of("reference").max(of("round-1")));
        assert!(whole > others, "{whole}, {others}");
        let with = |room| Held {
            gpu_room: None,
            host_room: Some(room),
            ranks: 1,
        };
        assert!(check_memory(&config, &phases, &with(whole)).is_ok());
        let error = check_memory(&config, &phases, &with(whole - 1)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("baseline \"whole\" needs"), "{message}");
        assert!(check_memory(&config, &phases[..2], &with(whole - 1)).is_ok());
    }

    #[test]
    fn muons_products_are_planned() {
        let flops = |text: &str| planned(text).1[1].flops;
        let muon = CONFIG.replace("lr = 0.1", "lr = 0.1\noptimizer = \"muon\"");
        let more = flops(&muon) - flops(CONFIG);
        // Five Newton-Schulz steps on Q, K, V and the projection (64 x 64) and on two matrices of 64 x 256.
        let square =
            |side: f64, other: f64| 10.0 * (2.0 * side * side * other + side * side * side);
        let layer = 4.0 * square(64.0, 64.0) + 2.0 * square(64.0, 256.0);
        assert!((more - 9.0 * layer).abs() < 1e-6 * layer, "{more}, {layer}");
    }
}
