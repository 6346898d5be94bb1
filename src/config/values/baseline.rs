//! A baseline: a model that is trained for comparison, with its start, its steps and its training objective.

use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::{INHERITABLE, LayerChoice, PARTS};
use crate::config::nearest::best;
use crate::model::Part;
use crate::run::baseline::{LONGEST, is_name};
use crate::run::command::MOST_STEPS;

/// An entry of `[[baseline]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Written")]
pub struct BaselineConfig {
    pub name: String,
    pub start: BaselineStart,
    pub steps: BaselineSteps,
    pub objective: ObjectiveChoice,
    /// Its place in a file, for messages.
    pub place: Place,
}

/// `FILE:LINE`, or empty. Comparisons of configs ignore it.
#[derive(Debug, Clone, Default)]
pub struct Place(pub String);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The initial weights of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub enum BaselineStart {
    /// Random weights in the shape of the final model.
    Random,
    /// Random weights in the shape of the whole reference.
    Full,
    /// The final model's layers of the reference, as in a round that restarts from the reference.
    Inherit,
    /// Two phases: random weights in half of the final model's layers; the second phase starts from that block stacked twice.
    Stack,
    /// The reference's first layers, half as many as the final model has, twice.
    Hybrid,
    /// Every layer of the reference with the first half of its width, heads and MLP units; `n_head` where these do not halve.
    HalfWidth { n_head: Option<usize> },
    /// These parts of these layers of the reference, or of the final model's without `layers`; the rest is random.
    Layers {
        layers: Option<LayerChoice>,
        what: Vec<Part>,
    },
}

/// Training steps of a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaselineSteps {
    /// As long as the rounds that made the final model.
    Same,
    /// Twice as long.
    Double,
    Exactly(u64),
}

/// The training objective.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectiveChoice {
    CrossEntropy,
    Distill(Distill),
}

/// Knowledge distillation (Hinton et al., arXiv 1503.02531): `(1 - alpha) * CE + alpha * T^2 * KL(teacher || student)` at
/// temperature T, both means over the tokens of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distill {
    pub teacher: Teacher,
    /// Share of the distillation term, from 0 to 1.
    pub alpha: f64,
    /// Above 0.
    pub temperature: f64,
}

/// The model whose probabilities a student is trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Teacher {
    /// The run's reference.
    Reference,
    /// A directory, a file, or a name on the hub.
    Model(String),
}

impl From<String> for Teacher {
    fn from(text: String) -> Self {
        match text.as_str() {
            "reference" => Self::Reference,
            _ => Self::Model(text),
        }
    }
}

impl From<Teacher> for String {
    fn from(teacher: Teacher) -> Self {
        match teacher {
            Teacher::Reference => "reference".into(),
            Teacher::Model(name) => name,
        }
    }
}

/// Defaults of `alpha`, the paper's (arXiv 2404.08634, appendix D), and of `temperature`, which leaves the logits unchanged.
const ALPHA: f64 = 0.4;
const TEMPERATURE: f64 = 1.0;

const KEYS: [&str; 4] = ["name", "start", "steps", "objective"];

/// The starts that a single word names.
const STARTS: [(&str, BaselineStart); 6] = [
    ("random", BaselineStart::Random),
    ("full", BaselineStart::Full),
    ("inherit", BaselineStart::Inherit),
    ("stack", BaselineStart::Stack),
    ("hybrid", BaselineStart::Hybrid),
    ("half-width", BaselineStart::HalfWidth { n_head: None }),
];

/// A problem with an entry: the key that it is about, and a sentence.
pub type Problem = (&'static str, String);

impl BaselineConfig {
    /// Reads an entry.
    ///
    /// # Errors
    /// Returns every problem of the entry.
    pub fn read(entry: &Value) -> Result<Self, Vec<Problem>> {
        let Some(table) = entry.as_table() else {
            return Err(vec![("name", "[[baseline]] must be a section".into())]);
        };
        let mut problems: Vec<Problem> = Vec::new();
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let hint = match best(key, KEYS.into_iter(), 0.6) {
                Some(near) => format!("; did you mean {near}?"),
                None => format!("; keys are {}", KEYS.join(", ")),
            };
            problems.push(("name", format!("unknown key baseline.{key}{hint}")));
        }
        let mut take = |key: &'static str, read: &mut dyn FnMut(&Value) -> Result<(), String>| {
            let done = match table.get(key) {
                Some(value) => read(value),
                None if key == "name" => {
                    Err("missing baseline.name; add name = \"scratch\"".into())
                }
                None if key == "start" => Err(format!(
                    "missing baseline.start; add start = {}",
                    start_forms()
                )),
                None => Ok(()),
            };
            problems.extend(done.err().map(|why| (key, why)));
        };
        let (mut name, mut start) = (String::new(), BaselineStart::Random);
        let (mut steps, mut objective) = (BaselineSteps::Same, ObjectiveChoice::CrossEntropy);
        take("name", &mut |v| read_name(v).map(|read| name = read));
        take("start", &mut |v| read_start(v).map(|read| start = read));
        take("steps", &mut |v| read_steps(v).map(|read| steps = read));
        take("objective", &mut |v| {
            read_objective(v).map(|read| objective = read)
        });
        match problems.is_empty() {
            true => Ok(Self {
                name,
                start,
                steps,
                objective,
                place: Place::default(),
            }),
            false => Err(problems),
        }
    }

    /// Returns its name for messages, with its place where that is known: `runs.toml:12: baseline "half"`.
    pub fn label(&self) -> String {
        match self.place.0.as_str() {
            "" => format!("baseline {:?}", self.name),
            place => format!("{place}: baseline {:?}", self.name),
        }
    }
}

