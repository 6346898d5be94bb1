//! `heirloom info`: describes a model's parts and memory from its headers, without reading its weights.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde_json::{Value, json};

use super::windows::Windows;
use super::{Global, exit, say};
use crate::config;
use crate::corpus::Tokenizer;
use crate::model::{
    Biases, DecoderConfig, Family, Files, Format, Mlp, Mode, Norms, Part, Positions, RopeScaling,
    memory_bytes,
};
use crate::run::table::{aligned, bytes, count, plural};
use crate::text::{self, exact};
use crate::train::memory::Memory;
use crate::train::{Passes, plan, windows};

/// Largest accepted `--micro-batch`; a greater number is taken for a typing error.
const MOST_WINDOWS: usize = 1 << 20;

/// Describe a model: shapes, parameters, types, memory
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = super::values::MODEL, value_parser = super::values::exact_text())]
    model: String,
    /// Tokens per window that memory is estimated for [default: 1024 or the model's context, or the config's]
    #[arg(long, value_name = "T")]
    context_length: Option<usize>,
    /// Windows at a time that memory is estimated for [default: 1, or the config's]
    #[arg(long, value_name = "N")]
    micro_batch: Option<usize>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// # Errors
    /// When the model is missing, damaged or of an unknown kind.
    pub fn run(self) -> Result<()> {
        let described = self.described()?;
        let most = described.config.context_length;
        let window = self
            .context_length
            .unwrap_or(super::values::WINDOW.min(most));
        let micro = self.micro_batch.unwrap_or(1);
        if window == 0 || window > most || micro == 0 || micro > MOST_WINDOWS {
            return Err(exit::usage(&format!(
                "--context-length must be between 1 and the model's context of {most}, is {window}; --micro-batch between 1 and {MOST_WINDOWS}, is {micro}"
            ))
            .into());
        }
        let passes = match described.passes {
            // The config's passes apply unless an option asks for others.
            Some(passes) if self.context_length.is_none() && self.micro_batch.is_none() => passes,
            _ => Passes::usual(micro, window),
        };
        let facts = Facts::of(&self.model, described, passes);
        match self.json {
            true => say::json(&facts.json())?,
            false => say::out(&facts.text())?,
        }
        Ok(())
    }

    /// Describes a model's files, or the reference that a config would train.
    fn described(&self) -> Result<Described> {
        let context = || format!("{} cannot be read", text::clean(&self.model));
        let path = exact::to_path(&self.model);
        if path.extension().is_some_and(|e| e == "toml") {
            let source = config::Source::Path(path.into_owned());
            let config = config::load(&source, &[])?.config;
            if config.reference.train.is_none() {
                bail!(
                    "{} reads its reference from a path; describe that model instead: heirloom info {}",
                    text::clean(&self.model),
                    text::clean(config.reference.path.as_deref().unwrap_or(""))
                );
            }
            let tokenizer = Tokenizer::from_name(config.tokenizer().name())?;
            let shape = plan::reference_shape(&config, &tokenizer);
            let passes = Passes::of(&config, &shape, &Device::Cpu)?;
            // The text is counted if it can be read: a config can be inspected before its text exists.
            let (text, passes) =
                match super::train::open_data(&config, None, None, &super::say::report) {
                    Ok(data) => {
                        let (asked, val) = (config.eval.windows, data.val.len());
                        let windows = windows::of_run(asked, val, passes.time, None)?;
                        let passes = passes.with_eval_windows(windows.windows);
                        (data.bytes_in_memory(), passes)
                    }
                    Err(_) => (0, passes),
                };
            return Ok(Described {
                text,
                passes: Some(passes),
                config: shape,
                positions: None,
                format: "a config's reference, not trained yet",
                types: BTreeMap::new(),
                bytes: 0,
            });
        }
        let located = super::find::found(&self.model, &self.global.runs)?;
        let files = Files::open(&located.path).with_context(context)?;
        let mut types = BTreeMap::new();
        for (_, name) in files.tensor_names() {
            if let Some(info) = files.source.info(name) {
                let bytes = info.dtype.bytes(info.len()).unwrap_or(0) as u64;
                *types.entry(info.dtype.name().to_string()).or_insert(0) += bytes;
            }
        }
        Ok(Described {
            format: match files.source.gguf() {
                Some(_) => "GGUF",
                None => "safetensors",
            },
            types,
            bytes: files.source.data_bytes(),
            passes: None,
            text: 0,
            positions: files.positions,
            config: files.config,
        })
    }
}

