//! What a config holds, with its defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::corpus::{Source, TEXT_FIELD};
use crate::run::command::GrowMode;
use crate::run::notify::{Bell, Occasion, Ringing};

/// A whole config, with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub model: ModelConfig,
    pub data: DataConfig,
    pub reference: ReferenceConfig,
    #[serde(default)]
    pub inherit: InheritConfig,
    pub train: TrainConfig,
    #[serde(default)]
    pub eval: EvalConfig,
    #[serde(default)]
    pub probe: ProbeConfig,
    #[serde(default)]
    pub grow: GrowConfig,
    #[serde(rename = "match", default)]
    pub matching: MatchConfig,
    #[serde(default)]
    pub policy: PolicyConfig,
    #[serde(default)]
    pub control: ControlConfig,
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    #[serde(default)]
    pub notify: NotifyConfig,
    /// How paths with variables of the environment are written, by what they stand for here and now: files get the
    /// variables, and never their values.
    #[serde(skip)]
    pub(super) spelled: BTreeMap<String, String>,
}

/// `[model]`: the shape of a reference that is trained here; a loaded reference brings its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Model family: `gpt2` (learned positions, LayerNorm, tanh-GELU, tied head) or `llama` (rotary positions, RMSNorm,
    /// SwiGLU, no biases, a head of its own).
    pub family: String,
    /// Blocks of the reference.
    pub n_layer: usize,
    /// Attention heads; divides `n_embd`.
    pub n_head: usize,
    /// Key and value heads of `llama`; divides `n_head`. 0: as many as heads.
    pub n_kv_head: usize,
    /// Width.
    pub n_embd: usize,
    /// Width of the MLP; 0 takes the family's: 4 times `n_embd`, or 8/3 of it rounded up to a multiple of 64.
    pub n_inner: usize,
    /// Longest context in tokens.
    pub context_length: usize,
    /// Padded vocabulary; 0 takes the tokenizer's size rounded up to a multiple of 64.
    pub vocab: usize,
    /// Biases in linear layers and norms of `gpt2`.
    pub bias: bool,
    /// Base of the rotary positions of `llama`.
    pub rope_theta: f64,
    /// Whether the head is the token embedding. Default: with `gpt2`, not with `llama`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie_word_embeddings: Option<bool>,
    /// Also divide attention scores by (layer index + 1), as `scale_attn_by_inverse_layer_idx` does.
    pub scale_attn_by_inverse_layer_idx: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            family: "gpt2".into(),
            n_layer: 8,
            n_head: 4,
            n_kv_head: 0,
            n_embd: 128,
            n_inner: 0,
            context_length: 128,
            vocab: 0,
            bias: true,
            rope_theta: 10_000.0,
            tie_word_embeddings: None,
            scale_attn_by_inverse_layer_idx: false,
        }
    }
}

/// `[data]`: text or token files. Paths are relative to the config file; `$NAME` takes an environment variable;
/// `builtin:tinyshakespeare` is embedded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Training text: a path, several that are read one after the other as one text, or sources with weights. A path is a
    /// file, a directory or a pattern of shards; `.txt`, `.jsonl`, `.ndjson` and `.json` (a field of each row), all also
    /// `.gz` and `.zst`, `.parquet` (a column), token files (`.bin`, `.npy`) or a builtin.
    pub train: TrainTexts,
    /// Validation text; without it the last `val_fraction` of each source is held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<Texts>,
    /// Share of each source held out at its end when `val` is absent.
    #[serde(default = "default_val_fraction")]
    pub val_fraction: f64,
    /// `byte`, `gpt2`, `reference` (what the reference at `reference.path` brings), or the path of a `tokenizer.json` or of
    /// a directory with one. Default: `reference` where there is such a path, else `byte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// The field of JSON rows and the column of Parquet files that holds the text. Default: `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Several(Vec<String>),
}

/// What is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrainTexts {
    One(String),
    Several(Vec<String>),
    /// Each window is drawn from one of them, as often as its weight says.
    Mixture(Vec<WeightedText>),
}

/// A source of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedText {
    pub path: String,
    /// Above 0; the weights need not sum to anything.
    pub weight: f64,
}

impl Texts {
    /// The paths.
    pub fn paths(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }

    pub(super) fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::One(path) => vec![path],
            Self::Several(paths) => paths.iter_mut().collect(),
        }
    }
}

impl TrainTexts {
    /// The sources, in order.
    pub fn sources(&self) -> Vec<Source> {
        let source = |inputs: &[String], weight| Source {
            inputs: inputs.to_vec(),
            weight,
        };
        match self {
            Self::One(path) => vec![source(std::slice::from_ref(path), 1.0)],
            Self::Several(paths) => vec![source(paths, 1.0)],
            Self::Mixture(texts) => texts
                .iter()
                .map(|text| source(std::slice::from_ref(&text.path), text.weight))
                .collect(),
        }
    }

