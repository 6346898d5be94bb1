//! Reads a config: text to keys with their places, overrides on top, then types, then [values](super::check).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, TableLike, Value};

use super::keys::{self, Key, Kind, Need};
use super::{BUILTIN, Config, ConfigError, check, presets};

/// Where a config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(PathBuf),
    /// A preset that is part of the program.
    Text {
        name: String,
        text: String,
    },
}

impl Source {
    /// A preset's name, or a path to a TOML file.
    ///
    /// # Errors
    /// When it is neither; the message lists the presets.
    pub fn named(word: &str) -> Result<Self, ConfigError> {
        if let Some(preset) = presets().iter().find(|p| p.name == word) {
            return Ok(Self::Text {
                name: preset.name.into(),
                text: preset.text.into(),
            });
        }
        let path = PathBuf::from(word);
        if path.is_file() {
            return Ok(Self::Path(path));
        }
        let names: Vec<&str> = presets().iter().map(|p| p.name).collect();
        let hint = match keys::best(word, names.iter().copied(), 0.6) {
            Some(near) => format!("did you mean the preset {near}?"),
            None => format!("presets are {}", names.join(", ")),
        };
        Err(ConfigError::one(format!(
            "{word} is neither a config file nor a preset; {hint}"
        )))
    }

    /// What messages call it.
    fn label(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Text { name, .. } => format!("preset {name}"),
        }
    }
}

/// A config that has passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// Absolute directory that relative paths in the config start from.
    pub base: PathBuf,
    /// The preset's name: the file's stem.
    pub name: String,
}

/// Reads, overrides (`section.key=value` each) and checks a config.
///
/// Variables in paths are expanded; paths of overrides start from the working directory, those of the file from the
/// file's (see [`resolve_paths`](super::resolve_paths)).
///
/// # Errors
/// Every problem that was found, one a line, with file and line or the override it is about.
pub fn load(source: &Source, overrides: &[String]) -> Result<Loaded, ConfigError> {
    let cwd = std::env::current_dir().unwrap_or_default();
    load_with(source, overrides, &cwd, &|name| std::env::var(name).ok())
}

/// [`load`] with the working directory and the environment given.
pub(super) fn load_with(
    source: &Source,
    overrides: &[String],
    cwd: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let label = source.label();
    let (text, base, name) = match source {
        Source::Text { name, text } => (text.clone(), cwd.to_path_buf(), name.clone()),
        Source::Path(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::one(format!("cannot read {label}: {e}")))?;
            let full = cwd.join(path);
            let base = full.parent().unwrap_or(cwd).to_path_buf();
            let stem = path.file_stem().unwrap_or_default();
            (text, base, stem.to_string_lossy().into_owned())
        }
    };
    let mut draft = Draft::read(&label, &text)?;
    for raw in overrides {
        draft.set(raw, cwd);
    }
    draft.expand_paths(env);
    draft.check_types();
    draft.require();
    let config = draft.build()?;
    check::values(&config, &mut draft.places);
    draft.places.finish()?;
    Ok(Loaded { config, base, name })
}

/// Where each given key was given, and what is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// File label; empty when a config did not come from a file.
    label: String,
    at: BTreeMap<String, Place>,
    /// Keys that are wrong already: nothing more is said about them.
    bad: BTreeSet<String>,
    problems: Vec<(usize, String)>,
}

#[derive(Debug, Clone)]
enum Place {
    Line(usize),
    /// The key of a `--set`.
    Set(String),
}

impl Places {
    /// Whether the file or an override gives this key or section.
    pub fn given(&self, path: &str) -> bool {
        self.at.contains_key(path)
    }

    /// Notes a problem with the first of `keys` that was given, unless one of them is known to be wrong already.
    pub fn problem(&mut self, keys: &[&str], message: impl std::fmt::Display) {
        if keys.iter().any(|k| self.bad.contains(*k)) {
            return;
        }
        let sections = keys.iter().filter_map(|k| k.rsplit_once('.'));
        let place = keys
            .iter()
            .find_map(|k| self.at.get(*k))
            .or_else(|| {
                sections
                    .into_iter()
                    .find_map(|(section, _)| self.at.get(section))
            })
            .cloned();
        self.say(place.as_ref(), message);
    }