/// The description of a model.
struct Described {
    config: DecoderConfig,
    /// Positions beyond the context, which a sliding window limits.
    positions: Option<usize>,
    /// The passes in which a config trains it, and the bytes of its text in memory.
    passes: Option<Passes>,
    text: u64,
    format: &'static str,
    /// Bytes on disk per type, and in all.
    types: BTreeMap<String, u64>,
    bytes: u64,
}

struct Facts<'f> {
    name: &'f str,
    model: Described,
    window: usize,
    micro: usize,
    /// Parameters and, of one layer, parameters per part.
    parts: Vec<(Part, u64)>,
    /// Bytes needed.
    load: u64,
    train: u64,
    analyse: u64,
}

impl<'f> Facts<'f> {
    fn of(name: &'f str, model: Described, passes: Passes) -> Self {
        let config = &model.config;
        let (window, micro) = (passes.time, passes.micro);
        let params = config.params();
        let size = |part: Part| -> u64 {
            let of = params.iter().filter(|p| part.contains(p.part));
            of.map(|p| p.len() as u64).sum()
        };
        let parts = Part::ALL.map(|part| (part, size(part)));
        Self {
            name,
            window,
            micro,
            parts: parts.into_iter().filter(|(_, n)| *n > 0).collect(),
            load: memory_bytes(config, micro, window, Mode::Forward, Format::PLAIN),
            train: Memory::of_phase(&passes, config, true, model.text).total(),
            analyse: Windows::usual(config).bytes(config),
            model,
        }
    }

    fn json(&self) -> Value {
        let c = &self.model.config;
        let parts: serde_json::Map<String, Value> = self
            .parts
            .iter()
            .map(|(part, n)| (part.name().into(), (*n).into()))
            .collect();
        let (theta, scaling) = match &c.positions {
            Positions::Learned => (None, None),
            Positions::Rotary(rope) => (Some(rope.theta), scaling(&rope.scaling)),
        };
        json!({
            "model": self.name,
            "format": self.model.format,
            "family": c.family.name(),
            "n_layer": c.n_layer,
            "n_head": c.n_head,
            "n_kv_head": c.n_kv_head,
            "head_size": c.head_size,
            "n_embd": c.n_embd,
            "n_inner": c.n_inner,
            "context_length": c.context_length,
            "positions": self.model.positions.unwrap_or(c.context_length),
            "vocab": c.vocab,
            "made_of": made_of(c),
            "rope_theta": theta,
            "rope_scaling": scaling,
            "tied_head": c.tied_head,
            "attention_scales": c.attention_scales,
            "parameters": c.parameters(),
            "parameters_by_part": parts,
            "bytes": self.model.bytes,
            "bytes_by_type": self.model.types,
            "memory_bytes": {
                "load": self.load,
                "train": self.train,
                "analyse": self.analyse,
                "context_length": self.window,
                "micro_batch": self.micro,
            },
        })
    }

