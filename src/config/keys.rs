//! Every key of the config: its type, its default, what it is for, and whether a resume may change it. The
//! documentation, the type checks, the suggestions for misspelled keys and the checks of a resume all come from this
//! table.

use Kind::{Count, Flag, Inputs, Layers, OneOf, Pair, Real, SomeOf, Sources, Text, Texts};
use Need::{Default, Required, Unless};
use OnResume::{Free, FreeUntil, NewPhase, OffAfter, Refused, SameContent};
use Stage::{Controls, LastControl, Measured, Rounds};

use crate::run::notify::Occasion;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, not negative.
    Count,
    /// A finite number.
    Real,
    Flag,
    Text,
    Texts,
    /// A path or a list of them.
    Inputs,
    /// The same, or a list of `{ path, weight }`.
    Sources,
    OneOf(&'static [&'static str]),
    /// A list of some of these names, each once.
    SomeOf(&'static [&'static str]),
    /// `"half"`, a number of layers or a list of indices.
    Layers,
    /// Two numbers.
    Pair,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Count => f.write_str("a whole number"),
            Real => f.write_str("a number"),
            Flag => f.write_str("true or false"),
            Text => f.write_str("a text in quotes"),
            Texts => f.write_str("a list of texts"),
            Inputs => f.write_str("a text in quotes or a list of texts"),
            Sources => f.write_str(
                "a text in quotes, a list of texts or a list of { path = \"...\", weight = 1.0 }",
            ),
            OneOf(names) => write!(f, "one of {}", names.join(", ")),
            SomeOf(names) => write!(f, "a list of any of {}", names.join(", ")),
            Layers => {
                f.write_str("\"half\", \"auto\", a number of layers, a range \"a..b\" or a list of layer indices")
            }
            Pair => f.write_str("a list of two numbers"),
        }
    }
}

/// What happens when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must be given (where its section is); an example.
    Required(&'static str),
    /// A value, as TOML.
    Default(&'static str),
    /// Something that is not a plain value, in words.
    Unless(&'static str),
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The reference is being trained.
    Reference,
    /// The reference has been trained and measured.
    Measured,
    /// Round 1 has begun.
    Rounds,
    /// The rounds are over.
    Controls,
    /// The last control, the continued reference, has begun.
    LastControl,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reference => "the reference is being trained",
            Self::Measured => "the reference has been trained and measured",
            Self::Rounds => "round 1 has begun",
            Self::Controls => "the rounds are over",
            Self::LastControl => "the reference is being continued",
        })
    }
}

/// What a resume makes of a value that differs from the run's. A run without a checkpoint starts over, with any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnResume {
    /// Takes effect with the next step.
    Free,
    /// Takes effect with the next step; refused once the run has come to this stage.
    FreeUntil(Stage),
    /// As [`Self::FreeUntil`], and `false` is accepted at any stage.
    OffAfter(Stage),
    /// Takes effect when the next round begins; refused once the run has come to this stage.
    NewPhase(Stage),
    /// Names files: others may be named when they hold the same tokens.
    SameContent,
    /// Belongs to what the checkpoints hold: the reason.
    Refused(&'static str),
}

impl std::fmt::Display for OnResume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::FreeUntil(stage) => write!(f, "free until {stage}"),
            Self::OffAfter(stage) => write!(f, "free until {stage}, then only `false`"),
            Self::NewPhase(stage) => write!(f, "next round, until {stage}"),
            Self::SameContent => f.write_str("same tokens"),
            Self::Refused(_) => f.write_str("refused"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    pub on_resume: OnResume,
    pub kind: Kind,
    pub need: Need,
    pub doc: &'static str,
}