    pub(super) fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::One(path) => vec![path],
            Self::Several(paths) => paths.iter_mut().collect(),
            Self::Mixture(texts) => texts.iter_mut().map(|text| &mut text.path).collect(),
        }
    }
}

impl Config {
    /// Returns where rows of JSON and Parquet have their text.
    pub fn text_field(&self) -> &str {
        self.data.text_field.as_deref().unwrap_or(TEXT_FIELD)
    }

    /// What `data.tokenizer` says or, without it, means.
    pub fn tokenizer(&self) -> &str {
        match (&self.data.tokenizer, &self.reference.path) {
            (Some(name), _) => name,
            (None, Some(_)) => "reference",
            (None, None) => "byte",
        }
    }
}

fn default_val_fraction() -> f64 {
    0.1
}

/// `[reference]`: the big model; exactly one of `path` and `[reference.train]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceConfig {
    /// A model: a Hugging Face directory (`config.json`, safetensors), a `.gguf` file, `RUN@CHECKPOINT` by the run's path,
    /// or `hf:owner/name[@revision]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Train the reference here first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<ReferenceTrainConfig>,
}

/// `[reference.train]`: how the reference is trained; what is absent is taken from `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceTrainConfig {
    pub steps: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// Layers to inherit: `"half"`, `"auto"`, `n` (the first n), a range `"a..b"` (without b) or a list of indices from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerChoice {
    First(usize),
    List(Vec<usize>),
    Named(String),
}

impl LayerChoice {
    /// The indices chosen from a reference of `n_layer` layers, in order. `auto` is half of them, too, as long as
    /// their ranks are not known ([`crate::inherit::choose`] knows better). Of an unknown name: none. More first layers
    /// than there are end with the index of one that is missing.
    pub fn of(&self, n_layer: usize) -> Vec<usize> {
        match self {
            Self::First(n) => (0..(*n).min(n_layer.saturating_add(1))).collect(),
            Self::List(list) => list.clone(),
            Self::Named(name) if name == "half" || name == "auto" => {
                (0..(n_layer / 2).max(1)).collect()
            }
            Self::Named(range) => match self::range(range) {
                // Like a list that goes on too long, it ends with the index of one that is missing.
                Some((from, to)) => {
                    (from..to.min(n_layer.saturating_add(1)).max(from + 1)).collect()
                }
                None => Vec::new(),
            },
        }
    }

    /// A choice in words, as on the command line: `15`, `8..16`, `0,2,5`, `half`, `auto`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(n) = text.parse() {
            return Some(Self::First(n));
        }
        if matches!(text, "half" | "auto") || range(text).is_some() {
            return Some(Self::Named(text.into()));
        }
        let list: Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
        list.ok().map(Self::List)
    }
}

/// The ends of `a..b`, which holds at least one layer.
pub(super) fn range(text: &str) -> Option<(usize, usize)> {
    let (from, to) = text.split_once("..")?;
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from < to && to <= 1_000_000).then_some((from, to))
}

/// `[inherit]`: what the small model takes from the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InheritConfig {
    /// `"half"`, `"auto"` (half, but none from the first collapsing layer on), a number of first layers, a range `"a..b"`
    /// (without b), or a list of indices from 0.
    pub layers: LayerChoice,
    /// Any of `attention`, `mlp`, `norms`, `embeddings`, `positions`, `final_norm`, `head`; the rest starts random.
    pub what: Vec<String>,
}

/// The parts that `inherit.what` may name.
pub const INHERITABLE: [&str; 7] = [
    "attention",
    "mlp",
    "norms",
    "embeddings",
    "positions",
    "final_norm",
    "head",
];