    fn say(&mut self, place: Option<&Place>, message: impl std::fmt::Display) {
        let (order, text) = match place {
            Some(Place::Line(n)) => (*n, format!("{}:{n}: {message}", self.label)),
            Some(Place::Set(key)) => (usize::MAX - 1, format!("--set {key}=...: {message}")),
            None if self.label.is_empty() => (usize::MAX, message.to_string()),
            None => (usize::MAX, format!("{}: {message}", self.label)),
        };
        self.problems.push((order, text));
    }

    /// Notes a problem with a key and keeps later ones that involve it quiet.
    pub fn bad(&mut self, path: &str, message: impl std::fmt::Display) {
        self.problem(&[path], message);
        self.bad.insert(path.into());
    }

    /// # Errors
    /// When there are problems, in the order of their lines.
    pub fn finish(&mut self) -> Result<(), ConfigError> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|(order, _)| *order);
        let problems: Vec<String> = problems.into_iter().map(|(_, text)| text).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { problems })
        }
    }
}

/// The keys that were given, before they are a config.
struct Draft {
    values: BTreeMap<&'static str, Value>,
    places: Places,
}

impl Draft {
    fn read(label: &str, text: &str) -> Result<Self, ConfigError> {
        let line = |span: Option<std::ops::Range<usize>>| {
            let before = text.get(..span.map_or(0, |s| s.start)).unwrap_or(text);
            before.bytes().filter(|&b| b == b'\n').count() + 1
        };
        let document = Document::parse(text).map_err(|e| {
            let message = e.message().trim().replace('\n', "; ");
            ConfigError::one(format!("{label}:{}: {message}", line(e.span())))
        })?;
        let mut draft = Self {
            values: BTreeMap::new(),
            places: Places {
                label: label.into(),
                ..Places::default()
            },
        };
        draft.read_table(document.as_table(), "", &line);
        Ok(draft)
    }

    fn read_table(
        &mut self,
        table: &dyn TableLike,
        parent: &str,
        line: &dyn Fn(Option<std::ops::Range<usize>>) -> usize,
    ) {
        for (name, item) in table.iter() {
            let path = match parent {
                "" => name.to_string(),
                parent => format!("{parent}.{name}"),
            };
            let span = table.key(name).and_then(toml_edit::Key::span);
            let place = Place::Line(line(span.or_else(|| item.span())));
            if let Some(key) = keys::find(&path) {
                self.places.at.insert(path.clone(), place);
                match item {
                    Item::Value(value) => drop(self.values.insert(key.path, value.clone())),
                    _ => self
                        .places
                        .bad(&path, format!("{path} must be {}, is a section", key.kind)),
                }
            } else if keys::is_section(&path) {
                self.places.at.insert(path.clone(), place);
                match item.as_table_like() {
                    Some(inner) => self.read_table(inner, &path, line),
                    None if item.is_array_of_tables() => {
                        self.places
                            .bad(&path, format!("[[{path}]] must be one section [{path}]"));
                    }
                    None => self
                        .places
                        .bad(&path, format!("{path} must be a section [{path}]")),
                }
            } else {
                let message = unknown(&path, item.is_table_like() || item.is_array_of_tables());
                self.places.say(Some(&place), message);
            }
        }
    }

    /// Applies one `section.key=value`.
    fn set(&mut self, raw: &str, cwd: &Path) {
        let Some((path, text)) = raw.split_once('=') else {
            let message = format!("--set {raw}: give it as section.key=value");
            self.places.problems.push((usize::MAX - 1, message));
            return;
        };
        let (path, text) = (path.trim(), text.trim());
        let place = Place::Set(path.into());
        let Some(key) = keys::find(path) else {
            self.places
                .say(Some(&place), unknown(path, keys::is_section(path)));
            return;
        };
        let mut value = match text.parse::<Value>() {
            // A word that happens to be a number or a date is still the text that was asked for.
            Ok(value) if value.is_str() || !matches!(key.kind, Kind::Text | Kind::OneOf(_)) => {
                value
            }
            _ => Value::from(text),
        };
        if is_path(key)
            && let Some(given) = value.as_str()
            && ![BUILTIN, "$", "/"]
                .iter()
                .any(|start| given.starts_with(start))
            && !given.is_empty()
        {
            let cwd = cwd.display().to_string().replace('$', "$$");
            value = Value::from(format!("{cwd}/{given}"));
        }
        self.places.bad.remove(path);
        self.places.at.insert(path.into(), place.clone());
        if let (section, _) = key.parts()
            && !self.places.given(section)
        {
            self.places.at.insert(section.into(), place);
        }
        self.values.insert(key.path, value);
    }

