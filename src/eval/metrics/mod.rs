//! Results of a task from the scores of its requests, as the harness computes them.
//!
//! Every measure is a ratio Σ y / Σ w over documents, or a function of one: an accuracy has w = 1; a perplexity is
//! exp(-r) of the ratio r of log-likelihoods to documents, words or bytes. So there is one formula of errors, the delta
//! method: with the influence of a document i on the measure m = f(r),
//!
//! ```text
//!     d_i = f'(r) (y_i - r w_i) / mean(w)        stderr² = Σ d_i² / (n - 1) / n
//! ```
//!
//! Of an accuracy that is the sample standard deviation over sqrt(n), as in the harness. Of LAMBADA's perplexity the harness
//! estimates the same error with 100,000 bootstrap samples. On many documents both agree; on few (a limit of 40), where a
//! perplexity is far from linear in its log-likelihoods, the bootstrap is larger. Of perplexities of pages it reports none.
//!
//! A task with groups (the subjects of MMLU) has the unweighted mean of their values, with the error sqrt(Σ stderr²) / k:
//! the harness's formula for groups that are not weighted by size. Its own MMLU group *is* weighted by size, with a pooled
//! error. [`groups`] has the values from which that can be computed.
//!
//! Differences of two models are paired: the influences of each document are subtracted before they are squared.

mod influence;
mod metric;
#[cfg(test)]
mod tests;

pub use metric::{Metric, Value};

pub(super) use influence::combine;

use influence::Measure;

use super::score::Score;
use super::tasks::{Document, Task};

/// Computes a task's measures, in its order. `scores` has those of each document's requests.
pub fn results(task: &Task, documents: &[Document], scores: &[Vec<Score>]) -> Vec<(Metric, Value)> {
    let measures = task.metrics.iter();
    let result = |metric: &Metric| (*metric, value(*metric, documents, scores));
    measures.map(result).collect()
}

/// Computes the measures of each group of a task, in the order in which they begin; without groups, nothing.
pub fn groups<'a>(
    task: &Task,
    documents: &'a [Document],
    scores: &[Vec<Score>],
) -> Vec<(&'a str, Vec<(Metric, Value)>)> {
    let mut groups = Vec::new();
    for (name, indices) in split(documents) {
        let Some(name) = name else { continue };
        let measure = |metric| Measure::new(metric, documents, scores, &indices).value();
        let results = task
            .metrics
            .iter()
            .map(|metric| (*metric, measure(*metric)));
        groups.push((name, results.collect()));
    }
    groups
}

/// Computes the difference `a - b` of two models in a task's main measure (its accuracy; of pages, the perplexity per word),
/// and its standard error, NaN for a single document. `None` without documents, or when the models have not scored the same
/// ones.
pub fn paired(
    task: &Task,
    documents: &[Document],
    a: &[Vec<Score>],
    b: &[Vec<Score>],
) -> Option<(f64, f64)> {
    let metric = Metric::main(task.metrics)?;
    if documents.is_empty() || a.len() != documents.len() || b.len() != documents.len() {
        return None;
    }
    let differences = split(documents).into_iter().map(|(_, indices)| {
        let a = Measure::new(metric, documents, a, &indices);
        a.minus(&Measure::new(metric, documents, b, &indices))
    });
    let difference = combine(&differences.collect::<Vec<_>>());
    Some((difference.value, difference.stderr))
}

/// Computes the average of the paper's tables: the unweighted mean of the accuracies of tasks, whose documents are taken as
/// independent. Tasks without an accuracy are left out; `None` when that leaves no task.
pub fn average<'a>(tasks: impl IntoIterator<Item = &'a [(Metric, Value)]>) -> Option<Value> {
    let acc = |results: &[(Metric, Value)]| {
        let found = results.iter().find(|(metric, _)| *metric == Metric::Acc);
        found.map(|(_, value)| *value)
    };
    let values: Vec<Value> = tasks.into_iter().filter_map(acc).collect();
    (!values.is_empty()).then(|| combine(&values))
}

fn value(metric: Metric, documents: &[Document], scores: &[Vec<Score>]) -> Value {
    let groups = split(documents).into_iter();
    let values =
        groups.map(|(_, indices)| Measure::new(metric, documents, scores, &indices).value());
    combine(&values.collect::<Vec<_>>())
}

/// Returns the indices of each group's documents, in the order in which the groups begin.
fn split(documents: &[Document]) -> Vec<(Option<&str>, Vec<usize>)> {
    let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (i, document) in documents.iter().enumerate() {
        let name = document.group.as_deref();
        let place = *places.entry(name).or_insert_with(|| {
            groups.push((name, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(i);
    }
    groups
}
