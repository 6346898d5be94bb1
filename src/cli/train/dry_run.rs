//! `train --dry-run`: estimates the cost of a config from its shapes and a few timed training steps.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use serde_json::{Value, json};

use super::dtype::Dtype;
use super::eval_windows;
use super::machine::Machine;
use super::optimizer::Split;
use super::scale::{Asked, Plan, Scale};
use super::sources::{self, Source};
use super::tasks::TaskCosts;
use crate::cli::say;
use crate::config::Config;
use crate::corpus::{Dataset, Sampler, fill_batch};
use crate::model::{Decoder, DecoderConfig};
use crate::ops;
use crate::run::show::duration;
use crate::run::table;
use crate::run::windows::EvalWindows;
use crate::train::memory::Held;
use crate::train::plan::PhaseSpec;
use crate::train::teacher::TeacherPaths;
use crate::train::{Passes, bucket_bytes, plan};

/// Timed steps, after one warm-up step.
const TIMED: u32 = 2;
/// Most layers and tokens of a timed step.
const TIMED_LAYERS: usize = 2;
const TIMED_TOKENS: usize = 1024;

/// The estimated cost of a config.
struct Costs<'a> {
    phases: Vec<PhaseSpec>,
    /// Floating-point operations per second of training on this device.
    speed: f64,
    threads: usize,
    dtype: &'a Dtype,
    /// Most bytes of checkpoints on disk.
    disk: u64,
    train_tokens: u64,
    val_tokens: u64,
    tokenizer: String,
    /// The sources of a mixture of texts.
    sources: Vec<Source>,
    windows: EvalWindows,
    tasks: Option<TaskCosts>,
    /// The tensors of the largest model that Muon updates; `None` without Muon.
    muon: Option<Split>,
    /// The cost of several ranks, where `--ranks` asks for it.
    scale: Option<Scale>,
}

/// Prints the plan, as a table or as JSON.
///
/// # Errors
/// When the shapes do not fit or the reference cannot be read.
pub(super) fn run(
    config: &Config,
    reference: Option<&Path>,
    dataset: &Dataset,
    teachers: &TeacherPaths,
    machine: &Machine,
    dtype: &Dtype,
    asked: Asked,
) -> Result<()> {
    let (device, threads) = (&machine.chosen.device, machine.threads);
    let shape = match reference {
        Some(path) => plan::open_reference(path, &dataset.tokenizer)?.config,
        None => plan::reference_shape(config, &dataset.tokenizer),
    };
    dataset.check_ids(shape.vocab)?;
    dataset.check_length(plan::window_length(config, &shape)?)?;
    let windows = eval_windows::planned(config, &shape, dataset)?;
    let passes = Passes::of(config, &shape, device)?.with_eval_windows(windows.windows);
    let text = dataset.bytes_in_memory();
    let phases = plan::phases(config, &shape, &passes, text, teachers)?;
    let task_costs = TaskCosts::of(config, &shape, dataset, device)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let checkpoint = |parameters: u64| 12 * parameters;
    let most = phases.iter().map(|p| p.parameters).max().unwrap_or(0);
    let milestones: u64 = phases.iter().map(|p| checkpoint(p.parameters)).sum();
    let kept = (config.checkpoint.keep as u64 + 1).saturating_mul(checkpoint(most));
    let speed = pool.install(|| flops_per_second(config, &shape, dataset, device))?;
    let alone = Plan {
        config,
        shape: &shape,
        passes,
        text,
        teachers,
    };
    let scale = asked
        .ranks
        .map(|ranks| Scale::of(&alone, ranks, speed, bucket_bytes(device)));
    let costs = Costs {
        speed,
        scale: scale.transpose()?,
        threads,
        dtype,
        disk: milestones.saturating_add(kept),
        train_tokens: dataset.train.len() as u64,
        val_tokens: dataset.val.len() as u64,
        tokenizer: dataset.tokenizer.name().into(),
        sources: sources::of(dataset),
        windows,
        muon: Split::of(config, &shape, plan::largest(&phases)),
        phases,
        tasks: task_costs,
    };
    let slow = plan::slow_compute(config, device).into_iter();
    for warning in slow.chain(windows.warning()) {
        say::err(&warning);
    }
    if let Err(error) = plan::check_memory(config, &costs.phases, &Held::now(device, 0, 1)) {
        say::err(&format!("this run would be refused here: {error}"));
    }
    if let Some(why) = costs.scale.as_ref().and_then(|s| s.refused.as_ref()) {
        say::err(&format!("these ranks would be refused: {why}"));
    }
    match asked.json {
        true => say::json(&costs.json())?,
        false => say::out(&costs.text())?,
    }
    Ok(())
}

