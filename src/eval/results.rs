//! A task's metrics from the scores of its requests.

use std::collections::BTreeMap;

use super::metrics::{Metric, Value};
use super::score::Score;
use super::tasks::{Answer, Document, Task};

/// Returns a task's metrics over its documents, in the order of the task; `scores` has those of each document's requests.
/// Accuracies of a task in parts are means over the parts' accuracies.
pub fn results(task: &Task, documents: &[Document], scores: &[Vec<Score>]) -> Vec<(Metric, Value)> {
    let of = |&metric: &Metric| {
        let value = match metric {
            Metric::Acc | Metric::AccNorm => accuracy(metric, documents, scores),
            Metric::Perplexity => {
                let all = scores.iter().map(|s| log_likelihood(s));
                perplexity(all.sum(), scores.len() as f64)
            }
            Metric::WordPerplexity => {
                let (total, words, _) = pages(documents, scores);
                perplexity(total, words)
            }
            Metric::BytePerplexity => {
                let (total, _, bytes) = pages(documents, scores);
                perplexity(total, bytes)
            }
            Metric::BitsPerByte => {
                let (total, _, bytes) = pages(documents, scores);
                (-total / bytes / std::f64::consts::LN_2, f64::NAN)
            }
        };
        let (value, stderr) = value;
        let n = documents.len();
        (metric, Value { value, stderr, n })
    };
    task.metrics.iter().map(of).collect()
}

/// Returns exp(-total / n); its error is not defined by a formula.
fn perplexity(total: f64, n: f64) -> (f64, f64) {
    ((-total / n).exp(), f64::NAN)
}

fn log_likelihood(scores: &[Score]) -> f64 {
    scores.iter().map(|s| s.log_likelihood).sum()
}

/// Returns the log-likelihood of all pages, and their words and bytes.
fn pages(documents: &[Document], scores: &[Vec<Score>]) -> (f64, f64, f64) {
    let mut sums = (0.0, 0.0, 0.0);
    for (document, scores) in documents.iter().zip(scores) {
        if let Answer::Page { words, bytes } = document.answer {
            sums.0 += log_likelihood(scores);
            sums.1 += words as f64;
            sums.2 += bytes as f64;
        }
    }
    sums
}

/// Returns the accuracy and its standard error: the mean over parts where documents belong to parts.
fn accuracy(metric: Metric, documents: &[Document], scores: &[Vec<Score>]) -> (f64, f64) {
    let mut parts: BTreeMap<Option<&str>, Vec<f64>> = BTreeMap::new();
    for (document, scores) in documents.iter().zip(scores) {
        let part = parts.entry(document.group.as_deref()).or_default();
        part.push(credit(metric, document, scores));
    }
    let n = parts.len() as f64;
    let (mut value, mut variance) = (0.0, 0.0);
    for credits in parts.values() {
        let (mean, stderr) = super::mean_stderr(credits, credits.len());
        value += mean / n;
        variance += (stderr / n).powi(2);
    }
    (value, variance.sqrt())
}

/// Returns 1 for a document that is answered right, else 0; where several choices are true, their share of the probability.
fn credit(metric: Metric, document: &Document, scores: &[Score]) -> f64 {
    match &document.answer {
        Answer::Choice { gold, lengths } => {
            let worth = |i: usize| match metric {
                Metric::AccNorm => scores[i].log_likelihood / lengths[i] as f64,
                _ => scores[i].log_likelihood,
            };
            let mut best = 0;
            for i in 1..scores.len().min(lengths.len()) {
                // The first of equals wins.
                if worth(i) > worth(best) {
                    best = i;
                }
            }
            f64::from(u8::from(best == *gold))
        }
        Answer::Truths(truths) => {
            let all = scores.iter().map(|s| s.log_likelihood.exp());
            let pairs = all.clone().zip(truths).filter(|(_, t)| **t);
            pairs.map(|(p, _)| p).sum::<f64>() / all.sum::<f64>()
        }
        Answer::Word | Answer::Page { .. } => f64::from(u8::from(scores.iter().all(|s| s.greedy))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(log_likelihood: f64) -> Score {
        Score {
            log_likelihood,
            greedy: false,
            tokens: 1,
            truncated: false,
        }
    }

    fn choice(gold: usize, lengths: &[usize], group: Option<&str>) -> Document {
        Document {
            requests: Vec::new(),
            answer: Answer::Choice {
                gold,
                lengths: lengths.to_vec(),
            },
            group: group.map(String::from),
        }
    }

    #[test]
    fn the_first_of_equals_wins_and_lengths_count_for_acc_norm() {
        let scores = [score(-4.0), score(-4.0), score(-5.0)];
        let document = choice(0, &[2, 4, 10], None);
        assert_eq!(credit(Metric::Acc, &document, &scores), 1.0);
        assert_eq!(credit(Metric::AccNorm, &document, &scores), 0.0);
        let document = choice(2, &[2, 4, 10], None);
        assert_eq!(credit(Metric::AccNorm, &document, &scores), 1.0);
    }

    #[test]
    fn parts_count_alike_whatever_their_size() {
        let right = vec![score(-1.0), score(-2.0)];
        let documents = [
            choice(0, &[1, 1], Some("a")),
            choice(1, &[1, 1], Some("a")),
            choice(1, &[1, 1], Some("a")),
            choice(1, &[1, 1], Some("a")),
            choice(0, &[1, 1], Some("b")),
            choice(0, &[1, 1], Some("b")),
        ];
        let scores = vec![right; 6];
        let (value, stderr) = accuracy(Metric::Acc, &documents, &scores);
        assert!((value - 0.625).abs() < 1e-12);
        // The first part's: 0.5 / sqrt(4), halved; the second part's is 0.
        assert!((stderr - 0.125).abs() < 1e-12, "{stderr}");
    }

    #[test]
    fn pages_are_taken_together() {
        let page = |words, bytes| Document {
            requests: Vec::new(),
            answer: Answer::Page { words, bytes },
            group: None,
        };
        let documents = [page(2, 10), page(3, 15)];
        let scores = [vec![score(-10.0)], vec![score(-15.0)]];
        assert_eq!(pages(&documents, &scores), (-25.0, 5.0, 25.0));
        let (value, _) = perplexity(-25.0, 5.0);
        assert!((value - 5f64.exp()).abs() < 1e-9);
    }
}