impl Default for InheritConfig {
    fn default() -> Self {
        Self {
            layers: LayerChoice::Named("half".into()),
            what: INHERITABLE.map(String::from).to_vec(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Cosine,
    Linear,
    Constant,
    /// Warm up, stay, then decay over the last fifth of the steps.
    Wsd,
}

/// `[train]`: one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps per round (T of Algorithm 1).
    pub steps: u64,
    /// Tokens of a training or validation window; 0: the model's whole context.
    #[serde(default)]
    pub context_length: usize,
    /// Tokens per optimizer step; a multiple of the window's length.
    pub batch_tokens: u64,
    /// Windows per forward pass; the rest is gradient accumulation. 0: the whole batch at once.
    #[serde(default)]
    pub micro_batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Learning rate at the end of the schedule, and past it. Default: a tenth of `lr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// Steps of linear warm-up.
    #[serde(default)]
    pub warmup: u64,
    /// `cosine`, `linear`, `constant` or `wsd`.
    #[serde(default = "default_schedule")]
    pub schedule: Schedule,
    /// AdamW's beta1 and beta2.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Decoupled weight decay of every tensor with two or more dimensions.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Global gradient norm is clipped to this; 0: no clipping.
    #[serde(default = "default_clip")]
    pub clip: f64,
    /// What matrix products are computed in, `f32` or `bf16`; weights, sums and all else are f32; on a GPU, activations are bf16, too.
    #[serde(default = "default_dtype")]
    pub dtype: String,
    /// Whether the backward pass makes a layer's activations again: less memory, a fifth slower.
    #[serde(default)]
    pub recompute: bool,
    /// Seed of initial weights and of the batches.
    #[serde(default)]
    pub seed: u64,
    /// Steps between `train` events; slow steps are told of every five seconds.
    #[serde(default = "default_log_every")]
    pub log_every: u64,
}

fn default_schedule() -> Schedule {
    Schedule::Cosine
}
fn default_betas() -> [f64; 2] {
    [0.9, 0.95]
}
fn default_weight_decay() -> f64 {
    0.1
}
fn default_clip() -> f64 {
    1.0
}
fn default_dtype() -> String {
    "f32".into()
}
fn default_log_every() -> u64 {
    10
}

/// `[eval]`: the fixed, evenly strided pass over the validation text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Steps between evaluations.
    pub every: u64,
    /// Windows; the same for every model.
    pub windows: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            every: 100,
            windows: 256,
        }
    }
}

/// `[probe]`: attention ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Share of training time; phase starts and ends are exempt. 0: only those.
    pub budget: f64,
    /// Validation windows per probe.
    pub windows: usize,
    /// Tokens per window; at most the context length.
    pub length: usize,
    /// Share of the squared singular values (and of column mass) that counts.
    pub tau: f64,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            budget: 0.01,
            windows: 100,
            length: 100,
            tau: 0.9,
        }
    }
}

/// `[grow]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrowConfig {
    /// Layers added per growth.
    pub step: usize,
    /// `restart` or `keep`.
    pub mode: GrowMode,
    /// Steps within which the validation loss must be below its value before a growth again; 0: it need not.
    pub recover_steps: u64,
    /// Most layers; 0: one fewer than the reference has.
    pub max_layers: usize,
}

impl Default for GrowConfig {
    fn default() -> Self {
        Self {
            step: 2,
            mode: GrowMode::Restart,
            recover_steps: 0,
            max_layers: 0,
        }
    }
}

/// `[match]`: when the small model counts as good as the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchConfig {
    /// Largest paired gap in nats that counts as a match.
    pub tolerance: f64,
    /// Consecutive evaluations that must match.
    pub patience: u32,
}

impl Default for MatchConfig {
    fn default() -> Self {
        Self {
            tolerance: 0.0,
            patience: 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// Keep training at `min_lr` until the operator answers.
    Ask,
    /// Pause until the operator answers.
    Pause,
    /// Algorithm 1: grow while worse than the benchmark.
    Auto,
}

impl std::fmt::Display for PolicyMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ask => "ask",
            Self::Pause => "pause",
            Self::Auto => "auto",
        })
    }
}

/// `[policy]`: who decides, and the limits of every policy. 0: no limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// `ask`, `pause` or `auto`. Default: `ask` at a terminal, `auto` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// Under `ask`: steps past the round's end before the run pauses. 0: as many as the round has.
    pub max_overrun_steps: u64,
    /// Tokens over all phases; then the recipe ends.
    pub max_tokens: u64,
    /// Hours of run time; then the recipe ends.
    pub max_hours: f64,
    /// Minutes that a question waits while no dashboard is there; then a checkpoint is written and the process ends.
    pub unattended_minutes: f64,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            mode: None,
            max_overrun_steps: 0,
            max_tokens: 0,
            max_hours: 0.0,
            unattended_minutes: 10.0,
        }
    }
}

/// `[control]`: honest comparisons at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Train a random start of the final size for the same steps.
    pub random: bool,
    /// Continue the reference for the same extra steps.
    pub reference_continued: bool,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            random: true,
            reference_continued: true,
        }
    }
}

/// `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between checkpoints; 0: only at phase ends, growths and exit.
    pub every: u64,
    /// How many of the newest are kept, beside the milestones.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every: 500,
            keep: 2,
        }
    }
}

/// `[notify]`: how an operator who looks elsewhere is notified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// The program that is run and its arguments; empty: none.
    pub command: Vec<String>,
    /// What for.
    pub on: Vec<Occasion>,
    /// How dashboards ring their terminal.
    pub terminal: Bell,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            on: Occasion::ALL.to_vec(),
            terminal: Bell::Off,
        }
    }
}

impl NotifyConfig {
    /// Returns what dashboards ring for; `None` where they do not ring.
    pub fn ringing(&self) -> Option<Ringing> {
        let rings = self.terminal != Bell::Off && !self.on.is_empty();
        rings.then(|| Ringing {
            terminal: self.terminal,
            on: self.on.clone(),
        })
    }
}