impl Costs<'_> {
    fn seconds(&self, p: &PhaseSpec) -> f64 {
        (p.flops + self.task_flops(p)) / self.speed
    }

    fn task_flops(&self, p: &PhaseSpec) -> f64 {
        self.tasks.as_ref().map_or(0.0, |tasks| tasks.flops(p))
    }

    /// Returns the phase that needs most memory, even if it may not take place.
    fn largest(&self) -> Option<&PhaseSpec> {
        self.phases.iter().max_by_key(|p| p.memory.total())
    }

    fn text(&self) -> String {
        let mut rows = vec![
            [
                "phase",
                "layers",
                "parameters",
                "steps",
                "tokens",
                "memory",
                "time",
            ]
            .map(String::from),
        ];
        for p in &self.phases {
            let condition = if p.conditional { " (if needed)" } else { "" };
            rows.push([
                format!("{}{condition}", table::phase_name(&p.phase)),
                p.layers.to_string(),
                table::count(p.parameters),
                p.steps.to_string(),
                table::count(p.tokens),
                table::bytes(p.memory.total()),
                format!("~{}", duration(self.seconds(p))),
            ]);
        }
        let mut out = table::aligned(&rows, &[0]);
        let total: f64 = self.phases.iter().map(|p| self.seconds(p)).sum();
        if let Some(memory) = self.largest().map(|p| p.memory) {
            out.push_str(&format!(
                "\nmemory   at most {}{}, of which the program takes {} and the\n         \
                 copy for a checkpoint {}; without room for the copy, training waits\n         \
                 for the disk. No change of phase, rollback or resume needs more.\n",
                table::bytes(memory.total()),
                match memory.on_gpu {
                    0 => String::new(),
                    _ => format!(
                        " of the GPU, {} of the machine",
                        table::bytes(memory.host())
                    ),
                },
                table::bytes(memory.program),
                table::bytes(memory.checkpoint),
            ));
        }
        if let Some(muon) = &self.muon {
            out.push_str(&muon.lines());
        }
        out.push_str(&format!(
            "text     {} training and {} validation tokens ({})\n{}\
             dtype    {}\n\
             disk     at most {} of checkpoints, plus one per extension of a round\n\
             time     at most {} (from {TIMED} timed steps: {}, {}, {:.0} GFLOP/s)\n",
            table::count(self.train_tokens),
            table::count(self.val_tokens),
            self.tokenizer,
            sources::lines(&self.sources),
            self.dtype.words(),
            table::bytes(self.disk),
            duration(total),
            self.dtype.precision.name(),
            table::plural(self.threads, "thread"),
            self.speed / 1e9
        ));
        out.push_str(&eval_windows::line(&self.windows));
        if let Some(scale) = &self.scale {
            out.push_str(&scale.lines());
        }
        if let Some(tasks) = &self.tasks {
            let seconds = tasks.seconds(&self.phases, self.speed);
            out.push_str(&tasks.line(seconds, total));
        }
        out
    }

    fn json(&self) -> Value {
        let phase = |p: &PhaseSpec| {
            json!({
                "phase": p.phase.to_string(),
                "conditional": p.conditional,
                "start": p.start,
                "schedule": (p.steps > 0).then(|| p.schedule.to_event()),
                "layers": p.layers,
                "parameters": p.parameters,
                "steps": p.steps,
                "tokens": p.tokens,
                "memory_bytes": p.memory.total(),
                "memory": p.memory,
                "seconds": self.seconds(p),
            })
        };
        // While one model replaces another, no checkpoint is being written.
        let transition = |pair: &[PhaseSpec]| {
            let bytes = pair.iter().map(|p| p.memory.without_copy().total()).max();
            json!({
                "from": pair[0].phase.to_string(),
                "to": pair[1].phase.to_string(),
                "memory_bytes": bytes,
            })
        };
        let mut all = json!({
            "phases": self.phases.iter().map(phase).collect::<Vec<_>>(),
            "transitions": self.phases.windows(2).map(transition).collect::<Vec<_>>(),
            "memory_bytes": self.largest().map(|p| p.memory.total()),
            "disk_bytes": self.disk,
            "train_tokens": self.train_tokens,
            "val_tokens": self.val_tokens,
            "tokenizer": self.tokenizer,
            "sources": self.sources,
            "eval_windows": self.windows,
            "dtype": self.dtype.precision.name(),
            "dtype_reason": self.dtype.reason,
            "threads": self.threads,
            "flops_per_second": self.speed,
        });
        if let Some(scale) = &self.scale {
            all["ranks"] = json!(scale);
        }
        if let Some(muon) = &self.muon {
            all["optimizer"] = json!(muon);
        }
        if let Some(tasks) = &self.tasks {
            let seconds = tasks.seconds(&self.phases, self.speed);
            let total: f64 = self.phases.iter().map(|p| self.seconds(p)).sum();
            all["tasks"] = tasks.json(seconds, total);
        }
        all
    }
}

/// Measures the training speed, in operations per second, on a few layers of the reference: that is enough for an estimate, and
/// takes little time and memory for large models.
fn flops_per_second(
    config: &Config,
    shape: &DecoderConfig,
    dataset: &Dataset,
    device: &Device,
) -> Result<f64> {
    let time = plan::window_length(config, shape)?;
    let (_, micro) = plan::windows(config, time)?;
    let micro = micro.min((TIMED_TOKENS / time).max(1));
    let few = shape.attention_scales.iter().copied().take(TIMED_LAYERS);
    let shape = &shape.with_layers(few.collect());
    let model = Decoder::random(shape.clone(), config.train.seed, device)?;
    let ws = plan::workspace(&config.train, shape, micro, time, device)?;
    let sampler = Sampler {
        seed: config.train.seed,
    };
    let starts = sampler.starts(0, 0, micro, &dataset.mixture, time);
    let (mut inputs, mut targets) = (vec![0; micro * time], vec![0; micro * time]);
    fill_batch(&dataset.train, &starts, time, &mut inputs, &mut targets)?;
    ops::write(&ws.inputs, &inputs)?;
    ops::write(&ws.targets, &targets)?;
    model.forward_backward(&ws, 1e-6)?;
    // A GPU has finished its queued work when a result has been read from it.
    ops::read(&ws.losses)?;
    let began = Instant::now();
    for _ in 0..TIMED {
        model.forward_backward(&ws, 1e-6)?;
    }
    ops::read(&ws.losses)?;
    let seconds = began.elapsed().as_secs_f64() / f64::from(TIMED);
    Ok(shape.flops_per_token(time) * (micro * time) as f64 / seconds)
}