impl Key {
    /// The section and the key's own name.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

const fn key(
    path: &'static str,
    on_resume: OnResume,
    kind: Kind,
    need: Need,
    doc: &'static str,
) -> Key {
    Key {
        path,
        on_resume,
        kind,
        need,
        doc,
    }
}

const SCHEDULES: Kind = OneOf(&["cosine", "linear", "constant", "wsd"]);
const FROM_TRAIN: Need = Unless("as in `[train]`");

const SHAPE: &str = "the checkpoints hold weights of this shape";
const SPLIT: &str = "the run trains and validates on the two parts of this split";
const REFERENCE: &str =
    "the checkpoints hold the weights that were read from it; its files are not needed any more";
const WINDOWS: &str = "the losses so far were measured on windows of this length";
const SEED: &str = "the initial weights and the order of the batches follow from it";

/// The rules of a resume, for the documentation.
const RULES: [(&str, &str); 6] = [
    ("free", "takes effect with the next step."),
    (
        "free until ...",
        "takes effect with the next step (values of the rounds: from round 1 on); refused once the run has come that far.",
    ),
    (
        "then only `false`",
        "a control that is switched off is left out, or given up when it is in progress.",
    ),
    (
        "next round",
        "takes effect at the next phase that is a round; the phase in progress keeps its value, however often it is resumed, and so do the controls that follow it.",
    ),
    (
        "same tokens",
        "other files may be named, when their tokens are the same: fingerprints are compared.",
    ),
    (
        "refused",
        "belongs to what the checkpoints hold: start a new run for another value.",
    ),
];

/// The sections, in the order they are documented, with what each is about.
pub const SECTIONS: [(&str, &str); 14] = [
    (
        "model",
        "The shape of a reference that is trained here; a loaded reference brings its own.",
    ),
    (
        "data",
        "Text or token files. Paths are relative to the config file; `$NAME` in them takes an environment variable (`$$` is a plain `$`).",
    ),
    (
        "reference",
        "The big model: exactly one of `path` and `[reference.train]`; a `--set` of one replaces the other of the file.",
    ),
    (
        "reference.train",
        "Train the reference here first; what is absent is taken from `[train]`.",
    ),
    ("inherit", "What the small model takes from the reference."),
    ("train", "One round of training."),
    (
        "eval",
        "The fixed, evenly strided pass over the validation text.",
    ),
    ("probe", "Attention ranks."),
    ("grow", "How the model grows between rounds."),
    (
        "match",
        "When the small model counts as good as the reference.",
    ),
    ("policy", "Who decides, and the limits of every policy."),
    ("control", "Honest comparisons at the end."),
    ("checkpoint", "What is kept on disk."),
    (
        "notify",
        "Notifications for an operator who looks elsewhere ([how-it-works.md](how-it-works.md#notifications)).",
    ),
];

/// All keys, by section.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("model.family", Refused(SHAPE), OneOf(&["gpt2", "llama"]), Default("\"gpt2\""), "`gpt2`: learned positions, LayerNorm, tanh-GELU, tied head; `llama`: rotary positions, RMSNorm, SwiGLU, no biases, a head of its own."),
    key("model.n_layer", Refused(SHAPE), Count, Default("8"), "Blocks of the reference."),
    key("model.n_head", Refused(SHAPE), Count, Default("4"), "Attention heads; divides `n_embd`."),
    key("model.n_kv_head", Refused(SHAPE), Count, Default("0"), "Key and value heads of `llama`; divides `n_head`. 0: as many as heads."),
    key("model.n_embd", Refused(SHAPE), Count, Default("128"), "Width."),
    key("model.n_inner", Refused(SHAPE), Count, Default("0"), "Width of the MLP; 0: 4 times `n_embd` (`gpt2`), or 8/3 of it rounded up to a multiple of 64 (`llama`)."),
    key("model.context_length", Refused(SHAPE), Count, Default("128"), "Longest context in tokens."),
    key("model.vocab", Refused(SHAPE), Count, Default("0"), "Padded vocabulary; 0: the tokenizer's size rounded up to a multiple of 64."),
    key("model.bias", Refused(SHAPE), Flag, Default("true"), "Biases in linear layers and norms of `gpt2`."),
    key("model.rope_theta", Refused(SHAPE), Real, Default("10000.0"), "Base of the rotary positions of `llama`."),
    key("model.tie_word_embeddings", Refused(SHAPE), Flag, Unless("true for `gpt2`, false for `llama`"), "Whether the head is the token embedding."),
    key("model.scale_attn_by_inverse_layer_idx", Refused(SHAPE), Flag, Default("false"), "Also divide attention scores by (layer index + 1)."),
    key("data.train", SameContent, Sources, Required("\"corpus.txt\""), "Training text: `.txt`, `.jsonl`, `.ndjson` or `.json` (the field `text_field` of each row), all of these also `.gz` and `.zst`, `.parquet` (the column `text_field`), token files (`.bin` of nanoGPT, llm.c, lit-gpt or `heirloom data prepare`, `.npy`) or `builtin:tinyshakespeare`; a file, a directory, or a pattern of shards such as `train_*.bin` ([models.md](models.md#texts)). A list is read one after the other as one text; of a list with weights each window is drawn from one source."),
    key("data.val", SameContent, Inputs, Unless("the end of the training text"), "Validation text, in the same formats."),
    key("data.val_fraction", Refused(SPLIT), Real, Default("0.1"), "Share of each source held out at its end when `val` is absent."),
    key("data.tokenizer", SameContent, Text, Unless("`\"reference\"` with `reference.path`, else `\"byte\"`"), "How text becomes tokens: `byte`, `gpt2`, `reference` (what the reference at `reference.path` brings), or the path of a `tokenizer.json` or of a directory with one, with a `/` or a `.` in it."),
    key("data.text_field", SameContent, Text, Unless("`\"text\"`"), "Field of JSON rows and column of Parquet files that holds the text."),
    key("reference.path", Refused(REFERENCE), Text, Unless("`[reference.train]`"), "A model: a Hugging Face directory (`config.json`, safetensors), a `.gguf` file, `RUN@reference`, `RUN@best` or another checkpoint by the run's path, or `hf:owner/name[@revision]`."),
    key("reference.train.steps", FreeUntil(Measured), Count, Required("1000"), "Optimizer steps of the reference."),
    key("reference.train.lr", FreeUntil(Measured), Real, FROM_TRAIN, "Peak learning rate."),
    key("reference.train.min_lr", FreeUntil(Measured), Real, FROM_TRAIN, "Learning rate at the end of the schedule."),
    key("reference.train.warmup", FreeUntil(Measured), Count, FROM_TRAIN, "Steps of linear warm-up."),
    key("reference.train.schedule", FreeUntil(Measured), SCHEDULES, FROM_TRAIN, "Course of the learning rate."),
    key("inherit.layers", FreeUntil(Rounds), Layers, Default("\"half\""), "`\"half\"`, `\"auto\"` (half, but none from the first collapsing layer on: MaxRank below 2), a number of first layers, a range `\"a..b\"` (without b), or a list of indices from 0."),
    key("inherit.what", NewPhase(Controls), Texts, Default("[\"attention\", \"mlp\", \"norms\", \"embeddings\", \"positions\", \"final_norm\", \"head\"]"), "The parts taken; the rest starts random."),
    key("train.steps", FreeUntil(Controls), Count, Required("200"), "Optimizer steps per round (T of Algorithm 1)."),
    key("train.context_length", Refused(WINDOWS), Count, Default("0"), "Tokens of a training or validation window; 0: the model's whole context."),
    key("train.batch_tokens", NewPhase(Controls), Count, Required("1024"), "Tokens per optimizer step; a multiple of the window's length."),
    key("train.micro_batch", Free, Count, Default("0"), "Windows per forward pass; the rest is gradient accumulation. 0: the whole batch at once."),
    key("train.lr", FreeUntil(Controls), Real, Required("1e-3"), "Peak learning rate."),
    key("train.min_lr", FreeUntil(Controls), Real, Unless("a tenth of `lr`"), "Learning rate at the end of the schedule, and past it."),
    key("train.warmup", FreeUntil(Controls), Count, Default("0"), "Steps of linear warm-up."),
    key("train.schedule", FreeUntil(Controls), SCHEDULES, Default("\"cosine\""), "Course of the learning rate; `wsd`: warm up, stay, decay over the last fifth."),
    key("train.betas", FreeUntil(Controls), Pair, Default("[0.9, 0.95]"), "AdamW's beta1 and beta2."),
    key("train.weight_decay", FreeUntil(Controls), Real, Default("0.1"), "Decoupled weight decay of every tensor with two or more dimensions."),
    key("train.clip", FreeUntil(Controls), Real, Default("1.0"), "The global gradient norm is clipped to this; 0: no clipping."),
    key(
        "train.dtype",
        Free,
        Text,
        Default("\"f32\""),
        "What matrix products are computed in, `\"f32\"` or `\"bf16\"`; weights, sums and all else are f32. bf16 is the faster one on GPUs, where activations are bf16, too, and on CPUs with AMX or AVX512-BF16.",
    ),
    key(
        "train.recompute",
        Free,
        Flag,
        Default("false"),
        "Keep only each layer's input and make its other activations again in the backward pass: less memory for long windows and many layers, a fifth slower; the same results.",
    ),
    key("train.seed", Refused(SEED), Count, Default("0"), "Seed of initial weights and of the batches."),
    key("train.log_every", Free, Count, Default("10"), "Steps between `train` events; slow steps are told of every five seconds."),
    key("eval.every", Free, Count, Default("100"), "Steps between evaluations."),
    key("eval.windows", FreeUntil(Measured), Count, Default("256"), "Validation windows; the same for every model. A text with room for fewer that share no tokens is evaluated on those."),
    key("probe.budget", Free, Real, Default("0.01"), "Share of training time; phase starts and ends are exempt. 0: only those."),
    key("probe.windows", FreeUntil(Measured), Count, Default("100"), "Validation windows per probe."),
    key("probe.length", FreeUntil(Measured), Count, Default("100"), "Tokens per window; at most a training window's."),
    key("probe.tau", FreeUntil(Measured), Real, Default("0.9"), "Share of the squared singular values (and of column mass) that counts."),
    key("grow.step", FreeUntil(Controls), Count, Default("2"), "Layers added per growth."),
    key("grow.mode", FreeUntil(Controls), OneOf(&["restart", "keep"]), Default("\"restart\""), "`restart`: every layer fresh from the reference; `keep`: trained layers stay, the next ones are added."),
    key("grow.recover_steps", FreeUntil(Controls), Count, Default("0"), "Steps after a growth within which the validation loss must be below its value before the growth again, else it is rolled back; 0: it need not."),
    key("grow.max_layers", FreeUntil(Controls), Count, Default("0"), "Most layers; 0: one fewer than the reference has."),
    key("match.tolerance", FreeUntil(Controls), Real, Default("0.0"), "Largest paired gap in nats that counts as a match."),
    key("match.patience", FreeUntil(Controls), Count, Default("1"), "Consecutive evaluations that must match."),
    key("policy.mode", FreeUntil(Controls), OneOf(&["ask", "pause", "auto"]), Unless("`ask` at a terminal, `auto` without one"), "`ask`: train on until answered; `pause`: wait; `auto`: grow while worse than the reference."),
    key("policy.max_overrun_steps", FreeUntil(Controls), Count, Default("0"), "Under `ask`: steps past the round's end before the run pauses. 0: as many as the round has. A run that is resumed there (`p`, `ctl resume`) trains on for as many steps again, also after a rollback."),
    key("policy.max_tokens", FreeUntil(Controls), Count, Default("0"), "Tokens over all phases; then the recipe ends. 0: no limit."),
    key("policy.unattended_minutes", Free, Real, Default("10.0"), "Minutes that a question waits while no dashboard is there; then a checkpoint is written and the process ends with 75."),
    key("policy.max_hours", FreeUntil(Controls), Real, Default("0.0"), "Hours of run time; then the recipe ends. 0: no limit."),
    key("control.random", OffAfter(Controls), Flag, Default("true"), "Train a random start of the final size for the same steps."),
    key("control.reference_continued", OffAfter(LastControl), Flag, Default("true"), "Continue the reference for the same extra steps."),
    key("checkpoint.every", Free, Count, Default("500"), "Steps between checkpoints; 0: only at phase ends, growths and exit."),
    key("checkpoint.keep", Free, Count, Default("2"), "How many of the newest are kept, beside the milestones."),
    key("notify.command", Free, Texts, Default("[]"), "A program and its arguments, such as `[\"/home/me/notify.sh\"]`, which the training process runs, without a shell, for each event of `on`; 10 s at most, one at a time. Empty: none. A resume runs it only if it is given again with `--set`."),
    key("notify.on", Free, SomeOf(&Occasion::NAMES), Default("[\"decision\", \"nan\", \"stall\", \"best\", \"done\"]"), "`decision`: one opens; `nan`: a loss or gradient is not finite; `stall`: a run that trains sends no event for 60 s and 3 times its usual interval; `best`: a new best validation loss of a round; `done`: done or failed."),
    key("notify.terminal", Free, OneOf(&["off", "bell", "osc9"]), Default("\"off\""), "How the dashboards of the run (`train`, `attach`) ring their terminal for the same events: `bell`, or `osc9`, which some terminals show as a notification of the desktop."),
];

pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

pub fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|(name, _)| *name == path)
}

/// The known key that is spelled most like `path`; failing that, one of the same name in another section.
pub fn nearest(path: &str) -> Option<&'static str> {
    let name = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let wanted = path.rsplit('.').next().unwrap_or(path);
    best(path, KEYS.iter().map(|k| k.path), 0.75).or_else(|| {
        let name = best(wanted, KEYS.iter().map(|k| name(k.path)), 0.75)?;
        KEYS.iter()
            .map(|k| k.path)
            .find(|p| p.ends_with(&format!(".{name}")))
    })
}

pub fn nearest_section(path: &str) -> Option<&'static str> {
    best(path, SECTIONS.iter().map(|(name, _)| *name), 0.6)
}

/// Bytes of a word that may be a misspelled one.
const LONGEST_WORD: usize = 100;

/// The candidate most like `word`, when it is at least `enough` (of 1) like it.
pub fn best<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
    enough: f64,
) -> Option<&'a str> {
    // What is so long is not misspelled; comparing takes time and memory that grow with it.
    if word.len() > LONGEST_WORD {
        return None;
    }
    candidates
        .map(|c| (strsim::normalized_damerau_levenshtein(word, c), c))
        .filter(|(score, _)| *score >= enough)
        // The first of equals: ties go by the table's order.
        .fold(None, |best: Option<(f64, &str)>, found| match best {
            Some(best) if best.0 >= found.0 => Some(best),
            _ => Some(found),
        })
        .map(|(_, c)| c)
}

