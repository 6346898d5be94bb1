//! `heirloom rank`: which of a model's layers attend, and which have collapsed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::input::{Given, Input, check_windows};
use super::{exit, say};
use crate::config::LayerChoice;
use crate::corpus::even_starts_rank;
use crate::inherit;
use crate::model::{DecoderConfig, Files, ModelError, walk};
use crate::ops;
use crate::rank::{self, COLLAPSED, ETA, Measure, RankError, Survey, Surveyed};
use crate::run::dir::DEFAULT_RUNS;
use crate::run::table::{aligned, count};
use crate::text;

/// Measure a model's attention ranks: which layers are potent, and how many to inherit
///
/// k* is the smallest number of singular values that hold tau of an attention matrix's squared mass, m* the smallest number of
/// columns that hold eta of it (Inheritune, arXiv 2404.08634). A layer's MaxRank is the largest mean k* of its heads; it is lazy
/// when every k* is 1. Windows are spread evenly over the text: they start at floor(i (n_tokens - T)/(N - 1)), i = 0..N-1.
/// Weights are read a layer at a time: a model need not fit the memory.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = super::MODEL)]
    model: String,
    #[command(flatten)]
    input: Input,
    /// Number of windows
    #[arg(long, value_name = "N", default_value_t = 100)]
    windows: usize,
    /// Tokens of a window
    #[arg(long, value_name = "T", default_value_t = 100)]
    window_length: usize,
    /// Share of the squared singular values
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    tau: f64,
    /// Share of the squared column norms
    #[arg(long, value_name = "SHARE", default_value_t = ETA)]
    eta: f64,
    /// Where windows start
    #[arg(long, value_enum, value_name = "HOW", default_value = "even")]
    sample: Sample,
    /// What random starts are drawn from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Average the attention over the windows before taking ranks
    #[arg(long)]
    batch_mean: bool,
    /// MaxRank at tau = 0.80, 0.85, 0.90 and 0.95, too
    #[arg(long)]
    sweep: bool,
    /// Write the result to this file, .json, .csv or .svg (a picture); may be given again
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where windows start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sample {
    /// Spread evenly over the text
    Even,
    /// Drawn from --seed
    Random,
}

const MOST_WINDOWS: usize = 100_000;
/// Most attention elements in memory at a time.
const ELEMENTS: usize = 8 << 20;

/// What can go wrong on the way through the layers.
#[derive(Debug, thiserror::Error)]
enum WalkError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Rank(#[from] RankError),
}

impl From<candle_core::Error> for WalkError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

impl Args {
    /// # Errors
    /// When model or text cannot be read, do not fit each other, or the attention is no number.
    pub fn run(self) -> Result<()> {
        for file in &self.out {
            form(file)?;
        }
        let located = super::located(&self.model, &self.runs)?;
        let files = Files::open(&located.path)?;
        self.check(&files.config)?;
        let (vocab, time) = (files.config.vocab, self.window_length);
        let why = format!("windows of {time}");
        let given = self.input.read(&located, vocab, time, &why)?;
        let starts = self.starts(given.tokens.len());
        let found = self.survey(&files, &given, &starts)?;
        let mut json = found.json(&starts, given.tokens.len());
        json["model"] = self.model.clone().into();
        json["tokenizer"] = given.tokenizer.clone().into();
        for path in &self.out {
            let text = match form(path)? {
                Form::Json => serde_json::to_string_pretty(&json)? + "\n",
                Form::Csv => found.csv(),
                Form::Svg => {
                    let name = text::clean(&self.model);
                    rank::svg(&found, &name).map_err(anyhow::Error::msg)?
                }
            };
            let named = || format!("{} cannot be written", text::path(path));
            std::fs::write(path, text).with_context(named)?;
        }
        match self.json {
            true => say::json(&json)?,
            false => say::out(&self.told(&found, &starts, &given))?,
        }
        Ok(())
    }

    fn check(&self, config: &DecoderConfig) -> Result<()> {
        for (name, share) in [("--tau", self.tau), ("--eta", self.eta)] {
            if !(share > 0.0 && share <= 1.0) {
                let what = format!("{name} must lie in (0, 1], is {share}");
                return Err(exit::usage(&what).into());
            }
        }
        let (windows, time) = (self.windows, self.window_length);
        check_windows(windows, MOST_WINDOWS, time, config.context_length)?;
        let (n, t, c) = (self.windows, self.window_length, config.n_embd);
        // The residual stream of all windows, a layer's weights, and what is needed for some windows.
        let layer: usize = config
            .params()
            .iter()
            .filter(|p| p.layer == Some(0))
            .map(|p| p.len())
            .sum();
        let need = 4 * (n * t * c + layer + 2 * ELEMENTS + 16 * self.batch(config) * t * c) as u64;
        super::check_memory(need, &Device::Cpu, "looking into this model")
    }

    fn starts(&self, n_tokens: usize) -> Vec<usize> {
        match self.sample {
            Sample::Even => even_starts_rank(n_tokens, self.window_length, self.windows),
            Sample::Random => {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                let last = n_tokens - self.window_length;
                (0..self.windows)
                    .map(|_| rng.random_range(0..=last))
                    .collect()
            }
        }
    }

    /// Windows at a time.
    fn batch(&self, config: &DecoderConfig) -> usize {
        let one = config.n_head * self.window_length * self.window_length;
        (ELEMENTS / one).clamp(1, self.windows)
    }