impl TryFrom<Value> for BaselineConfig {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        Self::read(&value).map_err(|problems| {
            let sentences: Vec<String> = problems.into_iter().map(|(_, why)| why).collect();
            sentences.join("; ")
        })
    }
}

fn start_forms() -> String {
    let words: Vec<String> = STARTS.iter().map(|(word, _)| format!("{word:?}")).collect();
    format!(
        "{}, {{layers = [0, 1], what = [\"attention\", \"norms\"]}} or {{half = true, n_head = 12}}",
        words.join(", ")
    )
}

fn read_name(value: &Value) -> Result<String, String> {
    let fits = |name: &&str| is_name(name);
    value.as_str().filter(fits).map(str::to_string).ok_or_else(|| {
        format!(
            "baseline.name must be 1 to {LONGEST} of the characters a-z, 0-9, - and _, is {value}"
        )
    })
}

fn read_start(value: &Value) -> Result<BaselineStart, String> {
    let wrong = || format!("baseline.start must be {}, is {value}", start_forms());
    if let Some(word) = value.as_str() {
        let known = STARTS.iter().find(|(name, _)| *name == word);
        return known.map(|(_, start)| start.clone()).ok_or_else(|| {
            match best(word, STARTS.iter().map(|(name, _)| *name), 0.6) {
                Some(near) => format!("{}; did you mean {near:?}?", wrong()),
                None => wrong(),
            }
        });
    }
    let table = value.as_table().ok_or_else(wrong)?;
    if table.contains_key("half") {
        let known = table
            .keys()
            .all(|key| ["half", "n_head"].contains(&key.as_str()));
        let half = table["half"].as_bool() == Some(true);
        let n_head = match table.get("n_head") {
            None => Some(None),
            Some(n) => n
                .as_integer()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|&n| n > 0)
                .map(Some),
        };
        return match (known && half, n_head) {
            (true, Some(n_head)) => Ok(BaselineStart::HalfWidth { n_head }),
            _ => Err(wrong()),
        };
    }
    let known = table
        .keys()
        .all(|key| ["layers", "what"].contains(&key.as_str()));
    if !known || table.is_empty() {
        return Err(wrong());
    }
    let layers = table.get("layers").map(|layers| {
        layers
            .clone()
            .try_into()
            .map_err(|e: toml::de::Error| format!("baseline.start.layers: {}", e.message()))
    });
    let what = match table.get("what") {
        None => INHERITABLE.to_vec(),
        Some(what) => what.clone().try_into().map_err(|_| {
            let names = PARTS.map(Part::name).join(", ");
            format!("baseline.start.what must be a list of some of {names}, is {what}")
        })?,
    };
    if what.is_empty() {
        return Err(
            "baseline.start.what is empty; start = \"random\" takes nothing of the reference"
                .into(),
        );
    }
    Ok(BaselineStart::Layers {
        layers: layers.transpose()?,
        what,
    })
}

fn read_steps(value: &Value) -> Result<BaselineSteps, String> {
    match (value.as_str(), value.as_integer()) {
        (Some("same"), _) => Ok(BaselineSteps::Same),
        (Some("2x"), _) => Ok(BaselineSteps::Double),
        (_, Some(n @ 1..)) if n.unsigned_abs() <= MOST_STEPS => {
            Ok(BaselineSteps::Exactly(n.unsigned_abs()))
        }
        _ => Err(format!(
            "baseline.steps must be \"same\", \"2x\" or a number from 1 to {MOST_STEPS}, is {value}"
        )),
    }
}

