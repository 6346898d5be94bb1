//! `heirloom bench train`: how fast this machine trains a model of a given shape.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::bench::{Job, Measured, gemm_gflops, median, peak_bf16, peak_memory, presets, tokens};
use crate::cli::{Global, exit, say};
use crate::config::TrainConfig;
use crate::device::Choice;
use crate::file::{self, Dir};
use crate::model::{self, Decoder, DecoderConfig, Family, Files, Sizes, save};
use crate::ops::{self, Precision, PrecisionChoice};
use crate::run::table::{aligned, count};
use crate::text;

/// Time training steps of a model of any shape: forward, backward, clipping, AdamW, on random tokens
///
/// The shape is given in numbers (GPT-2's family, or Llama's with --family llama), or is that of a MODEL.
/// RAYON_NUM_THREADS sets the number of threads.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// The shape and weights of this model: a directory, a .gguf file, hf:OWNER/NAME, RUN@CHECKPOINT
    #[arg(long, value_name = "MODEL", value_parser = crate::cli::values::exact_text(), conflicts_with_all = ["family", "layers", "heads", "kv_heads", "width", "inner", "vocab"])]
    model: Option<String>,
    /// The shape of a published model; --context is 1024 then unless it is given
    #[arg(long, value_name = "NAME", value_parser = presets::NAMES, conflicts_with_all = ["model", "family", "layers", "heads", "kv_heads", "width", "inner", "vocab"])]
    preset: Option<String>,
    /// gpt2 or llama
    #[arg(long, default_value = "gpt2", value_parser = ["gpt2", "llama"])]
    family: String,
    #[arg(long, value_name = "N", default_value_t = 6)]
    layers: usize,
    #[arg(long, value_name = "N", default_value_t = 6)]
    heads: usize,
    /// Key and value heads [default: as many as heads]
    #[arg(long, value_name = "N")]
    kv_heads: Option<usize>,
    #[arg(long, value_name = "N", default_value_t = 384)]
    width: usize,
    /// Width of the MLP [default: 4 widths, of a llama 8/3]
    #[arg(long, value_name = "N")]
    inner: Option<usize>,
    /// Tokens of a window [default: 256, of a --preset 1024]
    #[arg(long, value_name = "T")]
    context: Option<usize>,
    /// Windows of a step
    #[arg(long, value_name = "B", default_value_t = 8)]
    batch: usize,
    #[arg(long, value_name = "N", default_value_t = 50304)]
    vocab: usize,
    /// Measured steps, after two warm-up steps
    #[arg(long, value_name = "N", default_value_t = 10)]
    steps: usize,
    /// f32, bf16, or auto: bf16 where the device has products of bf16
    #[arg(long, default_value_t = PrecisionChoice::F32, value_parser = crate::cli::values::precision())]
    dtype: PrecisionChoice,
    /// auto, cpu, or cuda with a GPU's number: cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t = Choice::Cpu)]
    device: Choice,
    /// Compute losses only, as in an evaluation: no gradients, no update
    #[arg(long)]
    forward: bool,
    /// Keep only each layer's input of the forward pass (train.recompute)
    #[arg(long, conflicts_with = "forward")]
    recompute: bool,
    /// Write the initial weights and the tokens to this directory, to measure another program with
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Learning rate of the measured steps.
const LR: f64 = 1e-4;
/// Largest accepted number; a greater one is taken for a typing error.
const MOST: usize = 1 << 24;

