//! Measurements on downstream tasks, and texts that the model has continued.

use serde::{Deserialize, Serialize};

use super::foreign::{LARGEST_NUMBER, counted, cut, layers, most};
use super::kind::{DropOrder, Kind};
use super::number::null_is_nan;

/// Bytes of a task's or a metric's name, and of a text that is continued or continues it.
pub(in crate::run) const LONGEST_TASK: usize = 64;
pub(in crate::run) const LONGEST_TEXT: usize = 2048;
/// Metrics of a task, and tasks of one evaluation.
pub(in crate::run) const MOST_METRICS: u64 = 16;
pub(in crate::run) const MOST_TASKS: u64 = 256;

/// A metric of a task, with its error over the task's documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskMetric {
    /// The harness's name: `acc`, `acc_norm`, `perplexity`, ...
    pub name: String,
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
    /// Standard error; `None` where it is not defined.
    pub stderr: Option<f64>,
    /// Documents.
    pub n: u64,
}

impl TaskMetric {
    /// Whether a lower value is better.
    pub fn is_loss(&self) -> bool {
        self.name.contains("perplexity") || self.name == "bits_per_byte"
    }
}

/// A task's results for the model at this step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    pub task: String,
    /// The harness's version of the task.
    pub version: String,
    /// Layers of the model; phase and step are the event's.
    pub layers: usize,
    /// The metrics, in the order of the task's definition; empty if the task was not measured.
    pub metrics: Vec<TaskMetric>,
    /// The reason, if the task was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Accuracy of guessing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// Most documents that were asked for, where there was a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Documents left out as the harness leaves them out, and requests cut on the left to the model's context.
    #[serde(default)]
    pub skipped: u64,
    #[serde(default)]
    pub truncated: u64,
    #[serde(deserialize_with = "null_is_nan")]
    pub seconds: f64,
}

impl Kind for TaskResult {
    fn shorten(&mut self) {
        cut(&mut self.task, LONGEST_TASK);
        cut(&mut self.version, LONGEST_TASK);
        if let Some(why) = &mut self.refused {
            cut(why, LONGEST_TEXT);
        }
        for metric in &mut self.metrics {
            cut(&mut metric.name, LONGEST_TASK);
        }
    }

    fn check(&self) -> Result<(), String> {
        layers("layers", self.layers)?;
        most("metrics", self.metrics.len() as u64, MOST_METRICS)?;
        for metric in &self.metrics {
            counted("n", metric.n)?;
        }
        counted("limit", self.limit.unwrap_or(0))?;
        counted("skipped", self.skipped)?;
        counted("truncated", self.truncated)
    }
}

/// Progress of an evaluation on tasks, during which no step is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskProgress {
    pub task: String,
    /// The number of the task among those of this evaluation, from 1.
    pub number: u64,
    pub tasks: u64,
    /// Tokens that have been through the model, and all of this task's.
    pub done: u64,
    pub of: u64,
    /// Seconds that this task still takes, once its speed is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<f64>,
}

impl TaskProgress {
    /// Puts it into a few words: `piqa 43 %, 1 of 2`.
    pub fn words(&self) -> String {
        let percent = (100.0 * self.done as f64 / self.of.max(1) as f64).floor();
        let tasks = match self.tasks {
            0 | 1 => String::new(),
            all => format!(", {} of {all}", self.number),
        };
        format!("{} {:.0} %{tasks}", self.task, percent.min(100.0))
    }
}

impl Kind for TaskProgress {
    const DROPPED: DropOrder = DropOrder::First;

    fn shorten(&mut self) {
        cut(&mut self.task, LONGEST_TASK);
        let most = LARGEST_NUMBER;
        self.left = self.left.filter(|s| (0.0..=most).contains(s));
    }

    fn check(&self) -> Result<(), String> {
        most("tasks", self.tasks, MOST_TASKS)?;
        most("number", self.number, MOST_TASKS)?;
        counted("done", self.done)?;
        counted("of", self.of)
    }
}

/// A text, and how the model at this step continues it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub prompt: String,
    /// The continuation with the likeliest token at each place.
    pub greedy: String,
    /// The continuation with tokens drawn from a fixed seed, at temperature 0.8 from the likeliest ones that together reach a probability of
    /// 0.95.
    pub drawn: String,
    pub seed: u64,
    /// Layers of the model; phase and step are the event's.
    pub layers: usize,
}

impl Kind for Sample {
    fn shorten(&mut self) {
        for text in [&mut self.prompt, &mut self.greedy, &mut self.drawn] {
            cut(text, LONGEST_TEXT);
        }
    }

    fn check(&self) -> Result<(), String> {
        layers("layers", self.layers)
    }
}