fn read_objective(value: &Value) -> Result<ObjectiveChoice, String> {
    let wrong = || {
        format!(
            "baseline.objective must be \"ce\" or {{distill = {{teacher = \"reference\", alpha = {ALPHA}, temperature = {TEMPERATURE:?}}}}}, is {value}"
        )
    };
    if value.as_str() == Some("ce") {
        return Ok(ObjectiveChoice::CrossEntropy);
    }
    let table = value.as_table().filter(|table| table.len() == 1);
    let distill = table
        .and_then(|table| table.get("distill"))
        .and_then(Value::as_table);
    let distill = distill.ok_or_else(wrong)?;
    let known = ["teacher", "alpha", "temperature"];
    if distill.keys().any(|key| !known.contains(&key.as_str())) {
        return Err(wrong());
    }
    let number = |key, default| match distill.get(key) {
        None => Ok(default),
        Some(Value::Float(x)) => Ok(*x),
        Some(Value::Integer(n)) => Ok(*n as f64),
        Some(_) => Err(wrong()),
    };
    let (alpha, temperature) = (number("alpha", ALPHA)?, number("temperature", TEMPERATURE)?);
    if !(0.0..=1.0).contains(&alpha) {
        return Err(format!(
            "baseline.objective: alpha must be between 0 and 1, is {alpha}"
        ));
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(format!(
            "baseline.objective: temperature must be above 0, is {temperature}"
        ));
    }
    let teacher = match distill.get("teacher") {
        None => Teacher::Reference,
        Some(Value::String(name)) if !name.trim().is_empty() => Teacher::from(name.clone()),
        Some(_) => return Err(wrong()),
    };
    Ok(ObjectiveChoice::Distill(Distill {
        teacher,
        alpha,
        temperature,
    }))
}

/// Returns a value of a config as TOML, which can represent every such value.
fn toml_of(value: &impl Serialize) -> Value {
    Value::try_from(value).unwrap_or(Value::Boolean(false))
}

/// Returns an entry as TOML.
#[derive(Serialize)]
struct Written {
    name: String,
    start: Value,
    steps: Value,
    objective: Value,
}

impl From<BaselineConfig> for Written {
    fn from(baseline: BaselineConfig) -> Self {
        let text = |text: &str| Value::String(text.into());
        let table = |pairs: Vec<(&str, Value)>| {
            Value::Table(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_string(), value))
                    .collect(),
            )
        };
        let start = match &baseline.start {
            BaselineStart::HalfWidth { n_head: Some(n) } => table(vec![
                ("half", Value::Boolean(true)),
                ("n_head", Value::Integer(*n as i64)),
            ]),
            BaselineStart::Layers { layers, what } => {
                let layers = layers.iter().map(|layers| ("layers", toml_of(layers)));
                table(layers.chain([("what", toml_of(what))]).collect())
            }
            word => {
                let known = STARTS.iter().find(|(_, start)| start == word);
                text(known.map_or("random", |(name, _)| name))
            }
        };
        let steps = match baseline.steps {
            BaselineSteps::Same => text("same"),
            BaselineSteps::Double => text("2x"),
            BaselineSteps::Exactly(n) => Value::Integer(i64::try_from(n).unwrap_or(i64::MAX)),
        };
        let objective = match &baseline.objective {
            ObjectiveChoice::CrossEntropy => text("ce"),
            ObjectiveChoice::Distill(distill) => table(vec![("distill", toml_of(distill))]),
        };
        Self {
            name: baseline.name,
            start,
            steps,
            objective,
        }
    }
}

impl fmt::Display for BaselineStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((word, _)) = STARTS.iter().find(|(_, start)| start == self) {
            return f.write_str(word);
        }
        match self {
            Self::HalfWidth { n_head: Some(n) } => write!(f, "half width with {n} heads"),
            Self::Layers { layers, what } => {
                let parts: Vec<&str> = what.iter().map(|part| part.name()).collect();
                let of = match layers {
                    Some(_) => "named layers",
                    None => "the final model's layers",
                };
                write!(f, "{} of {of}", parts.join(" and "))
            }
            _ => f.write_str("random"),
        }
    }
}

impl ObjectiveChoice {
    /// Returns the name or path of its teacher, where that is a model other than the reference.
    pub(in crate::config) fn teacher_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Distill(Distill {
                teacher: Teacher::Model(name),
                ..
            }) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectiveChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossEntropy => f.write_str("ce"),
            Self::Distill(distill) => {
                let teacher: String = distill.teacher.clone().into();
                write!(
                    f,
                    "distill({teacher}, alpha {}, T {})",
                    distill.alpha, distill.temperature
                )
            }
        }
    }
}
