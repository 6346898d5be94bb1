//! Checks of single values, which sections name where they declare their keys.
//!
//! A rule is a function of a key's path and its value; it returns the problems, a sentence each.

use super::values::{BUILTIN, BUILTIN_TEXTS, Texts, TrainTexts};
use crate::run::command::{LONGEST_PROMPT, LONGEST_TASK, MOST_TASKS};

/// Bounds against typing errors, which also keep memory and sums from overflowing.
pub const MOST_BATCH_TOKENS: u64 = 1 << 30;
pub const MOST_WINDOWS: u64 = 1_000_000;
/// Largest sizes that are not a typing error.
pub const MOST_LAYERS: usize = 1000;
pub const MOST_KEPT: u64 = 1_000_000;
pub const MOST_SAMPLES: usize = 16;
pub const WIDEST: u64 = 1 << 17;
pub const LONGEST: u64 = 1 << 20;
pub const MOST_TOKENS: u64 = 1 << 24;
/// The largest integer in TOML.
pub const LARGEST_INTEGER: u64 = i64::MAX as u64;

/// The problems of a value; empty if it is correct.
type Problems = Vec<String>;

/// Returns the problem if the condition is false.
fn unless(fine: bool, problem: impl FnOnce() -> String) -> Problems {
    match fine {
        true => Vec::new(),
        false => vec![problem()],
    }
}

/// An integer of any width.
pub trait Whole: Copy {
    /// Returns the number as `u64`, which holds it on every platform.
    fn as_u64(self) -> u64;
}

impl Whole for u32 {
    fn as_u64(self) -> u64 {
        self.into()
    }
}

impl Whole for u64 {
    fn as_u64(self) -> u64 {
        self
    }
}

impl Whole for usize {
    fn as_u64(self) -> u64 {
        self as u64
    }
}

/// Requires at least `least`.
pub fn at_least<T: Whole>(least: u64) -> impl Fn(&str, &T) -> Problems {
    move |key, value| {
        let value = value.as_u64();
        unless(value >= least, || {
            format!("{key} must be at least {least}, is {value}")
        })
    }
}

/// Requires at most `most`.
pub fn at_most<T: Whole>(most: u64) -> impl Fn(&str, &T) -> Problems {
    move |key, value| {
        let value = value.as_u64();
        unless(value <= most, || {
            format!("{key} must be at most {most}, is {value}")
        })
    }
}

/// Requires at least `least`, and at most a bound that only a typing error exceeds.
pub fn count<T: Whole>(least: u64, most: u64) -> impl Fn(&str, &T) -> Problems {
    move |key, value| [at_least(least)(key, value), at_most(most)(key, value)].concat()
}

/// Requires a number of at least `least`.
pub fn from(least: f64) -> impl Fn(&str, &f64) -> Problems {
    move |key, &value| {
        unless(value.is_finite() && value >= least, || {
            format!("{key} must be at least {least}, is {value}")
        })
    }
}

/// Requires a number above 0.
pub fn above_zero(key: &str, &value: &f64) -> Problems {
    unless(value.is_finite() && value > 0.0, || {
        format!("{key} must be above 0, is {value}")
    })
}

/// Requires a finite number.
pub fn finite(key: &str, value: &f64) -> Problems {
    unless(value.is_finite(), || {
        format!("{key} must be a finite number, is {value}")
    })
}

/// Requires a share from 0 to 1.
pub fn share(key: &str, value: &f64) -> Problems {
    unless((0.0..=1.0).contains(value), || {
        format!("{key} must be between 0 and 1, is {value}")
    })
}

/// Requires a share above 0.
pub fn positive_share(key: &str, &value: &f64) -> Problems {
    unless(value > 0.0 && value <= 1.0, || {
        format!("{key} must be above 0 and at most 1, is {value}")
    })
}

/// Requires the decay rate of an average.
pub fn below_one(key: &str, value: &f64) -> Problems {
    unless((0.0..1.0).contains(value), || {
        format!("{key} must be at least 0 and below 1, is {value}")
    })
}

/// Requires decay rates of averages.
pub fn decays(key: &str, values: &[f64; 2]) -> Problems {
    let wrong = values.iter().filter(|value| !(0.0..1.0).contains(*value));
    wrong
        .map(|value| format!("{key} must be at least 0 and below 1, holds {value}"))
        .collect()
}

