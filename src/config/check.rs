//! Checks the values of a config: each alone, by the checks of its [declaration](super::declare), and together.

use super::keys::Kind;
use super::places::Places;
use super::rules::MOST_LAYERS;
use super::sections::{Config, ModelConfig};
use super::values::{LayerChoice, TokenizerChoice};
use super::{ConfigError, baselines};
use crate::model::Family;

/// Checks a config that was built or changed in memory.
///
/// # Errors
/// Every problem, one a line, without file and line.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let mut places = Places::default();
    values(config, &mut places);
    places.finish()
}

/// Records every problem with the values.
pub(super) fn values(config: &Config, places: &mut Places) {
    let mut check = Check { config, places };
    check.model();
    check.data();
    check.inherit();
    check.train();
    check.reference();
    check.measures();
    check.growth();
    baselines::check(config, check.places);
    check.rest();
}

/// Receives the problems of a key's value alone.
type Report<'r> = &'r mut dyn FnMut(&'static str, Vec<String>);

struct Check<'a> {
    config: &'a Config,
    places: &'a mut Places,
}

impl Check<'_> {
    fn need(&mut self, fine: bool, keys: &[&str], message: impl FnOnce() -> String) {
        if !fine {
            self.places.problem(keys, message());
        }
    }

    /// Calls [`Self::need`] for one key; if it fails, further problems between the key and others are not reported.
    fn need_alone(&mut self, fine: bool, key: &str, message: impl FnOnce() -> String) {
        if !fine {
            self.places.bad(key, message());
        }
    }

    /// Checks values alone; if one is wrong, further problems between it and others are not reported.
    fn alone(&mut self, check_each: impl FnOnce(&Config, Report)) {
        let Self { config, places } = self;
        check_each(config, &mut |key, problems| {
            places.bad_for(key, &problems);
        });
    }

    fn trained_here(&self) -> bool {
        self.config.reference.train.is_some()
    }

    /// Returns the windows' length and the key that determines it; a loaded reference has its own context.
    fn window(&self) -> Option<(&'static str, usize)> {
        match self.config.train.context_length {
            0 if self.trained_here() => {
                Some(("model.context_length", self.config.model.context_length))
            }
            0 => None,
            n => Some(("train.context_length", n)),
        }
    }

    fn model(&mut self) {
        // First, because the value of a key without a meaning does not matter.
        self.family();
        self.alone(|config, report| config.model.check_each(report));
        let model = &self.config.model;
        if model.n_head > 0 && model.n_embd > 0 {
            let keys = ["model.n_head", "model.n_embd"];
            let (head, left) = (model.n_embd / model.n_head, model.n_embd % model.n_head);
            self.need(left == 0, &keys, || {
                format!(
                    "model.n_head must divide model.n_embd: {} heads, width {}",
                    model.n_head, model.n_embd
                )
            });
            self.need(left != 0 || head.is_multiple_of(2), &keys, || {
                format!("model.n_embd / model.n_head must be even, is {head}")
            });
        }
        if model.n_kv_head > 0 && model.n_head > 0 {
            let keys = ["model.n_kv_head", "model.n_head"];
            self.need(model.n_head.is_multiple_of(model.n_kv_head), &keys, || {
                format!(
                    "model.n_kv_head must divide model.n_head: {} and {} heads",
                    model.n_kv_head, model.n_head
                )
            });
        }
        // The needs of other tokenizers are known only when they have been read.
        let tokens = match self.config.tokenizer() {
            TokenizerChoice::Gpt2 => 50_257,
            TokenizerChoice::Byte => 257,
            TokenizerChoice::Reference | TokenizerChoice::Path(_) => 0,
        };
        self.need(
            model.vocab == 0 || model.vocab >= tokens,
            &["model.vocab", "data.tokenizer"],
            || {
                format!(
                    "model.vocab must be 0 or at least {tokens} for the {} tokenizer, is {}",
                    self.config.tokenizer().name(),
                    model.vocab
                )
            },
        );
    }

    /// Checks keys that apply only to one family.
    fn family(&mut self) {
        let model = &self.config.model;
        let others = match model.family {
            Family::Gpt2 => ["model.n_kv_head", "model.rope_theta"],
            Family::Llama => ["model.bias", "model.scale_attn_by_inverse_layer_idx"],
        };
        for key in others {
            let given = self.places.given(key);
            let default = match key {
                "model.n_kv_head" => model.n_kv_head == 0,
                "model.rope_theta" => model.rope_theta == ModelConfig::default().rope_theta,
                "model.bias" => model.bias,
                _ => !model.scale_attn_by_inverse_layer_idx,
            };
            self.need_alone(!given || default, key, || {
                let family = model.family.name();
                format!("{key} has no meaning for model.family = {family:?}")
            });
        }
    }

    fn data(&mut self) {
        self.alone(|config, report| config.data.check_each(report));
        let data = &self.config.data;
        let share = data.val_fraction;
        self.need(
            data.val.is_some() || (share > 0.0 && share < 1.0),
            &["data.val_fraction", "data.val"],
            || format!("data.val_fraction must be between 0 and 1 (both excluded), is {share}"),
        );
        let of_reference = *self.config.tokenizer() == TokenizerChoice::Reference;
        let loaded = self.config.reference.path.is_some();
        self.need(!of_reference || loaded, &["data.tokenizer"], || {
            "data.tokenizer = \"reference\" needs reference.path; a reference that is trained here has no tokenizer of its own"
                .into()
        });
    }

    fn reference(&mut self) {
        self.alone(|config, report| config.reference.check_each(report));
        let reference = &self.config.reference;
        let keys = ["reference.path", "reference.train"];
        match (&reference.path, &reference.train) {
            (None, None) => self.places.problem(&keys, "missing reference; add [reference.train] with steps = 1000, or path = \"DIR\" of a checkpoint under [reference]"),
            (Some(_), Some(_)) => self.places.problem(&keys, "reference.path and [reference.train] exclude each other; keep one"),
            (Some(path), None) => self.need(!path.trim().is_empty(), &keys, || "reference.path is empty".into()),
            (None, Some(_)) => {}
        }
        let Some(own) = &reference.train else { return };
        self.alone(|_, report| own.check_each(report));
        let round = &self.config.train;
        let lr = own.lr.unwrap_or(round.lr);
        // If both come from [train], they are checked there.
        let own_rates = own.lr.is_some() || own.min_lr.is_some();
        if let Some(min_lr) = own.min_lr.or(round.min_lr).filter(|_| own_rates) {
            let keys = [
                "reference.train.min_lr",
                "reference.train.lr",
                "train.min_lr",
                "train.lr",
            ];
            self.lowest_rate(&keys, min_lr, lr);
        }
        let warmup = own.warmup.unwrap_or(round.warmup);
        let keys = [
            "reference.train.warmup",
            "reference.train.steps",
            "train.warmup",
        ];
        self.need(warmup <= own.steps, &keys, || {
            format!(
                "reference.train.warmup must be at most reference.train.steps ({}), is {warmup}",
                own.steps
            )
        });
    }

    /// Checks that the lowest rate (`keys[0]`) is not above the peak (`keys[1]`).
    fn lowest_rate(&mut self, keys: &[&str], min_lr: f64, lr: f64) {
        let (low, peak) = (keys[0], keys[1]);
        self.need((0.0..=lr).contains(&min_lr), keys, || {
            format!("{low} must be between 0 and {peak} ({lr}), is {min_lr}")
        });
    }

    fn inherit(&mut self) {
        self.alone(|config, report| config.inherit.check_each(report));
        let choice = &self.config.inherit.layers;
        match choice {
            LayerChoice::Half | LayerChoice::Auto => {
                let n = self.config.model.n_layer;
                self.need(!self.trained_here() || n != 1, &["inherit.layers", "model.n_layer"], || {
                    let word = if *choice == LayerChoice::Half { "half" } else { "auto" };
                    format!("inherit.layers = {word:?} needs a reference of at least 2 layers, model.n_layer is 1")
                });
            }
            LayerChoice::Range(range) if range.layers().len() > MOST_LAYERS => {
                let (kind, text) = (Kind::Layers, range.text());
                self.places.problem(
                    &["inherit.layers"],
                    format!("inherit.layers must be {kind}, is {text:?}"),
                );
            }
            LayerChoice::Range(range) => self.layer_list(&range.layers().collect::<Vec<_>>()),
            LayerChoice::First(n) => {
                self.need_alone(*n >= 1, "inherit.layers", || {
                    format!("inherit.layers must be at least 1, is {n}")
                });
                self.fewer_than_reference(*n);
            }
            LayerChoice::List(list) => self.layer_list(list),
            LayerChoice::Spread(n) | LayerChoice::Measured(_, n) => {
                self.need_alone(*n >= 1, "inherit.layers", || {
                    format!("inherit.layers must keep at least 1 layer, keeps {n}")
                });
                self.fewer_than_reference(*n);
            }
        }
    }

    fn fewer_than_reference(&mut self, n: usize) {
        let all = self.config.model.n_layer;
        let keys = ["inherit.layers", "model.n_layer"];
        self.need(!self.trained_here() || n < all, &keys, || {
            format!("inherit.layers must be fewer than the reference's {all}, is {n}")
        });
    }

    fn layer_list(&mut self, list: &[usize]) {
        self.need(!list.is_empty(), &["inherit.layers"], || {
            "inherit.layers is an empty list; name at least one layer".into()
        });
        let all = self.config.model.n_layer;
        if list.len() > MOST_LAYERS {
            let n = list.len();
            self.places.bad(
                "inherit.layers",
                format!("inherit.layers must name at most {MOST_LAYERS} layers, names {n}"),
            );
            return;
        }
        let mut in_range = true;
        for (i, layer) in list.iter().enumerate() {
            self.need(!list[..i].contains(layer), &["inherit.layers"], || {
                format!("inherit.layers names layer {layer} twice")
            });
            let fine = !self.trained_here() || *layer < all;
            in_range &= fine;
            self.need(fine, &["inherit.layers", "model.n_layer"], || {
                format!(
                    "inherit.layers: no layer {layer} in a reference of {all} (they count from 0)"
                )
            });
        }
        if in_range {
            self.fewer_than_reference(list.len());
        }
    }

    fn train(&mut self) {
        self.alone(|config, report| config.train.check_each(report));
        self.batch();
        let train = &self.config.train;
        if let Some(min_lr) = train.min_lr {
            self.lowest_rate(&["train.min_lr", "train.lr"], min_lr, train.lr);
        }
        self.need(
            train.warmup <= train.steps,
            &["train.warmup", "train.steps"],
            || {
                format!(
                    "train.warmup must be at most train.steps ({}), is {}",
                    train.steps, train.warmup
                )
            },
        );
    }

    fn batch(&mut self) {
        let train = &self.config.train;
        let window = self.window();
        let context = self.config.model.context_length;
        let fits = !self.trained_here() || train.context_length <= context;
        self.need_alone(fits, "train.context_length", || {
            format!(
                "train.context_length must be at most model.context_length ({context}), is {}",
                train.context_length
            )
        });
        let Some((key, context)) = window.filter(|(_, n)| *n > 0) else {
            return;
        };
        let context = context as u64;
        let keys = ["train.batch_tokens", key];
        let whole = train.batch_tokens.is_multiple_of(context);
        self.need(whole, &keys, || {
            format!(
                "train.batch_tokens must be a multiple of {key} ({context}), is {}",
                train.batch_tokens
            )
        });
        let windows = train.batch_tokens / context;
        let micro = train.micro_batch as u64;
        let keys = ["train.micro_batch", "train.batch_tokens", key];
        self.need(
            !whole || micro == 0 || windows.is_multiple_of(micro),
            &keys,
            || {
                format!(
                    "train.micro_batch must divide the {windows} windows of a batch, is {micro}"
                )
            },
        );
    }

    /// Checks `[eval]` and `[probe]`.
    fn measures(&mut self) {
        self.alone(|config, report| config.eval.check_each(report));
        self.alone(|config, report| config.probe.check_each(report));
        let probe = &self.config.probe;
        let (key, context) = self
            .window()
            .unwrap_or(("train.context_length", usize::MAX));
        self.need(probe.length <= context, &["probe.length", key], || {
            format!(
                "probe.length must be at most {key} ({context}), is {}",
                probe.length
            )
        });
    }

    /// Checks `[grow]` and `[match]`.
    fn growth(&mut self) {
        self.alone(|config, report| config.grow.check_each(report));
        let grow = &self.config.grow;
        let all = self.config.model.n_layer;
        if grow.max_layers > 0 && self.trained_here() {
            let first = self.config.inherit.layers.of(all).len();
            let keys = ["grow.max_layers", "inherit.layers", "model.n_layer"];
            let fine = (first..=all).contains(&grow.max_layers) || first > all;
            self.need(fine, &keys, || {
                format!(
                    "grow.max_layers must be 0 or between the {first} inherited layers and the reference's {all}, is {}",
                    grow.max_layers
                )
            });
        }
        self.alone(|config, report| config.matching.check_each(report));
    }

    /// Checks the sections whose values do not depend on each other.
    fn rest(&mut self) {
        self.alone(|config, report| config.policy.check_each(report));
        self.alone(|config, report| config.control.check_each(report));
        self.alone(|config, report| config.checkpoint.check_each(report));
        self.alone(|config, report| config.notify.check_each(report));
        self.alone(|config, report| config.dist.check_each(report));
    }
}
