//! What the values of a config must be, alone and together.

use super::keys;
use super::places::Places;
use super::schema::range;
use super::{
    BUILTIN, BUILTIN_TEXTS, Config, ConfigError, INHERITABLE, LayerChoice, ModelConfig, TOKENIZERS,
    Texts, TrainTexts, is_tokenizer_path,
};
use crate::model::Family;
use crate::run::command::MOST_STEPS;

/// Bounds against slips of the pen: memory and sums stay within what can be counted.
const MOST_BATCH_TOKENS: u64 = 1 << 30;
const MOST_WINDOWS: u64 = 1_000_000;

/// Checks a config that was put together or changed in memory.
///
/// # Errors
/// Every problem, one a line, without file and line.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let mut places = Places::default();
    values(config, &mut places);
    places.finish()
}

/// Notes every problem with the values.
pub(super) fn values(config: &Config, places: &mut Places) {
    let mut check = Check { config, places };
    check.model();
    check.data();
    check.inherit();
    check.train();
    check.reference();
    check.measures();
    check.growth();
    check.limits();
    check.notify();
}

/// Largest sizes that are not a typing error.
const MOST_LAYERS: usize = 1000;
const MOST_PARTS: usize = 100;
const MOST_KEPT: u64 = 1_000_000;
const WIDEST: usize = 1 << 17;
const LONGEST: usize = 1 << 20;
const MOST_TOKENS: usize = 1 << 24;

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

    /// Like [`Self::need`] of one key; when it fails, nothing more is said about how the key fits others.
    fn need_alone(&mut self, fine: bool, key: &str, message: impl FnOnce() -> String) {
        if !fine {
            self.places.bad(key, message());
        }
    }

    fn at_least(&mut self, key: &str, value: u64, least: u64) {
        self.need_alone(value >= least, key, || {
            format!("{key} must be at least {least}, is {value}")
        });
    }

    /// At least `least`, and below a bound that only a slip of the pen goes beyond.
    fn count(&mut self, key: &str, value: u64, least: u64, most: u64) {
        self.at_least(key, value, least);
        self.need_alone(value <= most, key, || {
            format!("{key} must be at most {most}, is {value}")
        });
    }

    fn size(&mut self, key: &str, value: usize, most: usize) {
        self.count(key, value as u64, 1, most as u64);
    }

    /// A finite number that is at least 0.
    fn not_negative(&mut self, key: &str, value: f64) {
        self.need(value.is_finite() && value >= 0.0, &[key], || {
            format!("{key} must be at least 0, is {value}")
        });
    }

    fn trained_here(&self) -> bool {
        self.config.reference.train.is_some()
    }

    /// The windows' length and the key that tells it; a loaded reference brings its own context.
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
        let model = &self.config.model;
        let families = [Family::Gpt2, Family::Llama].map(Family::name);
        let known = families.contains(&model.family.as_str());
        self.need(known, &["model.family"], || {
            format!(
                "model.family must be one of {}, is {:?}",
                families.join(", "),
                model.family
            )
        });
        self.family();
        self.size("model.n_layer", model.n_layer, MOST_LAYERS);
        self.size("model.n_head", model.n_head, WIDEST);
        self.size("model.n_embd", model.n_embd, WIDEST);
        self.size("model.context_length", model.context_length, LONGEST);
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
        self.need(model.n_inner <= 8 * WIDEST, &["model.n_inner"], || {
            format!(
                "model.n_inner must be at most {}, is {}",
                8 * WIDEST,
                model.n_inner
            )
        });
        let theta = model.rope_theta;
        self.need(
            theta.is_finite() && theta >= 1.0,
            &["model.rope_theta"],
            || format!("model.rope_theta must be at least 1, is {theta}"),
        );
        // What another tokenizer needs is known when it has been read.
        let tokens = match self.config.tokenizer() {
            "gpt2" => 50_257,
            "byte" => 257,
            _ => 0,
        };
        self.need(
            model.vocab == 0 || model.vocab >= tokens,
            &["model.vocab", "data.tokenizer"],
            || {
                format!(
                    "model.vocab must be 0 or at least {tokens} for the {} tokenizer, is {}",
                    self.config.tokenizer(),
                    model.vocab
                )
            },
        );
        self.need(model.vocab <= MOST_TOKENS, &["model.vocab"], || {
            format!(
                "model.vocab must be at most {MOST_TOKENS}, is {}",
                model.vocab
            )
        });
    }

    /// Keys that belong to one family alone.
    fn family(&mut self) {
        let model = &self.config.model;
        let others: &[&str] = match model.family.as_str() {
            "gpt2" => &["model.n_kv_head", "model.rope_theta"],
            "llama" => &["model.bias", "model.scale_attn_by_inverse_layer_idx"],
            _ => &[],
        };
        for key in others {
            let given = self.places.given(key);
            let default = match *key {
                "model.n_kv_head" => model.n_kv_head == 0,
                "model.rope_theta" => model.rope_theta == ModelConfig::default().rope_theta,
                "model.bias" => model.bias,
                _ => !model.scale_attn_by_inverse_layer_idx,
            };
            self.need_alone(!given || default, key, || {
                format!("{key} has no meaning for model.family = {:?}", model.family)
            });
        }
    }

    fn data(&mut self) {
        let data = &self.config.data;
        let train = data.train.sources();
        let train = train.iter().flat_map(|source| &source.inputs);
        let val = data.val.iter().flat_map(Texts::paths);
        let train = train.map(|text| ("data.train", text));
        let mut given = [false, data.val.is_none()];
        for (key, text) in train.chain(val.map(|text| ("data.val", text))) {
            given[usize::from(key == "data.val")] = true;
            self.need(!text.trim().is_empty(), &[key], || {
                format!("{key} is empty")
            });
            if let Some(name) = text.strip_prefix(BUILTIN) {
                self.need(BUILTIN_TEXTS.contains(&name), &[key], || {
                    let known = BUILTIN_TEXTS.join(", ");
                    format!("{key}: no builtin text {name:?}; there is {BUILTIN}{known}")
                });
            }
        }
        for (key, given) in ["data.train", "data.val"].into_iter().zip(given) {
            self.need(given, &[key], || format!("{key} is an empty list"));
        }
        if let TrainTexts::Mixture(texts) = &data.train {
            let good = |w: f64| w > 0.0 && w.is_finite();
            self.need(
                texts.iter().all(|t| good(t.weight)),
                &["data.train"],
                || "data.train: every weight must be above 0".into(),
            );
        }
        let field = data.text_field.as_deref();
        self.need(field != Some(""), &["data.text_field"], || {
            "data.text_field is empty; name a field of the rows".into()
        });
        let share = data.val_fraction;
        self.need(
            data.val.is_some() || (share > 0.0 && share < 1.0),
            &["data.val_fraction", "data.val"],
            || format!("data.val_fraction must be between 0 and 1 (both excluded), is {share}"),
        );
        let name = self.config.tokenizer();
        let keys = &["data.tokenizer"];
        let known = TOKENIZERS.contains(&name) || is_tokenizer_path(name);
        self.need(known, keys, || {
            let hint = keys::best(name, TOKENIZERS.iter().copied(), 0.6)
                .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            format!("data.tokenizer must be byte, gpt2, reference or a path, is {name:?}{hint}")
        });
        let loaded = self.config.reference.path.is_some();
        self.need(name != "reference" || loaded, keys, || {
            "data.tokenizer = \"reference\" needs reference.path; a reference that is trained here has no tokenizer of its own"
                .into()
        });
    }

    fn reference(&mut self) {
        let reference = &self.config.reference;
        let keys = ["reference.path", "reference.train"];
        match (&reference.path, &reference.train) {
            (None, None) => self.places.problem(&keys, "missing reference; add [reference.train] with steps = 1000, or path = \"DIR\" of a checkpoint under [reference]"),
            (Some(_), Some(_)) => self.places.problem(&keys, "reference.path and [reference.train] exclude each other; keep one"),
            (Some(path), None) => self.need(!path.trim().is_empty(), &keys, || "reference.path is empty".into()),
            (None, Some(_)) => {}
        }
        let Some(own) = &reference.train else { return };
        let round = &self.config.train;
        self.count("reference.train.steps", own.steps, 1, MOST_STEPS);
        let lr = own.lr.unwrap_or(round.lr);
        if own.lr.is_some() {
            self.rate("reference.train.lr", lr);
        }
        // When both come from [train], they are judged there.
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

    fn rate(&mut self, key: &str, lr: f64) {
        self.need_alone(lr.is_finite() && lr > 0.0, key, || {
            format!("{key} must be above 0, is {lr}")
        });
    }

    /// `keys[0]` is the lowest rate, `keys[1]` the peak.
    fn lowest_rate(&mut self, keys: &[&str], min_lr: f64, lr: f64) {
        let (low, peak) = (keys[0], keys[1]);
        self.need((0.0..=lr).contains(&min_lr), keys, || {
            format!("{low} must be between 0 and {peak} ({lr}), is {min_lr}")
        });
    }

    fn inherit(&mut self) {
        let inherit = &self.config.inherit;
        if inherit.what.len() > MOST_PARTS {
            let n = inherit.what.len();
            self.places.bad(
                "inherit.what",
                format!("inherit.what must name at most {MOST_PARTS} parts, names {n}"),
            );
            return;
        }
        self.need(!inherit.what.is_empty(), &["inherit.what"], || {
            format!(
                "inherit.what is empty; name some of {}",
                INHERITABLE.join(", ")
            )
        });
        for (i, part) in inherit.what.iter().enumerate() {
            let known = INHERITABLE.contains(&part.as_str());
            self.need(known, &["inherit.what"], || {
                match keys::best(part, INHERITABLE.into_iter(), 0.5) {
                    Some(near) => {
                        format!("inherit.what: unknown part {part:?}; did you mean {near:?}?")
                    }
                    None => format!(
                        "inherit.what: unknown part {part:?}; parts are {}",
                        INHERITABLE.join(", ")
                    ),
                }
            });
            self.need(!inherit.what[..i].contains(part), &["inherit.what"], || {
                format!("inherit.what names {part:?} twice")
            });
        }
        match &inherit.layers {
            LayerChoice::Named(word) if word == "half" || word == "auto" => {
                let n = self.config.model.n_layer;
                self.need(!self.trained_here() || n != 1, &["inherit.layers", "model.n_layer"], || {
                    format!("inherit.layers = {word:?} needs a reference of at least 2 layers, model.n_layer is 1")
                });
            }
            LayerChoice::Named(word) => match range(word) {
                Some((from, to)) if to - from <= MOST_LAYERS => {
                    self.layer_list(&(from..to).collect::<Vec<_>>());
                }
                _ => self.places.problem(
                    &["inherit.layers"],
                    format!("inherit.layers must be \"half\", \"auto\", a number of layers, a range \"a..b\" or a list of layer indices, is {word:?}"),
                ),
            },
            LayerChoice::First(n) => {
                self.at_least("inherit.layers", *n as u64, 1);
                self.fewer_than_reference(*n);
            }
            LayerChoice::List(list) => self.layer_list(list),
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
        let train = &self.config.train;
        self.count("train.steps", train.steps, 1, MOST_STEPS);
        self.batch();
        self.rate("train.lr", train.lr);
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
        for beta in train.betas {
            self.need((0.0..1.0).contains(&beta), &["train.betas"], || {
                format!("train.betas must be at least 0 and below 1, holds {beta}")
            });
        }
        self.not_negative("train.weight_decay", train.weight_decay);
        self.not_negative("train.clip", train.clip);
        let known = ["f32", "bf16"].contains(&train.dtype.as_str());
        self.need(known, &["train.dtype"], || {
            format!(
                "train.dtype must be \"f32\" or \"bf16\", is {:?}",
                train.dtype
            )
        });
        self.need(i64::try_from(train.seed).is_ok(), &["train.seed"], || {
            format!("train.seed must be at most {}, is {}", i64::MAX, train.seed)
        });
        self.at_least("train.log_every", train.log_every, 1);
    }

    fn batch(&mut self) {
        let train = &self.config.train;
        let window = self.window();
        self.need_alone(
            train.context_length <= LONGEST,
            "train.context_length",
            || {
                format!(
                    "train.context_length must be at most {LONGEST}, is {}",
                    train.context_length
                )
            },
        );
        let context = self.config.model.context_length;
        let fits = !self.trained_here() || train.context_length <= context;
        self.need_alone(fits, "train.context_length", || {
            format!(
                "train.context_length must be at most model.context_length ({context}), is {}",
                train.context_length
            )
        });
        self.count(
            "train.batch_tokens",
            train.batch_tokens,
            1,
            MOST_BATCH_TOKENS,
        );
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

    /// `[eval]`, `[probe]`.
    fn measures(&mut self) {
        let (eval, probe) = (&self.config.eval, &self.config.probe);
        self.at_least("eval.every", eval.every, 1);
        self.count("eval.windows", eval.windows as u64, 2, MOST_WINDOWS);
        self.need(
            (0.0..=1.0).contains(&probe.budget),
            &["probe.budget"],
            || format!("probe.budget must be between 0 and 1, is {}", probe.budget),
        );
        self.count("probe.windows", probe.windows as u64, 1, MOST_WINDOWS);
        self.at_least("probe.length", probe.length as u64, 2);
        let (key, context) = self
            .window()
            .unwrap_or(("train.context_length", usize::MAX));
        self.need(probe.length <= context, &["probe.length", key], || {
            format!(
                "probe.length must be at most {key} ({context}), is {}",
                probe.length
            )
        });
        self.need(probe.tau > 0.0 && probe.tau <= 1.0, &["probe.tau"], || {
            format!("probe.tau must be above 0 and at most 1, is {}", probe.tau)
        });
    }

    /// `[grow]`, `[match]`.
    fn growth(&mut self) {
        let (grow, matching) = (&self.config.grow, &self.config.matching);
        self.at_least("grow.step", grow.step as u64, 1);
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
        self.need(matching.tolerance.is_finite(), &["match.tolerance"], || {
            format!(
                "match.tolerance must be a finite number, is {}",
                matching.tolerance
            )
        });
        self.at_least("match.patience", matching.patience.into(), 1);
    }

    /// `[policy]`, `[checkpoint]`.
    fn limits(&mut self) {
        self.not_negative("policy.max_hours", self.config.policy.max_hours);
        let minutes = self.config.policy.unattended_minutes;
        self.not_negative("policy.unattended_minutes", minutes);
        let keep = self.config.checkpoint.keep as u64;
        self.count("checkpoint.keep", keep, 1, MOST_KEPT);
    }

    fn notify(&mut self) {
        let (command, key) = (&self.config.notify.command, "notify.command");
        let named = command.first().is_none_or(|word| !word.trim().is_empty());
        self.need(named, &[key], || {
            "notify.command must begin with the program to run, its first word is empty; an empty list runs nothing".into()
        });
        let is_text = !command.iter().any(|word| word.contains('\0'));
        self.need(is_text, &[key], || {
            "notify.command holds the character U+0000, which no program can be given".into()
        });
    }
}