    fn expand_paths(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for key in keys::KEYS.iter().filter(|k| is_path(k)) {
            let Some(text) = self.values.get(key.path).and_then(Value::as_str) else {
                continue;
            };
            match expand(text, env) {
                Ok(expanded) => drop(self.values.insert(key.path, Value::from(expanded))),
                Err(variable) => {
                    let path = key.path;
                    self.places.bad(
                        path,
                        format!(
                            "{path} needs the environment variable {variable}, which is not set; \
                             export it, or give --set {path}=PATH"
                        ),
                    );
                }
            }
        }
    }

    fn check_types(&mut self) {
        for (path, value) in &self.values {
            if let Some(key) = keys::find(path)
                && let Err(why) = fits(key, value)
            {
                self.places.bad(path, format!("{path} must be {why}"));
            }
        }
    }

    fn require(&mut self) {
        for key in keys::KEYS {
            let Need::Required(example) = key.need else {
                continue;
            };
            let (section, name) = key.parts();
            // Without the section there is no reference to train, which the check of values sees to.
            let asked = section != "reference.train" || self.places.given(section);
            if asked && !self.places.given(key.path) {
                self.places.bad(
                    key.path,
                    format!(
                        "missing {}; add {name} = {example} under [{section}]",
                        key.path
                    ),
                );
            }
        }
    }

    /// The config as given. Keys that are wrong take their default or example, so that the others can be checked.
    fn build(&mut self) -> Result<Config, ConfigError> {
        let mut root = toml::Table::new();
        for (section, _) in keys::SECTIONS {
            if self.places.given(section) || matches!(section, "data" | "reference" | "train") {
                insert(&mut root, section, toml::Value::Table(toml::Table::new()));
            }
        }
        for key in keys::KEYS {
            let good = match self.values.get(key.path) {
                Some(value) if !self.places.bad.contains(key.path) => plain(value),
                _ => None,
            };
            let stand_in = match key.need {
                Need::Required(example) if self.places.bad.contains(key.path) => {
                    example.parse::<Value>().ok().as_ref().and_then(plain)
                }
                _ => None,
            };
            if let Some(value) = good.or(stand_in) {
                insert(&mut root, key.path, value);
            }
        }
        root.try_into().map_err(|e: toml::de::Error| {
            let more = ConfigError::one(format!("{}: {}", self.places.label, e.message()));
            self.places.finish().err().unwrap_or(more)
        })
    }
}

fn unknown(path: &str, section: bool) -> String {
    if section && keys::is_section(path) {
        return format!("{path} is a section; name one of its keys");
    }
    if section {
        return match keys::nearest_section(path) {
            Some(near) => format!("unknown section [{path}]; did you mean [{near}]?"),
            None => format!("unknown section [{path}]"),
        };
    }
    match keys::nearest(path) {
        Some(near) => format!("unknown key {path}; did you mean {near}?"),
        None => format!("unknown key {path}"),
    }
}

fn is_path(key: &Key) -> bool {
    matches!(key.path, "data.train" | "data.val" | "reference.path")
}

/// What is expected and what was found, when a value has the wrong type.
fn fits(key: &Key, value: &Value) -> Result<(), String> {
    let number = |v: &Value| v.as_float().or_else(|| v.as_integer().map(|n| n as f64));
    let wrong = || Err(format!("{}, found {}", key.kind, found(value)));
    match key.kind {
        Kind::Count => match value.as_integer() {
            Some(0..) => Ok(()),
            Some(n) => Err(format!("a whole number of at least 0, is {n}")),
            None => wrong(),
        },
        Kind::Real => match number(value) {
            Some(x) if x.is_finite() => Ok(()),
            Some(x) => Err(format!("a finite number, is {x}")),
            None => wrong(),
        },
        Kind::Flag if value.is_bool() => Ok(()),
        Kind::Text if value.is_str() => Ok(()),
        Kind::Texts if list(value).is_some_and(|mut l| l.all(Value::is_str)) => Ok(()),
        Kind::Pair => match list(value).map(|l| l.map(number).collect::<Vec<_>>()) {
            Some(pair) if pair.len() == 2 && pair.iter().all(Option::is_some) => {
                match pair.iter().flatten().find(|x| !x.is_finite()) {
                    Some(x) => Err(format!("finite numbers, holds {x}")),
                    None => Ok(()),
                }
            }
            Some(list) => Err(format!("{}, found a list of {}", key.kind, list.len())),
            None => wrong(),
        },
        Kind::OneOf(names) => match value.as_str() {
            Some(word) if names.contains(&word) => Ok(()),
            Some(word) => {
                let hint = keys::best(word, names.iter().copied(), 0.6)
                    .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                Err(format!("{}, is {word:?}{hint}", key.kind))
            }
            None => wrong(),
        },
        Kind::Layers => {
            let index = |v: &Value| v.as_integer().is_some_and(|n| n >= 0);
            let fits = value.is_str()
                || index(value)
                || list(value).is_some_and(|mut layers| layers.all(index));
            if fits { Ok(()) } else { wrong() }
        }
        _ => wrong(),
    }
}

