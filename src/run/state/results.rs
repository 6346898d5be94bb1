//! Results on downstream tasks and continued texts: how many of them a branch keeps, and their descriptions in words.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::run::event::{Phase, Sample, TaskMetric, TaskResult};
use crate::text::plural;

/// Most results and samples of a branch.
pub(in crate::run) const MOST_RESULTS: usize = 4096;
pub(in crate::run) const MOST_SAMPLES: usize = 512;

/// A task's results, and where in the run they were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskPoint {
    pub seq: u64,
    pub step: u64,
    pub phase: Phase,
    pub phase_step: u64,
    #[serde(flatten)]
    pub result: TaskResult,
}

impl Deref for TaskPoint {
    type Target = TaskResult;

    fn deref(&self) -> &TaskResult {
        &self.result
    }
}

/// A continued text, and where in the run its model was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePoint {
    pub seq: u64,
    pub step: u64,
    pub phase: Phase,
    pub phase_step: u64,
    #[serde(flatten)]
    pub sample: Sample,
}

impl Deref for SamplePoint {
    type Target = Sample;

    fn deref(&self) -> &Sample {
        &self.sample
    }
}

/// Appends an item to a list of at most `most`. Of a full list, the last of each `key` and the latest half stay.
pub(super) fn push_latest<T, K: PartialEq>(
    list: &mut Vec<T>,
    item: T,
    most: usize,
    key: impl Fn(&T) -> K,
) {
    if list.len() >= most {
        let keys: Vec<K> = list.iter().map(&key).collect();
        let half = list.len() / 2;
        let mut i = 0;
        list.retain(|_| {
            let stays = i >= half || !keys[i + 1..].contains(&keys[i]);
            i += 1;
            stays
        });
        // Every item is the last of its kind: the oldest go.
        let surplus = (list.len() + 1).saturating_sub(most);
        list.drain(..surplus);
    }
    list.push(item);
}

/// A metric of a task over all models; the cells are in the order of [`TaskTable::models`].
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow<'a> {
    pub task: &'a str,
    pub metric: &'a str,
    pub chance: Option<f64>,
    pub cells: Vec<Option<&'a TaskMetric>>,
}

/// The latest result of each task for each model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskTable<'a> {
    pub models: Vec<&'a Phase>,
    /// The metrics of a task are adjacent.
    pub rows: Vec<TaskRow<'a>>,
}

impl<'a> TaskTable<'a> {
    /// Returns the rows by task.
    pub fn tasks(&self) -> impl Iterator<Item = &[TaskRow<'a>]> {
        self.rows.chunk_by(|a, b| a.task == b.task)
    }
}

/// Returns the number of documents behind each cell of a task's row, where these numbers differ: such values cannot be
/// compared.
pub fn documents(row: &TaskRow<'_>) -> Option<Vec<Option<u64>>> {
    let all: Vec<Option<u64>> = row.cells.iter().map(|cell| cell.map(|m| m.n)).collect();
    let mut known = all.iter().flatten();
    let first = known.next()?;
    known.any(|n| n != first).then_some(all)
}

/// Puts a metric into words: `0.6123 +/- 0.0114`, `18.42 +/- 0.31`, or `not finite`.
pub fn metric_words(metric: &TaskMetric) -> String {
    let digits = |x: f64| match x.abs() {
        a if a < 10.0 => format!("{x:.4}"),
        a if a < 1e5 => format!("{x:.2}"),
        _ => format!("{x:.3e}"),
    };
    match (
        metric.value.is_finite(),
        metric.stderr.filter(|e| e.is_finite()),
    ) {
        (false, _) => "not finite".into(),
        (true, Some(stderr)) if metric.value.abs() >= 10.0 => {
            format!("{} ±{stderr:.2}", digits(metric.value))
        }
        (true, Some(stderr)) => format!("{} ±{stderr:.4}", digits(metric.value)),
        (true, None) => digits(metric.value),
    }
}

/// Formats a result as a line: `piqa  acc 0.6123 ±0.0114  acc_norm 0.6202 ±0.0113  (1838 documents)`, or
/// `piqa was not measured: no documents in ...`.
pub fn result_words(result: &TaskResult) -> String {
    if let Some(why) = &result.refused {
        return format!("{} was not measured: {why}", result.task);
    }
    let mut words = result.task.clone();
    for metric in &result.metrics {
        words.push_str(&format!("  {} {}", metric.name, metric_words(metric)));
    }
    let n = result.metrics.first().map_or(0, |m| m.n) as usize;
    words.push_str(&format!("  ({}", plural(n, "document")));
    if result.truncated > 0 {
        words.push_str(&format!(", {} truncated", result.truncated));
    }
    if result.skipped > 0 {
        words.push_str(&format!(", {} skipped", result.skipped));
    }
    words + ")"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_kind_stays() {
        let mut list: Vec<(u32, u32)> = Vec::new();
        push_latest(&mut list, (99, 0), 8, |p| p.0);
        for i in 0..100 {
            push_latest(&mut list, (i % 2, i), 8, |p| p.0);
            assert!(list.len() <= 8);
        }
        assert_eq!(list[0], (99, 0));
        assert_eq!(list[list.len() - 1], (1, 99));
        let mut all: Vec<u32> = Vec::new();
        for i in 0..100 {
            push_latest(&mut all, i, 8, |p| *p);
        }
        assert_eq!(all, (92..100).collect::<Vec<_>>());
    }
}
