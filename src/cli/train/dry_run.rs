//! `train --dry-run`: what a config would cost, from its shapes and a few real training steps.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use candle_core::Device;

use super::eval_windows;
use crate::cli::say;
use crate::config::Config;
use crate::corpus::{Dataset, Sampler, fill_batch};
use crate::model::{Decoder, DecoderConfig};
use crate::ops;
use crate::run::show::duration;
use crate::run::table;
use crate::train::plan;

/// Steps that are timed, after one that is not.
const TIMED: u32 = 2;
/// Most layers and tokens of such a step.
const TIMED_LAYERS: usize = 2;
const TIMED_TOKENS: usize = 1024;

/// Prints the plan.
///
/// # Errors
/// When the shapes do not fit or the reference cannot be read.
pub fn run(
    config: &Config,
    reference: Option<&Path>,
    dataset: &Dataset,
    device: &Device,
    threads: usize,
) -> Result<()> {
    let shape = match reference {
        Some(path) => plan::open_reference(path, &dataset.tokenizer)?.config,
        None => plan::reference_shape(config, &dataset.tokenizer),
    };
    dataset.check_length(plan::window_length(config, &shape)?)?;
    let windows = eval_windows::planned(config, &shape, dataset)?;
    let config = &eval_windows::capped(config, &windows);
    let phases = plan::phases(config, &shape, device)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let speed = pool.install(|| flops_per_second(config, &shape, dataset, device))?;

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
    for p in &phases {
        rows.push([
            format!(
                "{}{}",
                table::phase_name(&p.phase),
                if p.conditional { " (if needed)" } else { "" }
            ),
            p.layers.to_string(),
            table::count(p.parameters),
            p.steps.to_string(),
            table::count(p.tokens),
            format!("{} MB", p.memory_bytes >> 20),
            format!("~{}", duration(p.flops / speed)),
        ]);
    }
    let mut out = table::aligned(&rows, &[0]);
    let checkpoint = |parameters: u64| 12 * parameters;
    let most = phases.iter().map(|p| p.parameters).max().unwrap_or(0);
    let milestones: u64 = phases.iter().map(|p| checkpoint(p.parameters)).sum();
    let kept = (config.checkpoint.keep as u64 + 1).saturating_mul(checkpoint(most));
    let disk = milestones.saturating_add(kept);
    let total: f64 = phases.iter().map(|p| p.flops / speed).sum();
    out.push_str(&format!(
        "\ntext     {} training and {} validation tokens ({})\n\
         disk     at most {} MB of checkpoints, and one more for each time a round is trained on\n\
         time     at most {}, from {TIMED} timed steps of some of its layers in {} on {threads} threads ({:.0} GFLOP/s)\n",
        table::count(dataset.train.len() as u64),
        table::count(dataset.val.len() as u64),
        dataset.tokenizer.name(),
        disk >> 20,
        duration(total),
        config.train.dtype,
        speed / 1e9
    ));
    out.push_str(&eval_windows::line(&windows));
    for warning in plan::slow_compute(config, device)
        .into_iter()
        .chain(windows.warning())
    {
        say::err(&warning);
    }
    Ok(say::out(&out)?)
}

/// Training speed, measured on a few layers of the reference: enough to tell, and quick and small for large ones.
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
    // A GPU is done once something can be read from it.
    ops::read(&ws.losses)?;
    let began = Instant::now();
    for _ in 0..TIMED {
        model.forward_backward(&ws, 1e-6)?;
    }
    ops::read(&ws.losses)?;
    let seconds = began.elapsed().as_secs_f64() / f64::from(TIMED);
    Ok(shape.flops_per_token(time) * (micro * time) as f64 / seconds)
}