impl Train {
    /// # Errors
    /// When the shape does not fit itself or the memory.
    pub fn run(self) -> Result<()> {
        let (config, files) = self.subject()?;
        let job = self.job()?;
        let chosen = self.device.open();
        let chosen = chosen.with_context(|| format!("--device {}", self.device))?;
        if let Some(note) = &chosen.note {
            say::err(note);
        }
        let device = chosen.device;
        let compute = self.dtype.on(&device);
        let what = match self.forward {
            true => "evaluating this model",
            false => "training this model",
        };
        crate::cli::memory::check_memory(job.bytes(&config, &device), &device, what)?;
        let model = match &files {
            Some(files) => files.load(&device)?,
            None => Decoder::random(config.clone(), 0, &device)?,
        };
        if let Some(dir) = &self.write {
            self.write(&model, dir)
                .with_context(|| format!("{} cannot be written", text::path(dir)))?;
        }
        // Removes the device's number.
        let name = chosen
            .name
            .split_once(' ')
            .map(|(_, name)| name.to_string());
        let card = name.filter(|_| device.is_cuda());
        let peak = match &card {
            Some(_) => None,
            None => Some(gemm_gflops(compute)),
        };
        let bar = ProgressBar::new(self.steps as u64 + 2);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {pos}/{len} steps  {eta} left",
        )?);
        // Runs on a compute thread, as the trainer does. From another thread, each op would be handed to the pool and waited for.
        let measured = rayon::scope(|_| job.run(&model, &mut || bar.inc(1)))?;
        bar.finish_and_clear();
        let mut facts = Facts::of(&job, &config, &measured, peak);
        facts.on(card, &job, &config, &device);
        match self.json {
            true => say::json(&facts.json(compute.name(), &measured))?,
            false => say::out(&facts.text(compute.name(), &measured))?,
        }
        Ok(())
    }

    /// The model's shape, and its files if it has any.
    fn subject(&self) -> Result<(DecoderConfig, Option<Files>)> {
        let numbers = [
            ("--layers", Some(self.layers)),
            ("--heads", Some(self.heads)),
            ("--kv-heads", self.kv_heads),
            ("--width", Some(self.width)),
            ("--inner", self.inner),
            ("--context", Some(self.context())),
            ("--batch", Some(self.batch)),
            ("--vocab", Some(self.vocab)),
            ("--steps", Some(self.steps)),
        ];
        for (name, number) in numbers {
            if let Some(n) = number.filter(|n| !(1..=MOST).contains(n)) {
                let said = format!("{name} must be between 1 and {MOST}, is {n}");
                return Err(exit::usage(&said).into());
            }
        }
        self.check_size()?;
        if let Some(name) = &self.model {
            let located = crate::cli::find::located(name, &self.global.runs)?;
            let files = Files::open(&located.path)?;
            if self.context() > files.config.context_length {
                bail!(
                    "--context is {}, the model's is {}",
                    self.context(),
                    files.config.context_length
                );
            }
            return Ok((files.config.clone(), Some(files)));
        }
        if let Some(name) = &self.preset {
            let shape = presets::shape(name, self.context());
            return Ok((shape.context("a name in the list")?, None));
        }
        let sizes = Sizes {
            n_layer: self.layers,
            n_head: self.heads,
            n_embd: self.width,
            context_length: self.context(),
            vocab: self.vocab,
        };
        if !self.width.is_multiple_of(self.heads) {
            bail!(
                "--width {} is not divisible by --heads {}: every head needs the same number of channels",
                self.width,
                self.heads
            );
        }
        let mut config = match self.family.as_str() {
            "llama" => DecoderConfig::llama(sizes),
            _ => DecoderConfig::gpt2(sizes, true),
        };
        if config.family == Family::Llama && !config.head_size.is_multiple_of(2) {
            bail!(
                "rotary positions turn pairs of channels: heads of {} channels have no pairs",
                config.head_size
            );
        }
        if let Some(n) = self.kv_heads {
            if !self.heads.is_multiple_of(n) {
                bail!("--heads {} is not divisible by --kv-heads {n}", self.heads);
            }
            if config.family == Family::Gpt2 && n != self.heads {
                bail!(
                    "the gpt2 family has no grouped-query attention, so --kv-heads must equal --heads; use --family llama"
                );
            }
            config.n_kv_head = n;
        }
        if let Some(n) = self.inner {
            config.n_inner = n;
        }
        Ok((config, None))
    }

    /// Refuses a shape that no machine can hold, before anything is allocated for it (even the list of its tensors).
    fn check_size(&self) -> Result<()> {
        const MOST_BYTES: f64 = 1e14;
        const MOST_LAYERS: usize = 10_000;
        let n = |x: usize| x as f64;
        let inner = n(self.inner.unwrap_or(4 * self.width));
        let block = n(self.width) * (4.0 * n(self.width) + 2.0 * inner);
        let rows = n(self.batch) * n(self.context()) * (8.0 * n(self.width) + 2.0 * inner);
        let bytes =
            4.0 * (n(self.layers) * (4.0 * block + rows) + 4.0 * n(self.vocab) * n(self.width));
        if bytes > MOST_BYTES || self.layers > MOST_LAYERS {
            bail!(
                "a model of {} layers, width {} and vocabulary {}, {} windows of {} tokens at a time, needs some {:.0} GB of memory",
                self.layers,
                self.width,
                self.vocab,
                self.batch,
                self.context(),
                bytes / 1e9
            );
        }
        Ok(())
    }

    fn context(&self) -> usize {
        self.context.unwrap_or(match self.preset {
            Some(_) => 1024,
            None => 256,
        })
    }

    fn job(&self) -> Result<Job> {
        // Keys that are not given here have the trainer's defaults.
        let train: TrainConfig = serde_json::from_value(json!({
            "steps": self.steps,
            "batch_tokens": self.batch * self.context(),
            "lr": LR,
            "dtype": self.dtype,
            "recompute": self.recompute,
        }))?;
        Ok(Job {
            batch: self.batch,
            time: self.context(),
            steps: self.steps,
            forward: self.forward,
            train,
        })
    }

    /// Writes the model as a directory, and `tokens.json` with the inputs and targets.
    fn write(&self, model: &Decoder, dir: &Path) -> Result<()> {
        file::create_dirs(dir)?;
        let dir = Dir::open(dir)?;
        for former in ["config.json", model::WEIGHTS] {
            if dir.kind(former)?.is_some() {
                dir.remove_file(former)?;
            }
        }
        let weights = model.weights.read_all()?;
        save(&model.config, &model.params, &weights, None, &dir)?;
        let (inputs, targets) = tokens(self.batch, self.context(), model.config.vocab);
        let shape = [self.batch, self.context()];
        let tokens = json!({"shape": shape, "inputs": inputs, "targets": targets});
        Ok(dir.replace_file("tokens.json", tokens.to_string().as_bytes())?)
    }
}