/// The reference page of the config, as Markdown.
pub fn keys_markdown() -> String {
    let mut out = String::new();
    for (section, doc) in SECTIONS {
        out.push_str(&format!(
            "## `[{section}]`\n\n{doc}\n\n| key | type | default | on resume | |\n|---|---|---|---|---|\n"
        ));
        for key in KEYS.iter().filter(|k| k.parts().0 == section) {
            let default = match key.need {
                Required(_) => "required".into(),
                Default(value) => format!("`{value}`"),
                Unless(words) => words.into(),
            };
            let (_, name) = key.parts();
            out.push_str(&format!(
                "| `{name}` | {} | {default} | {} | {} |\n",
                key.kind, key.on_resume, key.doc
            ));
        }
        out.push('\n');
    }
    out.push_str(
        "## Resuming with other values\n\n\
         `heirloom train --resume RUN --set section.key=value` (or an edit of `runs/RUN/config.toml` while nothing trains) \
         changes a run that has begun, as far as the column \"on resume\" allows. What is accepted is printed, journaled and \
         written into `config.toml`; what is refused ends the command with code 2 and changes nothing. A run without a \
         checkpoint starts over, with any values. The controls repeat the rounds with the values in force when they begin.\n\n\
         | on resume | |\n|---|---|\n",
    );
    for (rule, doc) in RULES {
        out.push_str(&format!("| {rule} | {doc} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::*;
    use std::collections::BTreeMap;

    fn leaves(value: &toml::Value, path: &str, found: &mut BTreeMap<String, toml::Value>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let path = match path {
                        "" => name.clone(),
                        path => format!("{path}.{name}"),
                    };
                    leaves(value, &path, found);
                }
            }
            value => drop(found.insert(path.into(), value.clone())),
        }
    }

    fn written(config: &Config) -> BTreeMap<String, toml::Value> {
        let mut found = BTreeMap::new();
        leaves(&toml::Value::try_from(config).unwrap(), "", &mut found);
        found
    }

    fn minimal() -> Config {
        toml::from_str(
            "data.train = 'a.txt'\nreference.train.steps = 1\n[train]\nsteps = 1\nbatch_tokens = 128\nlr = 0.5\n",
        )
        .unwrap()
    }

    /// Every optional value is there.
    fn full() -> Config {
        let mut config = minimal();
        config.data.val = Some(crate::config::Texts::One("b.txt".into()));
        config.data.tokenizer = Some("gpt2".into());
        config.data.text_field = Some("content".into());
        config.reference.path = Some("dir".into());
        config.reference.train = Some(ReferenceTrainConfig {
            steps: 1,
            lr: Some(0.5),
            min_lr: Some(0.5),
            warmup: Some(1),
            schedule: Some(Schedule::Wsd),
        });
        config.train.min_lr = Some(0.5);
        config.model.tie_word_embeddings = Some(true);
        config.policy.mode = Some(PolicyMode::Ask);
        config
    }

    #[test]
    fn the_table_has_exactly_the_structs_keys_and_types() {
        let structs = written(&full());
        let mut table: Vec<&str> = KEYS.iter().map(|k| k.path).collect();
        table.sort_unstable();
        assert_eq!(
            table,
            structs.keys().map(String::as_str).collect::<Vec<_>>()
        );
        for key in KEYS {
            let value = &structs[key.path];
            let fits = match key.kind {
                Count => value.is_integer(),
                Real => value.is_float(),
                Flag => value.is_bool(),
                Text | Inputs | Sources | OneOf(_) => value.is_str(),
                Texts | SomeOf(_) | Pair => value.is_array(),
                Layers => value.as_str() == Some("half"),
            };
            assert!(fits, "{}: {value:?}", key.path);
            assert!(is_section(key.parts().0), "{}", key.path);
        }
    }

    #[test]
    fn the_tables_defaults_are_the_structs() {
        let config = written(&minimal());
        for key in KEYS {
            match key.need {
                Default(text) => {
                    let table: toml::Table = toml::from_str(&format!("x = {text}")).unwrap();
                    assert_eq!(config[key.path], table["x"], "{}", key.path);
                }
                Unless(_) => assert!(!config.contains_key(key.path), "{}", key.path),
                Required(example) => {
                    toml::from_str::<toml::Table>(&format!("x = {example}")).unwrap();
                }
            }
        }
    }

    #[test]
    fn names_of_choices_are_those_that_serde_reads() {
        for key in KEYS {
            let (names, is_list) = match key.kind {
                OneOf(names) => (names, false),
                SomeOf(names) => (names, true),
                _ => continue,
            };
            for name in names {
                let name = toml::Value::String((*name).into());
                let value = match is_list {
                    true => toml::Value::Array(vec![name]),
                    false => name,
                };
                let mut table = toml::Table::try_from(full()).unwrap();
                let (section, own) = key.parts();
                let mut at = &mut table;
                for part in section.split('.') {
                    at = at[part].as_table_mut().unwrap();
                }
                at.insert(own.into(), value.clone());
                let read: Result<Config, _> = table.try_into();
                assert!(read.is_ok(), "{} = {value}", key.path);
            }
        }
    }

    #[test]
    fn a_misspelled_key_finds_its_neighbour() {
        assert_eq!(nearest("train.stpes"), Some("train.steps"));
        assert_eq!(nearest("grow.setp"), Some("grow.step"));
        assert_eq!(nearest("steps"), Some("reference.train.steps"));
        assert_eq!(nearest("train.contxt_length"), Some("train.context_length"));
        assert_eq!(nearest("colour.of.the.sky"), None);
        assert_eq!(nearest_section("trian"), Some("train"));
    }

    #[test]
    fn the_page_names_every_key() {
        let page = keys_markdown();
        for key in KEYS {
            assert!(
                page.contains(&format!("| `{}` |", key.parts().1)),
                "{}",
                key.path
            );
            assert!(page.contains(key.doc));
        }
        assert!(page.contains("## `[reference.train]`"));
    }
}