fn list(value: &Value) -> Option<impl Iterator<Item = &Value>> {
    value.as_array().map(toml_edit::Array::iter)
}

/// A value in words.
fn found(value: &Value) -> String {
    match value {
        Value::String(s) => format!("the text {:?}", s.value()),
        Value::Integer(n) => format!("the number {}", n.value()),
        Value::Float(x) => format!("the number {:?}", x.value()),
        Value::Boolean(b) => b.value().to_string(),
        Value::Datetime(_) => "a date".into(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::InlineTable(_) => "a section".into(),
    }
}

fn plain(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::String(s) => toml::Value::String(s.value().clone()),
        Value::Integer(n) => toml::Value::Integer(*n.value()),
        Value::Float(x) => toml::Value::Float(*x.value()),
        Value::Boolean(b) => toml::Value::Boolean(*b.value()),
        Value::Array(list) => toml::Value::Array(list.iter().map(plain).collect::<Option<_>>()?),
        Value::Datetime(_) | Value::InlineTable(_) => return None,
    })
}

fn insert(root: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        None => drop(root.insert(path.into(), value)),
        Some((section, rest)) => {
            let inner = root
                .entry(section)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(table) = inner {
                insert(table, rest, value);
            }
        }
    }
}

/// Replaces `$NAME` and `${NAME}` by the environment's values and `$$` by `$`; the name of a variable that is
/// not set is the error.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|a| a.split_once('}'));
        let plain = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let (name, left) = match braced {
            Some(braced) => braced,
            None => after.split_at(plain),
        };
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
            rest = after;
        } else {
            let value = env(name).filter(|v| !v.is_empty());
            out.push_str(&value.ok_or_else(|| name.to_string())?);
            rest = left;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{check, resolve_paths, to_toml};

    fn env(name: &str) -> Option<String> {
        match name {
            "HEIRLOOM_DATA" => Some("/data".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn text(text: &str) -> Source {
        Source::Text {
            name: "t".into(),
            text: text.into(),
        }
    }

    fn loaded(source: &Source, overrides: &[&str]) -> Result<Loaded, ConfigError> {
        let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
        load_with(source, &overrides, Path::new("/work"), &env)
    }

    /// The problems, without the `preset t` that all file places begin with.
    fn problems(source: &str, overrides: &[&str]) -> Vec<String> {
        match loaded(&text(source), overrides) {
            Ok(_) => Vec::new(),
            Err(e) => e
                .problems
                .iter()
                .map(|p| p.strip_prefix("preset t").unwrap_or(p).to_string())
                .collect(),
        }
    }

    const GOOD: &str = "\
data.train = 'builtin:tinyshakespeare'
[reference.train]
steps = 100
[train]
steps = 50
batch_tokens = 1024
lr = 1e-3
";

    #[test]
    fn a_small_config_takes_the_defaults() {
        let config = loaded(&text(GOOD), &[]).unwrap().config;
        assert_eq!(config.train.steps, 50);
        assert_eq!(config.train.betas, [0.9, 0.95]);
        assert_eq!(config.model.n_layer, 8);
        assert_eq!(config.reference.train.unwrap().lr, None);
    }

    /// Each override makes one value wrong; the message must be exactly this one.
    #[test]
    fn every_wrong_value_is_told_in_its_own_words() {
        for (set, message) in [
            (
                "model.family=llama",
                "model.family must be one of gpt2, is \"llama\"",
            ),
            ("model.n_layer=0", "model.n_layer must be at least 1, is 0"),
            (
                "model.n_layer=5000",
                "model.n_layer must be at most 1000, is 5000",
            ),
            ("model.n_head=0", "model.n_head must be at least 1, is 0"),
            (
                "model.n_head=3",
                "model.n_head must divide model.n_embd: 3 heads, width 128",
            ),
            (
                "model.n_head=128",
                "model.n_embd / model.n_head must be even, is 1",
            ),
            ("model.n_embd=0", "model.n_embd must be at least 1, is 0"),
            (
                "model.context_length=0",
                "model.context_length must be at least 1, is 0",
            ),
            (
                "model.vocab=256",
                "model.vocab must be 0 or at least 257 for the byte tokenizer, is 256",
            ),
            (
                "model.bias=1",
                "model.bias must be true or false, found the number 1",
            ),
            ("data.train=", "data.train is empty"),
            (
                "data.train=builtin:x",
                "data.train: no builtin text \"x\"; there is builtin:tinyshakespeare",
            ),
            (
                "data.val_fraction=0",
                "data.val_fraction must be between 0 and 1 (both excluded), is 0",
            ),
            (
                "data.val_fraction=1.0",
                "data.val_fraction must be between 0 and 1 (both excluded), is 1",
            ),
            (
                "data.tokenizer=gpt-2",
                "data.tokenizer must be one of byte, gpt2, is \"gpt-2\"; did you mean \"gpt2\"?",
            ),
            (
                "data.train=$NOPE/a",
                "data.train needs the environment variable NOPE, which is not set; export it, or give --set data.train=PATH",
            ),
            (
                "data.train=${EMPTY}/a",
                "data.train needs the environment variable EMPTY, which is not set; export it, or give --set data.train=PATH",
            ),
            (
                "reference.path=/m",
                "reference.path and [reference.train] exclude each other; keep one",
            ),
            (
                "reference.train.steps=0",
                "reference.train.steps must be at least 1, is 0",
            ),
            (
                "reference.train.lr=0",
                "reference.train.lr must be above 0, is 0",
            ),
            (
                "reference.train.min_lr=1",
                "reference.train.min_lr must be between 0 and reference.train.lr (0.001), is 1",
            ),
            (
                "reference.train.warmup=101",
                "reference.train.warmup must be at most reference.train.steps (100), is 101",
            ),
            (
                "reference.train.schedule=cosin",
                "reference.train.schedule must be one of cosine, linear, constant, wsd, is \"cosin\"; did you mean \"cosine\"?",
            ),
            (
                "inherit.layers=auto",
                "inherit.layers = \"auto\" comes later; give a number",
            ),
            (
                "inherit.layers=all",
                "inherit.layers must be \"half\", a number of layers or a list of layer indices, is \"all\"",
            ),
            (
                "inherit.layers=0",
                "inherit.layers must be at least 1, is 0",
            ),
            (
                "inherit.layers=8",
                "inherit.layers must be fewer than the reference's 8, is 8",
            ),
            (
                "inherit.layers=[]",
                "inherit.layers is an empty list; name at least one layer",
            ),
            (
                "inherit.layers=[0, 0]",
                "inherit.layers names layer 0 twice",
            ),
            (
                "inherit.layers=[0, 8]",
                "inherit.layers: no layer 8 in a reference of 8 (they count from 0)",
            ),
            (
                "inherit.layers=[0, -1]",
                "inherit.layers must be \"half\", a number of layers or a list of layer indices, found a list of 2",
            ),
            (
                "inherit.layers=1.5",
                "inherit.layers must be \"half\", a number of layers or a list of layer indices, found the number 1.5",
            ),
            (
                "inherit.what=[]",
                "inherit.what is empty; name some of attention, mlp, norms, embeddings, positions, final_norm, head",
            ),
            (
                "inherit.what=['atention']",
                "inherit.what: unknown part \"atention\"; did you mean \"attention\"?",
            ),
            (
                "inherit.what=['mlp', 'mlp']",
                "inherit.what names \"mlp\" twice",
            ),
            (
                "inherit.what=mlp",
                "inherit.what must be a list of texts, found the text \"mlp\"",
            ),
            ("train.steps=0", "train.steps must be at least 1, is 0"),
            (
                "train.steps=-3",
                "train.steps must be a whole number of at least 0, is -3",
            ),
            (
                "train.steps=1e3",
                "train.steps must be a whole number, found the number 1000.0",
            ),
            (
                "train.steps=many",
                "train.steps must be a whole number, found the text \"many\"",
            ),
            (
                "train.steps=2020-01-01",
                "train.steps must be a whole number, found a date",
            ),
            (
                "train.batch_tokens=0",
                "train.batch_tokens must be at least 1, is 0",
            ),
            (
                "train.batch_tokens=1000",
                "train.batch_tokens must be a multiple of model.context_length (128), is 1000",
            ),
            (
                "train.micro_batch=3",
                "train.micro_batch must divide the 8 windows of a batch, is 3",
            ),
            ("train.lr=0", "train.lr must be above 0, is 0"),
            ("train.lr=nan", "train.lr must be a finite number, is NaN"),
            ("train.lr=inf", "train.lr must be a finite number, is inf"),
            (
                "train.lr=fast",
                "train.lr must be a number, found the text \"fast\"",
            ),
            (
                "train.warmup=51",
                "train.warmup must be at most train.steps (50), is 51",
            ),
            (
                "train.schedule=step",
                "train.schedule must be one of cosine, linear, constant, wsd, is \"step\"",
            ),
            (
                "train.betas=[0.9, 1.0]",
                "train.betas must be at least 0 and below 1, holds 1",
            ),
            (
                "train.betas=[0.9, nan]",
                "train.betas must be finite numbers, holds NaN",
            ),
            (
                "train.betas=[0.9]",
                "train.betas must be a list of two numbers, found a list of 1",
            ),
            (
                "train.betas=0.9",
                "train.betas must be a list of two numbers, found the number 0.9",
            ),
            (
                "train.weight_decay=-1",
                "train.weight_decay must be at least 0, is -1",
            ),
            ("train.clip=-0.5", "train.clip must be at least 0, is -0.5"),
            (
                "train.dtype=bf16",
                "train.dtype = \"bf16\" is not supported yet; use \"f32\"",
            ),
            ("train.dtype=f8", "train.dtype must be \"f32\", is \"f8\""),
            (
                "train.log_every=0",
                "train.log_every must be at least 1, is 0",
            ),
            ("eval.every=0", "eval.every must be at least 1, is 0"),
            ("eval.windows=1", "eval.windows must be at least 2, is 1"),
            (
                "probe.budget=1.5",
                "probe.budget must be between 0 and 1, is 1.5",
            ),
            ("probe.windows=0", "probe.windows must be at least 1, is 0"),
            ("probe.length=1", "probe.length must be at least 2, is 1"),
            (
                "probe.length=129",
                "probe.length must be at most model.context_length (128), is 129",
            ),
            (
                "probe.tau=0",
                "probe.tau must be above 0 and at most 1, is 0",
            ),
            (
                "probe.tau=1.1",
                "probe.tau must be above 0 and at most 1, is 1.1",
            ),
            ("grow.step=0", "grow.step must be at least 1, is 0"),
            (
                "grow.mode=keeep",
                "grow.mode must be one of restart, keep, is \"keeep\"; did you mean \"keep\"?",
            ),
            (
                "grow.max_layers=3",
                "grow.max_layers must be 0 or between the 4 inherited layers and the reference's 8, is 3",
            ),
            (
                "grow.max_layers=9",
                "grow.max_layers must be 0 or between the 4 inherited layers and the reference's 8, is 9",
            ),
            (
                "match.tolerance=-inf",
                "match.tolerance must be a finite number, is -inf",
            ),
            (
                "match.patience=0",
                "match.patience must be at least 1, is 0",
            ),
            (
                "policy.mode=never",
                "policy.mode must be one of ask, pause, auto, is \"never\"",
            ),
            (
                "policy.max_hours=-1",
                "policy.max_hours must be at least 0, is -1",
            ),
            (
                "control.random=yes",
                "control.random must be true or false, found the text \"yes\"",
            ),
            (
                "checkpoint.keep=0",
                "checkpoint.keep must be at least 1, is 0",
            ),
            (
                "train.stpes=5",
                "unknown key train.stpes; did you mean train.steps?",
            ),
            ("train=5", "train is a section; name one of its keys"),
            ("zzz=5", "unknown key zzz"),
        ] {
            let key = set.split('=').next().unwrap();
            assert_eq!(
                problems(GOOD, &[set]),
                [format!("--set {key}=...: {message}")],
                "{set}"
            );
        }
        assert_eq!(
            problems(GOOD, &["lr"]),
            ["--set lr: give it as section.key=value"]
        );
    }

    #[test]
    fn good_values_pass() {
        for set in [
            "inherit.layers=4",
            "inherit.layers=[0, 2, 5]",
            "inherit.what=[\"mlp\"]",
            "grow.max_layers=8",
            "grow.max_layers=4",
            "train.micro_batch=4",
            "train.lr=3e-4",
            "train.weight_decay=0",
            "model.vocab=320",
            "probe.budget=0",
            "match.tolerance=-0.01",
            "checkpoint.every=0",
            "policy.mode=pause",
            "train.min_lr=0",
        ] {
            assert_eq!(problems(GOOD, &[set]), Vec::<String>::new(), "{set}");
        }
        // A share is not needed where there is a validation text.
        assert_eq!(
            problems(GOOD, &["data.val=v.txt", "data.val_fraction=0"]),
            Vec::<String>::new()
        );
        // A loaded reference brings its own shape.
        let loaded = "[data]\ntrain='a'\n[reference]\npath='m'\n[inherit]\nlayers=12\n[train]\nsteps=1\nbatch_tokens=1000\nlr=1\n";
        assert_eq!(problems(loaded, &[]), Vec::<String>::new());
    }

    #[test]
    fn problems_of_the_file_are_told_together_with_their_lines() {
        let file = "\
[data]
train = 5
[reference.train]
stpes = 100
[trian]
steps = 50
[train]
batch_tokens = 1000
lr = -1.0
warmup = 1
[grow]
step = 0
[[probe]]
";
        assert_eq!(
            problems(file, &["eval.windows=1"]),
            [
                ":2: data.train must be a text in quotes, found the number 5",
                ":3: missing reference.train.steps; add steps = 1000 under [reference.train]",
                ":4: unknown key reference.train.stpes; did you mean reference.train.steps?",
                ":5: unknown section [trian]; did you mean [train]?",
                ":7: missing train.steps; add steps = 200 under [train]",
                ":8: train.batch_tokens must be a multiple of model.context_length (128), is 1000",
                ":9: train.lr must be above 0, is -1",
                ":12: grow.step must be at least 1, is 0",
                ":13: [[probe]] must be one section [probe]",
                "--set eval.windows=...: eval.windows must be at least 2, is 1",
            ]
        );
    }

    #[test]
    fn missing_parts_say_what_to_add() {
        assert_eq!(
            problems("", &[]),
            [
                ": missing data.train; add train = \"corpus.txt\" under [data]",
                ": missing train.steps; add steps = 200 under [train]",
                ": missing train.batch_tokens; add batch_tokens = 1024 under [train]",
                ": missing train.lr; add lr = 1e-3 under [train]",
                ": missing reference; add [reference.train] with steps = 1000, or path = \"DIR\" of a checkpoint under [reference]",
            ]
        );
        assert_eq!(problems("x = [", &[]).len(), 1);
        let said = &problems("[train]\nsteps = \n", &[])[0];
        assert!(said.starts_with(":2: "), "{said}");
        let said = problems("train = 3\n[reference]\ntrain = 4\n", &[]);
        assert!(
            said.contains(&":1: train must be a section [train]".into()),
            "{said:?}"
        );
        assert!(said.contains(&":3: reference.train must be a section [reference.train]".into()));
        let said = problems(
            &GOOD.replace("lr = 1e-3", "lr = 1e-3\n[train.seed]\na = 1"),
            &[],
        );
        assert_eq!(
            said,
            [":8: train.seed must be a whole number, is a section"]
        );
    }

    #[test]
    fn combinations_point_at_the_value_that_was_given() {
        let file = GOOD.to_string() + "[model]\ncontext_length = 64\n";
        assert_eq!(
            problems(&file, &[]),
            [":9: probe.length must be at most model.context_length (64), is 100"]
        );
        let said = problems(GOOD, &["train.min_lr=1"]);
        assert_eq!(
            said[0],
            "--set train.min_lr=...: train.min_lr must be between 0 and train.lr (0.001), is 1"
        );
    }

    #[test]
    fn overrides_beat_the_file_and_the_last_one_wins() {
        let sets = [
            "train.lr=3e-4",
            "train.steps=7",
            "train.steps = 8",
            "grow.mode=keep",
            "inherit.layers=[1,2]",
        ];
        let config = loaded(&text(GOOD), &sets).unwrap().config;
        assert_eq!((config.train.lr, config.train.steps), (3e-4, 8));
        assert_eq!(config.grow.mode, crate::run::command::GrowMode::Keep);
        assert_eq!(config.inherit.layers.of(8), [1, 2]);
        // An override mends a wrong value of the file.
        assert_eq!(
            problems(&GOOD.replace("lr = 1e-3", "lr = 'x'"), &["train.lr=1"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn paths_expand_and_become_absolute() {
        let file = GOOD.replace("builtin:tinyshakespeare", "texts/a.txt");
        let sets = ["data.val=$HEIRLOOM_DATA/v.txt"];
        let Loaded { mut config, .. } = loaded(&text(&file), &sets).unwrap();
        resolve_paths(&mut config, Path::new("/base"));
        assert_eq!(config.data.train, "/base/texts/a.txt");
        assert_eq!(config.data.val.as_deref(), Some("/data/v.txt"));
        // What is typed at a shell starts from where it is typed.
        let config = loaded(&text(GOOD), &["data.train=5"]).unwrap().config;
        assert_eq!(config.data.train, "/work/5");
        let mut config = loaded(&text(GOOD), &[]).unwrap().config;
        resolve_paths(&mut config, Path::new("/base"));
        assert_eq!(config.data.train, "builtin:tinyshakespeare");
    }

    #[test]
    fn variables_expand_in_both_spellings() {
        let said = |text: &str| expand(text, &env);
        assert_eq!(said("$HEIRLOOM_DATA/x").unwrap(), "/data/x");
        assert_eq!(said("${HEIRLOOM_DATA}s/x").unwrap(), "/datas/x");
        assert_eq!(said("a$$HEIRLOOM_DATA").unwrap(), "a$HEIRLOOM_DATA");
        assert_eq!(said("100$ $5 $").unwrap(), "100$ $5 $");
        assert_eq!(said("$NOPE"), Err("NOPE".into()));
    }

    #[test]
    fn a_written_config_reads_back_the_same() {
        let presets = presets().iter().map(|p| Source::named(p.name).unwrap());
        let odd = text(&GOOD.replace("builtin:tinyshakespeare", "/odd $$HOME/\u{e4} \\ text"));
        for source in presets.chain([odd, text(GOOD)]) {
            let Loaded {
                mut config, base, ..
            } = loaded(&source, &["train.min_lr=1e-5"]).unwrap();
            resolve_paths(&mut config, &base);
            let written = to_toml(&config);
            assert!(written.starts_with("# The resolved config of a run, written by heirloom 0."));
            let again = loaded(&text(&written), &[]).unwrap().config;
            assert_eq!(again, config);
            assert_eq!(check(&again), Ok(()));
        }
    }

    #[test]
    fn presets_load_by_name_and_files_by_path() {
        let tiny = loaded(&Source::named("tiny").unwrap(), &[]).unwrap();
        assert_eq!(
            (tiny.name.as_str(), tiny.config.grow.max_layers),
            ("tiny", 6)
        );
        let books = loaded(&Source::named("books").unwrap(), &[])
            .unwrap()
            .config;
        assert_eq!(books.data.train, "/data/books/train.txt");
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("mine.toml");
        std::fs::write(&path, GOOD.replace("50", "0")).unwrap();
        let source = Source::named(&path.display().to_string()).unwrap();
        let said = loaded(&source, &[]).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("{}:5: train.steps must be at least 1, is 0", path.display())
        );
        std::fs::write(&path, GOOD).unwrap();
        let mine = loaded(&source, &[]).unwrap();
        assert_eq!(
            (mine.name.as_str(), mine.base.as_path()),
            ("mine", tmp.path())
        );
        let said = Source::named("tinny").unwrap_err().to_string();
        assert_eq!(
            said,
            "tinny is neither a config file nor a preset; did you mean the preset tiny?"
        );
        let said = Source::named("none.toml").unwrap_err().to_string();
        assert!(said.ends_with("presets are tiny, books"), "{said}");
        let gone = Source::Path("/nowhere/x.toml".into());
        assert!(
            loaded(&gone, &[])
                .unwrap_err()
                .to_string()
                .starts_with("cannot read /nowhere/x.toml: ")
        );
    }

    #[test]
    fn a_config_changed_in_memory_is_checked_without_places() {
        let mut config = loaded(&text(GOOD), &[]).unwrap().config;
        config.grow.step = 0;
        config.train.lr = f64::NAN;
        let said = check(&config).unwrap_err().to_string();
        assert_eq!(
            said,
            "train.lr must be above 0, is NaN\ngrow.step must be at least 1, is 0"
        );
    }
}