/// Holds the figures that are reported about a measurement.
struct Facts {
    tokens_per_second: f64,
    /// Tokens per second of the slowest and of the fastest step.
    spread: (f64, f64),
    gflops: f64,
    /// Speed of a large matrix product on the CPU, in GFLOP/s.
    peak: Option<f64>,
    /// Model FLOPs utilisation: the share of the GPU's peak, where the peak is known.
    mfu: Option<f64>,
    card: Option<String>,
    memory: Option<u64>,
    parameters: u64,
    parts: Vec<(&'static str, f64)>,
}

impl Facts {
    fn of(job: &Job, config: &DecoderConfig, measured: &Measured, peak: Option<f64>) -> Self {
        let tokens = (job.batch * job.time) as f64;
        let seconds = measured.seconds.iter();
        let fastest = seconds.clone().copied().fold(f64::INFINITY, f64::min);
        let slowest = seconds.copied().fold(0.0, f64::max);
        let middle = median(&measured.seconds);
        let parts = measured.parts.iter();
        Self {
            tokens_per_second: tokens / middle,
            spread: (tokens / slowest, tokens / fastest),
            gflops: 1e-9 * job.flops(config) / middle,
            peak,
            mfu: None,
            card: None,
            memory: peak_memory(),
            parameters: config.parameters(),
            parts: parts.map(|(name, s)| (*name, median(s))).collect(),
        }
    }

    /// Sets the figures that exist on a GPU only: peak memory, and utilisation.
    fn on(&mut self, card: Option<String>, job: &Job, config: &DecoderConfig, device: &Device) {
        #[cfg(feature = "cuda")]
        if device.is_cuda() {
            self.memory = ops::cuda::memory_in_use(device).ok().and_then(|m| m.peak);
        }
        let peak = card.as_deref().and_then(peak_bf16);
        // The data sheets give the peak of bf16 products; it does not apply to f32.
        let bf16 = job.train.dtype.on(device) == Precision::Bf16 && device.is_cuda();
        self.mfu = peak
            .filter(|_| bf16)
            .map(|peak| self.tokens_per_second * job.mfu_flops(config) / peak);
        self.card = card;
    }

    fn json(&self, dtype: &str, measured: &Measured) -> Value {
        let parts: serde_json::Map<_, _> = self
            .parts
            .iter()
            .map(|(name, s)| (name.to_string(), json!(s)))
            .collect();
        json!({
            "dtype": dtype,
            "unit": match &self.card {
                Some(card) => card.as_str(),
                None => ops::unit(),
            },
            "mfu": self.mfu,
            "threads": rayon::current_num_threads(),
            "parameters": self.parameters,
            "tokens_per_second": self.tokens_per_second,
            "slowest": self.spread.0,
            "fastest": self.spread.1,
            "gflops": self.gflops,
            "gemm_gflops": self.peak,
            "peak_memory_bytes": self.memory,
            "seconds_by_part": parts,
            "parts_of_steps": measured.parts.iter().map(|(name, s)| (*name, s)).collect::<std::collections::BTreeMap<_, _>>(),
            "step_seconds": measured.seconds,
            "losses": measured.losses,
        })
    }

    fn text(&self, dtype: &str, measured: &Measured) -> String {
        let memory = match self.memory {
            Some(bytes) => format!("{:.2} GB at most", bytes as f64 / 1e9),
            None => "unknown on this system".into(),
        };
        let threads = rayon::current_num_threads();
        let mut rows = vec![
            [
                "model".into(),
                format!("{} parameters", count(self.parameters)),
            ],
            [
                "computed in".into(),
                match (&self.card, dtype) {
                    (Some(card), _) => format!("{dtype} on {card}"),
                    (None, "bf16") => {
                        format!("bf16 on {threads} threads, tiles by {}", ops::unit())
                    }
                    (None, _) => format!("{dtype} on {threads} threads"),
                },
            ],
            [
                "tokens/s".into(),
                format!(
                    "{:.0} ({:.0} to {:.0})",
                    self.tokens_per_second, self.spread.0, self.spread.1
                ),
            ],
            [
                "GFLOP/s".into(),
                match (self.peak, self.mfu) {
                    (Some(peak), _) => format!(
                        "{:.0}, {:.0} % of a large matrix product's {peak:.0}",
                        self.gflops,
                        100.0 * self.gflops / peak,
                    ),
                    (None, Some(mfu)) => {
                        format!("{:.0}, MFU {:.1} %", self.gflops, 100.0 * mfu)
                    }
                    (None, None) => format!("{:.0}", self.gflops),
                },
            ],
            ["memory".into(), memory],
            [
                "loss".into(),
                format!(
                    "{:.4} to {:.4}",
                    measured.losses[0],
                    measured.losses[measured.losses.len() - 1]
                ),
            ],
        ];
        for (name, seconds) in &self.parts {
            rows.push([
                format!("  {name}"),
                format!("{:8.1} ms a step", 1e3 * seconds),
            ]);
        }
        aligned(&rows, &[0, 1])
    }
}
