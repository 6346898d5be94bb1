//! Results of models on tasks, and the forms they are written in: JSON, CSV and Markdown.

mod csv;
mod grid;
mod json;
mod markdown;

use super::metrics::{self, Metric, Value};

pub use csv::csv;
pub use grid::{Grid, differences, listing, number, side_by_side, with_error};
pub use json::json;
pub use markdown::markdown;

/// The results of one or several models on the same documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub tasks: Vec<TaskFacts>,
    /// In the order given; differences are taken to the first one.
    pub models: Vec<ModelResults>,
    /// The settings of the measurement, by name: the device, the data type, limits.
    pub settings: Vec<(&'static str, serde_json::Value)>,
}

/// A task, and the documents of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFacts {
    pub name: &'static str,
    pub version: &'static str,
    /// Accuracy of guessing.
    pub chance: Option<f64>,
    /// Documents that were left out.
    pub skipped: usize,
}

/// The results of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelResults {
    /// A name that means the same files when it is given again.
    pub name: String,
    /// A short name, for the head of a column.
    pub label: String,
    /// For each task of the report.
    pub tasks: Vec<TaskResults>,
}

/// The results of one model on one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResults {
    pub values: Vec<(Metric, Value)>,
    /// Documents of which a part was cut off, because they are longer than the model's context.
    pub truncated: usize,
    /// Compared with the report's first model; none for the first model itself.
    pub difference: Option<Difference>,
}

/// The paired difference of two models on the same documents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub metric: Metric,
    /// This model's value less the first model's.
    pub value: f64,
    /// Of the mean of the documents' differences; NaN where it is not defined.
    pub stderr: f64,
}

/// The unweighted mean over tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    pub value: f64,
    /// The tasks' errors are taken as independent.
    pub stderr: f64,
    pub tasks: usize,
}

impl Average {
    /// Returns a mean over tasks; `None` for a single task, whose mean is its own value.
    fn of(mean: Value, tasks: usize) -> Option<Self> {
        let Value { value, stderr, .. } = mean;
        (tasks > 1).then_some(Self {
            value,
            stderr,
            tasks,
        })
    }
}

impl TaskResults {
    /// Returns the value of a metric, where the task has it.
    pub fn value(&self, metric: Metric) -> Option<Value> {
        let found = self.values.iter().find(|(m, _)| *m == metric);
        found.map(|(_, value)| *value)
    }
}

impl ModelResults {
    /// Returns the unweighted mean accuracy over the tasks that have one.
    pub fn average(&self) -> Option<Average> {
        let tasks = self.tasks.iter();
        let tasks = tasks.filter(|t| t.value(Metric::Acc).is_some());
        let mean = metrics::average(tasks.clone().map(|t| &t.values[..]))?;
        Average::of(mean, tasks.count())
    }

    /// Returns the mean of the differences in accuracy to the report's first model.
    pub fn average_difference(&self) -> Option<Average> {
        let all = self.tasks.iter().filter_map(|t| t.difference);
        let acc = all.filter(|d| d.metric == Metric::Acc).map(|d| Value {
            value: d.value,
            stderr: d.stderr,
            n: 0,
        });
        let acc: Vec<Value> = acc.collect();
        Average::of(metrics::combine(&acc), acc.len())
    }
}

#[cfg(test)]
mod tests;
