//! Several models side by side: a row for each task and metric, a column for each model.

use super::{ModelResults, Report, TaskFacts};
use crate::eval::metrics::Metric;

/// Cells of text. The columns before the models' are `task`, `metric`, `n` and `chance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Number of columns before the models' columns.
    pub leading: usize,
    /// The first one holds the headings.
    pub rows: Vec<Vec<String>>,
}

/// Returns a row for each metric of one model: task, version, metric, value, standard error, documents and chance. The
/// average over tasks is last.
pub fn listing(report: &Report, model: &ModelResults) -> Vec<[String; 7]> {
    let mut rows = Vec::new();
    for (task, results) in report.tasks.iter().zip(&model.tasks) {
        for (k, (metric, value)) in results.values.iter().enumerate() {
            let (name, version) = match k {
                0 => (task.name, task.version),
                _ => ("", ""),
            };
            rows.push([
                name.into(),
                version.into(),
                metric.name().into(),
                number(value.value),
                number(value.stderr),
                value.n.to_string(),
                chance(task, *metric),
            ]);
        }
    }
    if let Some(mean) = model.average() {
        rows.push([
            "average".into(),
            String::new(),
            "acc".into(),
            number(mean.value),
            number(mean.stderr),
            format!("{} tasks", mean.tasks),
            String::new(),
        ]);
    }
    rows
}

/// Returns every value with its error.
pub fn side_by_side(report: &Report) -> Grid {
    let labels = report.models.iter().map(|m| m.label.clone());
    let headings = ["task", "metric", "n", "chance"].map(String::from);
    let mut rows = vec![headings.into_iter().chain(labels).collect()];
    for (i, task) in report.tasks.iter().enumerate() {
        let metrics = report.models.first().map(|m| &m.tasks[i].values[..]);
        for (k, (metric, value)) in metrics.unwrap_or_default().iter().enumerate() {
            let name = if k == 0 { task.name } else { "" };
            let chance = chance(task, *metric);
            let mut row = vec![
                name.into(),
                metric.name().into(),
                value.n.to_string(),
                chance,
            ];
            row.extend(report.models.iter().map(|model| {
                let value = model.tasks[i].value(*metric);
                value.map_or(String::new(), |v| with_error(v.value, v.stderr))
            }));
            rows.push(row);
        }
    }
    let means: Vec<_> = report.models.iter().map(ModelResults::average).collect();
    if let Some(Some(first)) = means.first() {
        let mut row = vec![
            "average".into(),
            "acc".into(),
            format!("{} tasks", first.tasks),
            String::new(),
        ];
        row.extend(
            means
                .iter()
                .map(|m| m.map_or(String::new(), |m| with_error(m.value, m.stderr))),
        );
        rows.push(row);
    }
    Grid { leading: 4, rows }
}

/// Returns the paired differences of the second and further models to the first; none of a single model.
pub fn differences(report: &Report) -> Option<Grid> {
    let (_, others) = report.models.split_first()?;
    if others.is_empty() {
        return None;
    }
    let labels = others.iter().map(|m| m.label.clone());
    let headings = ["task", "metric"].map(String::from);
    let mut rows = vec![headings.into_iter().chain(labels).collect()];
    let cell = |value: Option<(f64, f64)>| {
        value.map_or(String::new(), |(value, stderr)| signed(value, stderr))
    };
    for (i, task) in report.tasks.iter().enumerate() {
        let Some(metric) = others.iter().find_map(|m| m.tasks[i].difference) else {
            continue;
        };
        let mut row = vec![task.name.into(), metric.metric.name().into()];
        let all = others.iter().map(|m| m.tasks[i].difference);
        row.extend(all.map(|d| cell(d.map(|d| (d.value, d.stderr)))));
        rows.push(row);
    }
    let means: Vec<_> = others
        .iter()
        .map(ModelResults::average_difference)
        .collect();
    if means.iter().any(Option::is_some) {
        let mut row = vec!["average".into(), "acc".into()];
        row.extend(means.iter().map(|m| cell(m.map(|m| (m.value, m.stderr)))));
        rows.push(row);
    }
    Some(Grid { leading: 2, rows })
}

/// Returns the accuracy of guessing for the metrics that are accuracies.
fn chance(task: &TaskFacts, metric: Metric) -> String {
    let chance = task.chance.filter(|_| metric.is_accuracy());
    chance.map_or(String::new(), |c| format!("{c:.2}"))
}

/// Returns a value with four decimals, of large ones fewer.
pub fn number(x: f64) -> String {
    match x.abs() {
        _ if !x.is_finite() => "-".into(),
        0.0..1e3 => format!("{x:.4}"),
        1e3..1e6 => format!("{x:.1}"),
        _ => format!("{x:.2e}"),
    }
}

/// Returns a value and its error, where that is defined.
pub fn with_error(value: f64, stderr: f64) -> String {
    match stderr.is_finite() {
        true => format!("{} ±{}", number(value), number(stderr)),
        false => number(value),
    }
}

fn signed(value: f64, stderr: f64) -> String {
    let plus = if value >= 0.0 { "+" } else { "" };
    format!("{plus}{}", with_error(value, stderr))
}