    fn survey(&self, files: &Files, given: &Given, starts: &[usize]) -> Result<Surveyed> {
        let config = &files.config;
        let (time, batch) = (self.window_length, self.batch(config));
        let mut ids = vec![0u32; starts.len() * time];
        for (window, &start) in ids.chunks_exact_mut(time).zip(starts) {
            given.tokens.copy_to(start, window)?;
        }
        let measure = Measure {
            tau: self.tau,
            eta: self.eta,
            length: time,
            batch_mean: self.batch_mean,
            sweep: self.sweep,
        };
        let mut survey = Survey::new(config.n_layer, config.n_head, measure)?;
        let probs = ops::zeros((batch, config.n_head, time, time), &Device::Cpu)?;
        let bar = ProgressBar::new(config.n_layer as u64);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} layer {pos}/{len}  {eta} left",
        )?);
        let size = config.n_head * time * time;
        let influence = walk::<WalkError>(files, &ids, time, batch, &mut |seen| {
            ops::attention_probs(&probs, seen.qkv, seen.shape)?;
            let values = ops::read(&probs)?;
            survey.add(seen.layer, &values[..seen.windows * size])?;
            if seen.first + seen.windows == starts.len() {
                survey.end_of_layer(seen.layer)?;
                bar.inc(1);
            }
            Ok(())
        });
        bar.finish_and_clear();
        Ok(survey.finish(influence?))
    }

    fn told(&self, found: &Surveyed, starts: &[usize], given: &Given) -> String {
        let r = &found.ranks;
        let most = r.max_rank.iter().copied().fold(1.0, f64::max);
        // What the other columns and the heads leave of 80.
        let n_head = r.rank.first().map_or(0, Vec::len);
        let cells = 35usize.saturating_sub(n_head).clamp(6, 16);
        let mut rows = vec![
            [
                "layer",
                "MaxRank",
                "+/-",
                "",
                "AvgMass",
                "influence",
                "heads",
            ]
            .map(String::from),
        ];
        for layer in 0..r.max_rank.len() {
            let rank = r.max_rank[layer];
            let lazy = match (r.lazy_layers.contains(&layer), rank < COLLAPSED) {
                (true, _) => " LAZY",
                (false, true) => " nearly lazy",
                (false, false) => "",
            };
            // 1.00 is said only where every k* is one.
            let shown = match lazy {
                " LAZY" => "1.00".to_string(),
                _ => format!("{:.2}", rank.max(1.01)),
            };
            rows.push([
                layer.to_string(),
                shown,
                format!("{:.2}", found.spread(layer)),
                format!("{}{lazy}", bar(rank / most, cells)),
                format!("{:.2}", r.avg_mass[layer]),
                format!("{:.3}", found.influence[layer]),
                heads(&r.rank[layer], r.length),
            ]);
        }
        let mut out = aligned(&rows, &[3, 6]);
        for (tau, ranks) in &found.sweep {
            out.push_str(&format!("MaxRank at tau {tau:.2}\n"));
            for (i, ten) in ranks.chunks(10).enumerate() {
                let ten: Vec<String> = ten.iter().map(|r| format!("{r:6.1}")).collect();
                out.push_str(&format!("  from {:3} {}\n", 10 * i, ten.concat()));
            }
        }
        out.push_str(&format!(
            "\nheads    {} of {} with a rank below 2 (·), {} of rank 1 in every window\n\
             windows  {} of {} tokens, of {}{}; tau {}, eta {}{}\n\
             verdict  {}\n",
            found.collapsed_heads(),
            n_head * r.rank.len(),
            r.heads_at_one,
            starts.len(),
            r.length,
            count(given.tokens.len() as u64),
            given
                .tokenizer
                .as_ref()
                .map_or(String::new(), |t| format!(" ({t})")),
            self.tau,
            self.eta,
            if self.batch_mean { ", averaged" } else { "" },
            verdict(found),
        ));
        out
    }
}

/// How many layers to inherit, and why.
fn verdict(found: &Surveyed) -> String {
    let n = found.ranks.max_rank.len();
    let auto = LayerChoice::Named("auto".into());
    let chosen = inherit::choose(&auto, n, &found.ranks.max_rank).map_or(0, |l| l.len());
    let (potent, lazy) = (found.potent_prefix(), found.nearly_lazy_layers().len());
    let why = match (potent, lazy) {
        (_, 0) => "no layer is lazy, so that half of them is the place to begin".into(),
        (0, _) => "the first layer has collapsed already, and one is the least to take".into(),
        (p, l) if chosen == p => {
            format!("layer {p} is the first of {l} collapsed: those before it are potent")
        }
        (p, l) => format!(
            "layers 0 to {} are potent, {l} collapsed; half is the place to begin",
            p - 1
        ),
    };
    format!("inherit {chosen} of {n} layers\n         {why}")
}

/// A bar of up to so many cells.
fn bar(share: f64, most: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let cells = (8.0 * most as f64 * share).round() as usize;
    format!("{}{}", "█".repeat(cells / 8), EIGHTHS[cells % 8])
}

/// A sign for each head: how large its rank is on a logarithmic scale up to the windows' length; a dot for a collapsed one.
fn heads(ranks: &[f64], length: usize) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = (length as f64 / COLLAPSED).ln().max(1e-9);
    let sign = |rank: &f64| match *rank < COLLAPSED {
        true => '·',
        false => SIGNS[((8.0 * (rank / COLLAPSED).ln() / most) as usize).min(7)],
    };
    ranks.iter().map(sign).collect()
}

enum Form {
    Json,
    Csv,
    Svg,
}

/// What a file's name asks for.
fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => Ok(Form::Json),
        Some("csv") => Ok(Form::Csv),
        Some("svg") => Ok(Form::Svg),
        _ => bail!(
            "{}: the result is written as .json, .csv or .svg",
            text::path(path)
        ),
    }
}