/// Applies a rule to a value that may be absent.
pub fn given<T>(rule: impl Fn(&str, &T) -> Problems) -> impl Fn(&str, &Option<T>) -> Problems {
    move |key, value| value.as_ref().map_or(Vec::new(), |value| rule(key, value))
}

/// Requires the name of a field of rows.
pub fn field(key: &str, name: &impl AsRef<str>) -> Problems {
    unless(!name.as_ref().is_empty(), || {
        format!("{key} is empty; name a field of the rows")
    })
}

/// Requires known names of tasks, each once.
pub fn tasks(key: &str, names: &impl AsRef<[String]>) -> Problems {
    let names = names.as_ref();
    let mut problems = unless(names.len() <= MOST_TASKS, || {
        format!("{key} names {} tasks, at most {MOST_TASKS}", names.len())
    });
    for (i, name) in names.iter().enumerate() {
        let fits = !name.is_empty() && name.chars().count() <= LONGEST_TASK;
        problems.extend(unless(fits, || {
            format!("{key} holds {name:?}, which cannot be the name of a task")
        }));
        problems.extend(unless(!names[..i].contains(name), || {
            format!("{key} names {name} twice")
        }));
    }
    problems
}

/// Requires texts that a model can continue.
pub fn samples(key: &str, texts: &impl AsRef<[String]>) -> Problems {
    let texts = texts.as_ref();
    let mut problems = unless(texts.len() <= MOST_SAMPLES, || {
        format!(
            "{key} has {} texts; at most {MOST_SAMPLES} are allowed",
            texts.len()
        )
    });
    for text in texts {
        let length = text.chars().count();
        problems.extend(unless((1..=LONGEST_PROMPT).contains(&length), || {
            format!("{key} holds a text of {length} characters: give 1 to {LONGEST_PROMPT}")
        }));
    }
    problems
}

/// Requires a path that is not empty.
pub fn path(key: &str, path: &impl AsRef<str>) -> Problems {
    unless(!path.as_ref().is_empty(), || {
        format!("{key} is empty; name a directory, or leave the key out")
    })
}

/// Requires the words of a command, with the program first.
pub fn command(key: &str, words: &[String]) -> Problems {
    let named = words.first().is_none_or(|word| !word.trim().is_empty());
    let is_text = !words.iter().any(|word| word.contains('\0'));
    let named = unless(named, || {
        format!(
            "{key} must begin with the program to run, its first word is empty; an empty list runs nothing"
        )
    });
    let is_text = unless(is_text, || {
        format!(
            "{key} contains the character U+0000, which a program's argument cannot contain; remove it"
        )
    });
    [named, is_text].concat()
}

/// Requires texts for validation.
pub fn texts(key: &str, texts: &Texts) -> Problems {
    inputs(key, texts.paths())
}

/// Requires texts for training.
pub fn train_texts(key: &str, texts: &TrainTexts) -> Problems {
    let paths: Vec<String> = texts
        .sources()
        .into_iter()
        .flat_map(|source| source.inputs)
        .collect();
    let good = |weight: f64| weight > 0.0 && weight.is_finite();
    let weighted = match texts {
        TrainTexts::Mixture(texts) => texts.iter().all(|text| good(text.weight)),
        _ => true,
    };
    let weights = unless(weighted, || format!("{key}: every weight must be above 0"));
    [inputs(key, &paths), weights].concat()
}

/// Requires at least one path or name of a text.
fn inputs(key: &str, inputs: &[String]) -> Problems {
    let mut problems = Vec::new();
    for input in inputs {
        if input.trim().is_empty() {
            problems.push(format!("{key} is empty"));
        }
        if let Some(name) = input.strip_prefix(BUILTIN)
            && !BUILTIN_TEXTS.contains(&name)
        {
            let known = BUILTIN_TEXTS.join(", ");
            problems.push(format!(
                "{key}: no builtin text {name:?}; there is {BUILTIN}{known}"
            ));
        }
    }
    if inputs.is_empty() {
        problems.push(format!("{key} is an empty list"));
    }
    problems
}
