//! A measure over documents as a function of a ratio of sums, and the influence of each document on it.

use super::metric::{Metric, Value};
use crate::eval::score::Score;
use crate::eval::tasks::{Answer, Document};

/// A measure over some documents.
pub struct Measure {
    value: f64,
    /// By how much the measure would change with a document's part: their sum is 0.
    influences: Vec<f64>,
}

impl Measure {
    /// Measures the documents at `indices`.
    pub fn new(
        metric: Metric,
        documents: &[Document],
        scores: &[Vec<Score>],
        indices: &[usize],
    ) -> Self {
        let scored = indices
            .iter()
            .filter_map(|i| documents.get(*i).zip(scores.get(*i)));
        let parts: Vec<(f64, f64)> = scored
            .map(|(document, scores)| part(metric, document, scores))
            .collect();
        let (y, w) = parts
            .iter()
            .fold((0.0, 0.0), |(y, w), part| (y + part.0, w + part.1));
        let ratio = y / w;
        let (value, slope) = match metric {
            Metric::Acc | Metric::AccNorm => (ratio, 1.0),
            Metric::BitsPerByte => (
                -ratio / std::f64::consts::LN_2,
                -1.0 / std::f64::consts::LN_2,
            ),
            Metric::Perplexity | Metric::WordPerplexity | Metric::BytePerplexity => {
                ((-ratio).exp(), -(-ratio).exp())
            }
        };
        let mean = w / parts.len() as f64;
        let influence = |(y, w): &(f64, f64)| slope * (y - ratio * w) / mean;
        let influences = parts.iter().map(influence).collect();
        Self { value, influences }
    }

    pub fn value(&self) -> Value {
        let n = self.influences.len();
        let squares: f64 = self.influences.iter().map(|d| d * d).sum();
        let stderr = match n {
            0 | 1 => f64::NAN,
            n => (squares / (n as f64 - 1.0) / n as f64).sqrt(),
        };
        let value = self.value;
        Value { value, stderr, n }
    }

    /// Returns the difference to another measure of the same documents.
    pub fn minus(&self, other: &Self) -> Value {
        let pairs = self.influences.iter().zip(&other.influences);
        let difference = Self {
            value: self.value - other.value,
            influences: pairs.map(|(a, b)| a - b).collect(),
        };
        difference.value()
    }
}

/// Returns the unweighted mean of independent values; of one, itself.
pub fn combine(values: &[Value]) -> Value {
    let k = values.len() as f64;
    let squares: f64 = values.iter().map(|v| v.stderr * v.stderr).sum();
    match values {
        [value] => *value,
        _ => Value {
            value: values.iter().map(|v| v.value).sum::<f64>() / k,
            stderr: if values.is_empty() {
                f64::NAN
            } else {
                squares.sqrt() / k
            },
            n: values.iter().map(|v| v.n).sum(),
        },
    }
}

/// Returns a document's terms of the sums above and below.
fn part(metric: Metric, document: &Document, scores: &[Score]) -> (f64, f64) {
    let first = scores.first();
    let log_likelihood = first.map_or(f64::NAN, |score| score.log_likelihood);
    let hit = |hit: bool| (f64::from(u8::from(hit)), 1.0);
    match (metric, &document.answer) {
        (Metric::Acc, Answer::Choice { gold, .. }) => hit(best(scores, |_| 1.0) == Some(*gold)),
        (Metric::AccNorm, Answer::Choice { gold, lengths }) => {
            let length = |i| lengths.get(i).map_or(f64::NAN, |n| *n as f64);
            hit(best(scores, length) == Some(*gold))
        }
        (Metric::Acc, Answer::Truths(truths)) => (mass(scores, truths), 1.0),
        (Metric::Acc, Answer::Word) => hit(first.is_some_and(|score| score.greedy)),
        (Metric::Perplexity, Answer::Word) => (log_likelihood, 1.0),
        (Metric::WordPerplexity, Answer::Page { words, .. }) => (log_likelihood, *words as f64),
        (Metric::BytePerplexity | Metric::BitsPerByte, Answer::Page { bytes, .. }) => {
            (log_likelihood, *bytes as f64)
        }
        // A measure that the task does not have.
        _ => (f64::NAN, 1.0),
    }
}

/// Returns the index of the largest log-likelihood after division by `length`. The first of equals wins; NaN (0 / 0) counts
/// as larger than any number, as in numpy.
fn best(scores: &[Score], length: impl Fn(usize) -> f64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, score) in scores.iter().enumerate() {
        let value = score.log_likelihood / length(i);
        let better = best.is_none_or(|(_, most)| value > most || value.is_nan() && !most.is_nan());
        if better {
            best = Some((i, value));
        }
    }
    best.map(|(i, _)| i)
}

/// Returns the share of the true choices in the probability of all. The largest log-likelihood is subtracted from all, so
/// that long choices do not underflow (the harness's 0 / 0).
fn mass(scores: &[Score], truths: &[bool]) -> f64 {
    let all = scores.iter().map(|score| score.log_likelihood);
    let most = all.clone().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = all.map(|ll| (ll - most).exp()).collect();
    let pairs = weights.iter().zip(truths);
    let mass: f64 = pairs.filter(|(_, truth)| **truth).map(|(w, _)| w).sum();
    mass / weights.iter().sum::<f64>()
}