    fn text(&self) -> String {
        let c = &self.model.config;
        let kv = match c.n_kv_head == c.n_head {
            true => String::new(),
            false => format!(" ({} for keys and values)", c.n_kv_head),
        };
        let mut out = format!(
            "model       {}: {}, {} family\n\
             shape       {}, {} heads{kv} of {}, width {}, MLP {}, context {}, vocabulary {}\n\
             made of     {}\n",
            text::clean(self.name),
            self.model.format,
            c.family.name(),
            plural(c.n_layer, "layer"),
            c.n_head,
            c.head_size,
            c.n_embd,
            c.n_inner,
            c.context_length,
            c.vocab,
            made_of(c).join(", "),
        );
        if let Some(positions) = self.model.positions {
            out.push_str(&format!(
                "window      a layer attends to the last {} tokens only (sliding_window): that is the context, of {positions} positions\n",
                c.context_length
            ));
        }
        if !self.model.types.is_empty() {
            out.push_str(&format!("stored as   {}\n", self.stored()));
        }
        if c.attention_scales.iter().any(|s| *s != 1.0) {
            let scales: Vec<String> = c
                .attention_scales
                .iter()
                .map(|s| format!("{s:.3}"))
                .collect();
            out.push_str(&format!(
                "scales      of attention by layer: {}\n",
                scales.join(" ")
            ));
        }
        out.push_str(&format!(
            "memory      {} to load and evaluate, {} to train with AdamW ({} of {} tokens at a time),\n            {} to analyse\n\n",
            bytes(self.load),
            bytes(self.train),
            match self.micro {
                1 => "one window".into(),
                n => format!("{n} windows"),
            },
            self.window,
            bytes(self.analyse),
        ));
        let mut rows = vec![["part", "parameters", "share", "per layer"].map(String::from)];
        let total = c.parameters();
        for (part, n) in &self.parts {
            let in_layers = matches!(part, Part::Attention | Part::Mlp | Part::Norms);
            rows.push([
                part.name().replace('_', " "),
                count(*n),
                format!("{:.1} %", 100.0 * *n as f64 / total as f64),
                match in_layers {
                    true => count(n / c.n_layer as u64),
                    false => String::new(),
                },
            ]);
        }
        rows.push(["in all".into(), count(total), String::new(), String::new()]);
        out.push_str(&aligned(&rows, &[0]));
        out
    }

    fn stored(&self) -> String {
        let types: Vec<String> = self
            .model
            .types
            .iter()
            .map(|(name, n)| format!("{name} ({})", bytes(*n)))
            .collect();
        types.join(", ")
    }
}

/// Returns the names of the architecture's parts.
fn made_of(c: &DecoderConfig) -> Vec<String> {
    let mut parts = Vec::new();
    parts.push(match &c.positions {
        Positions::Learned => "learned positions".into(),
        Positions::Rotary(rope) => match scaling(&rope.scaling) {
            Some(scaling) => format!("rotary positions (base {}, {scaling})", rope.theta),
            None => format!("rotary positions (base {})", rope.theta),
        },
    });
    parts.push(match c.norm {
        Norms::LayerNorm => "LayerNorm".into(),
        Norms::RmsNorm => "RMSNorm".into(),
        Norms::Plain => "LayerNorm without weights".into(),
    });
    parts.push(match c.mlp {
        Mlp::Gelu => "tanh-GELU".into(),
        Mlp::GeluErf => "GELU".into(),
        Mlp::SwiGlu => "SwiGLU".into(),
    });
    let whole = Biases::all(true);
    let llama = Biases {
        norms: false,
        ..whole
    };
    let all = match c.family {
        Family::Gpt2 => whole,
        Family::Llama => llama,
    };
    parts.push(match c.biases {
        b if b == Biases::default() => "no biases".into(),
        b if b == all => "biases".into(),
        Biases {
            qkv,
            attention_out,
            mlp,
            ..
        } => {
            let named = [
                (qkv, "queries, keys and values"),
                (attention_out, "attention's output"),
                (mlp, "the MLP"),
            ];
            let there: Vec<&str> = named
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, n)| *n)
                .collect();
            format!("biases on {}", there.join(" and "))
        }
    });
    parts.push(match c.tied_head {
        true => "head tied to the embedding".into(),
        false => "a head of its own".into(),
    });
    parts
}

fn scaling(scaling: &RopeScaling) -> Option<String> {
    match scaling {
        RopeScaling::None => None,
        RopeScaling::Linear(factor) => Some(format!("linear scaling by {factor}")),
        RopeScaling::Llama3 {
            factor, original, ..
        } => Some(format!("Llama 3 scaling by {factor} from {original}")),
        RopeScaling::Factors(_) => Some("scaled by a table".into()),
    }
}
