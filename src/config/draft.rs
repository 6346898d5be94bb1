//! The keys given by a file and overrides, with their places, before they become a config.

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::{Document, Item, TableLike, Value};

use super::keys::{self, Key, Kind, Need};
use super::places::{Place, Places};
use super::sections::{BASELINE, Config};
use super::types::{plain, problems};
use super::values::{self, TokenizerChoice, is_name};
use super::variables::{Expanded, Unexpanded, expand};
use super::{ConfigError, baselines};
use crate::text::{self, exact};

/// Most bytes of the parser's message, which may quote the text.
const LONGEST_MESSAGE: usize = 500;

/// The given keys, before they become a config.
pub(super) struct Draft {
    values: BTreeMap<&'static str, Value>,
    /// [`Config::spelled`].
    pub spelled: BTreeMap<String, String>,
    pub places: Places,
}

impl Draft {
    /// Reads the text of a file, which messages call `label`.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn read(label: &str, text: &str) -> Result<Self, ConfigError> {
        let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |span: Option<std::ops::Range<usize>>| {
            let start = span.map_or(0, |s| s.start);
            newlines.partition_point(|&at| at < start) + 1
        };
        let document = Document::parse(text).map_err(|e| {
            let message = e.message().trim().replace('\n', "; ");
            let message = text::cut(&message, LONGEST_MESSAGE);
            ConfigError::one(format!("{label}:{}: {message}", line(e.span())))
        })?;
        let mut draft = Self {
            values: BTreeMap::new(),
            spelled: BTreeMap::new(),
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
            if self.places.is_full() {
                return;
            }
            // A quoted key with a dot in it is one name, and not a known key.
            let name_said = match name.contains('.') {
                true => format!("{name:?}"),
                false => name.to_string(),
            };
            let path = match parent {
                "" => name_said,
                parent => format!("{parent}.{name_said}"),
            };
            let span = table.key(name).and_then(toml_edit::Key::span);
            let place = Place::Line(line(span.or_else(|| item.span())));
            if let Some(key) = keys::find(&path) {
                self.places.at.insert(path.clone(), place);
                match item {
                    Item::Value(value) => drop(self.values.insert(key.path, value.clone())),
                    // [[data.train]] is also the list of sources.
                    Item::ArrayOfTables(tables)
                        if [Kind::Sources, Kind::Baselines].contains(&key.kind) =>
                    {
                        for (i, table) in tables.iter().enumerate() {
                            let entry = format!("{path}.{i}");
                            for (name, item) in table {
                                let span = table.key(name).and_then(toml_edit::Key::span);
                                let place = Place::Line(line(span.or_else(|| item.span())));
                                self.places.at.insert(format!("{entry}.{name}"), place);
                            }
                            let place = Place::Line(line(table.span()));
                            self.places.at.insert(entry, place);
                        }
                        if let Ok(value) = item.clone().into_value() {
                            self.values.insert(key.path, value);
                        }
                    }
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

    /// Sets a key that the file lacks to this value, in TOML.
    pub fn assume(&mut self, path: &'static str, value: &str) {
        if let Ok(value) = value.parse::<Value>() {
            self.values.entry(path).or_insert(value);
        }
    }

    /// Applies one `section.key=value`.
    pub fn set(&mut self, raw: &str, cwd: &Path) {
        let Some((path, text)) = raw.split_once('=') else {
            let place = Place::Raw(raw.into());
            self.places
                .say(Some(&place), "give it as section.key=value");
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
            // A word that happens to be a number or a date is still a text if the key is one.
            Ok(value) if value.is_str() => value,
            Ok(value) if value.is_array() || !is_text(key.kind) => value,
            _ => Value::from(text),
        };
        if is_path(key) {
            let cwd = exact::to_text(cwd).replace('$', "$$");
            // A tokenizer may be a name.
            let named = |given: &str| is_tokenizer_name(key, given);
            each_path(&mut value, &mut |given| {
                let begins = |start| given.starts_with(start);
                let stays = is_name(given) || ["$", "/", "~/"].into_iter().any(begins);
                (!stays && !given.is_empty() && !named(given)).then(|| format!("{cwd}/{given}"))
            });
        }
        self.set_instead(path);
        if key.kind == Kind::Baselines {
            // The override has replaced the file's entries.
            self.places.at.retain(|at, _| !at.starts_with("baseline."));
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

    /// An override chooses between a loaded reference and one that is trained here: the file's keys for the other are
    /// removed.
    fn set_instead(&mut self, path: &str) {
        const LOADED: &str = "reference.path";
        const TRAINED: &str = "reference.train";
        let of_file = |place: &Place| matches!(place, Place::Line(_));
        let trained = |key: &str| {
            key.strip_prefix(TRAINED)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let other: &dyn Fn(&str) -> bool = match path {
            LOADED => &trained,
            path if trained(path) => &|key: &str| key == LOADED,
            _ => return,
        };
        let at = &mut self.places.at;
        at.retain(|key, place| !(other(key) && of_file(place)));
        self.values
            .retain(|key, _| !other(key) || at.contains_key(*key));
    }

    /// Expands the variables in paths.
    pub fn expand_paths(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for key in keys::KEYS.iter().filter(|k| is_path(k)) {
            let Some(value) = self.values.get_mut(key.path) else {
                continue;
            };
            let mut wrong = None;
            let spelled = &mut self.spelled;
            each_path(value, &mut |text| {
                // Expanding a variable in a name that is not a path would send its value to the hub.
                if is_name(text) {
                    return None;
                }
                match expand(text, env) {
                    Ok(Expanded { path, variables }) => {
                        if variables {
                            spelled.insert(path.clone(), text.to_string());
                        }
                        Some(path)
                    }
                    Err(error) => {
                        wrong.get_or_insert(error);
                        None
                    }
                }
            });
            let path = key.path;
            match wrong {
                Some(Unexpanded::Unset(variable)) => self.places.bad(
                    path,
                    format!(
                        "{path} needs the environment variable {variable}, which is not set; \
                         export it{}",
                        match key.kind {
                            Kind::Baselines => String::new(),
                            _ => format!(", or give --set {path}=PATH"),
                        }
                    ),
                ),
                Some(Unexpanded::Secret(variable)) => self.places.bad(
                    path,
                    format!(
                        "{path} names the environment variable {variable}, which looks like a secret and would be \
                         shown in messages; put the path into another variable"
                    ),
                ),
                None => {}
            }
        }
    }

    /// Checks that each value is of its key's type.
    pub fn check_types(&mut self) {
        for (path, value) in &self.values {
            match keys::find(path) {
                Some(key) if key.kind == Kind::Baselines => {
                    baselines::check_types(value, &mut self.places);
                }
                Some(key) => self.places.bad_for(path, &problems(key, value)),
                None => {}
            }
        }
    }

    /// Checks that nothing is missing.
    pub fn require(&mut self) {
        for key in keys::KEYS {
            let Need::Required(example) = key.need else {
                continue;
            };
            let (section, name) = key.parts();
            // Without the section no reference is trained; the check of values reports that.
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

    /// Builds the config. Wrong keys get their default or example, so that the others can be checked.
    pub fn build(&mut self) -> Result<Config, ConfigError> {
        let mut root = toml::Table::new();
        let sections = keys::SECTIONS.map(|section| section.name);
        for section in sections.into_iter().filter(|name| !name.is_empty()) {
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
        let mut config: Config = root.try_into().map_err(|e: toml::de::Error| {
            let more = ConfigError::one(format!("{}: {}", self.places.label, e.message()));
            self.places.finish().err().unwrap_or(more)
        })?;
        for (i, baseline) in config.baseline.iter_mut().enumerate() {
            let own = self.places.line(&format!("{BASELINE}.{i}"));
            baseline.place = values::Place(match own.is_empty() {
                true => self.places.line(BASELINE),
                false => own,
            });
        }
        Ok(config)
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

fn is_text(kind: Kind) -> bool {
    let texts = [Kind::Text, Kind::Tokenizer, Kind::Inputs, Kind::Sources];
    texts.contains(&kind) || matches!(kind, Kind::OneOf(_) | Kind::Quoted(_))
}

fn is_path(key: &Key) -> bool {
    let paths = [
        "data.train",
        "data.val",
        "data.tokenizer",
        "reference.path",
        "eval.data",
        BASELINE,
    ];
    paths.contains(&key.path)
}

fn is_tokenizer_name(key: &Key, given: &str) -> bool {
    key.path == "data.tokenizer" && !TokenizerChoice::is_path(given)
}

/// Replaces file names in a value: a text, the texts of a list, the paths of a list of sources.
fn each_path(value: &mut Value, replace: &mut dyn FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = replace(text.value()) {
                *value = Value::from(new);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| each_path(item, replace)),
        Value::InlineTable(source) => {
            if let Some(path) = source.get_mut("path") {
                each_path(path, replace);
            }
            if let Some(teacher) = baselines::teacher_mut(source) {
                each_path(teacher, replace);
            }
        }
        _ => {}
    }
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
