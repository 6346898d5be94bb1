//! Measures against values computed by hand.

use super::*;
use crate::eval::tasks::{Answer, Request, find};

fn score(log_likelihood: f64) -> Score {
    Score {
        log_likelihood,
        greedy: false,
        tokens: 1,
        truncated: false,
    }
}

fn scores(all: &[&[f64]]) -> Vec<Vec<Score>> {
    let scores = |lls: &&[f64]| lls.iter().copied().map(score).collect();
    all.iter().map(scores).collect()
}

fn document(answer: Answer) -> Document {
    let request = Request {
        context: "".into(),
        continuation: String::new(),
    };
    Document {
        requests: vec![request],
        answer,
        group: None,
    }
}

fn choice(gold: usize, lengths: &[usize]) -> Document {
    let lengths = lengths.to_vec();
    document(Answer::Choice { gold, lengths })
}

fn close(have: f64, want: f64) {
    assert!((have - want).abs() < 1e-12, "{have} instead of {want}");
}

#[test]
fn accuracies_count_the_best_choice() {
    let documents = [
        // Right.
        choice(0, &[5, 5]),
        // A tie: the first wins, which is wrong.
        choice(1, &[5, 5]),
        // Wrong as it is, right for its length: -3 / 10 > -2 / 5.
        choice(1, &[5, 10]),
        // Right, and wrong for its length.
        choice(0, &[2, 9]),
    ];
    let scores = scores(&[&[-1.0, -2.0], &[-2.0, -2.0], &[-2.0, -3.0], &[-1.0, -2.0]]);
    let results = results(find("piqa").unwrap(), &documents, &scores);
    let [(Metric::Acc, acc), (Metric::AccNorm, norm)] = results[..] else {
        panic!("{results:?}");
    };
    close(acc.value, 0.5);
    // sd of 1, 0, 0, 1 is sqrt(1/3).
    close(acc.stderr, (1f64 / 3.0).sqrt() / 2.0);
    close(norm.value, 0.5);
    assert_eq!((acc.n, norm.n), (4, 4));
}

#[test]
fn an_empty_choice_is_compared_as_numpy_does() {
    // -1 / 0 is -inf: never best. 0 / 0 is NaN: best, as numpy's argmax has it.
    let documents = [choice(1, &[0, 4]), choice(0, &[0, 4])];
    let scores = scores(&[&[-1.0, -9.0], &[0.0, -0.1]]);
    let results = results(find("piqa").unwrap(), &documents, &scores);
    close(results[1].1.value, 1.0);
}

#[test]
fn the_last_word_has_a_perplexity_and_a_greedy_share() {
    let documents = [document(Answer::Word), document(Answer::Word)];
    let mut scores = scores(&[&[-1.0], &[-3.0]]);
    scores[1][0].greedy = true;
    let results = results(find("lambada_openai").unwrap(), &documents, &scores);
    let [(Metric::Perplexity, perplexity), (Metric::Acc, acc)] = results[..] else {
        panic!("{results:?}");
    };
    close(perplexity.value, 2f64.exp());
    // sd of -1, -3 is sqrt(2), over sqrt(2) documents.
    close(perplexity.stderr, 2f64.exp());
    close(acc.value, 0.5);
    close(acc.stderr, 0.5);
}

#[test]
fn pages_count_by_their_words_and_bytes() {
    let page = |words, bytes| document(Answer::Page { words, bytes });
    let documents = [page(10, 40), page(30, 200)];
    let scores = scores(&[&[-20.0], &[-100.0]]);
    let results = results(find("wikitext").unwrap(), &documents, &scores);
    let [(_, word), (_, byte), (_, bits)] = results[..] else {
        panic!("{results:?}");
    };
    close(word.value, 3f64.exp());
    // Residuals of -20 and -100 from -3 a word: 10 and -10; mean 20 words: sqrt(2 (10 / 20)² / 1 / 2) = 0.5 nats.
    close(word.stderr, 3f64.exp() * 0.5);
    close(byte.value, 0.5f64.exp());
    // From -0.5 a byte the residuals are 0.
    close(byte.stderr, 0.0);
    close(bits.value, 0.5 / 2f64.ln());
}

#[test]
fn truths_share_the_probability() {
    let documents = [
        document(Answer::Truths(vec![true, false, true])),
        document(Answer::Truths(vec![false, true])),
    ];
    let ll = [0.2f64.ln(), 0.1f64.ln(), 0.1f64.ln()];
    // The second would underflow.
    let scores = scores(&[&ll, &[-2000.0, -2000.0]]);
    let results = results(find("truthfulqa_mc2").unwrap(), &documents, &scores);
    close(results[0].1.value, (0.75 + 0.5) / 2.0);
}

fn subjects() -> (Vec<Document>, Vec<Vec<Score>>) {
    // Subject a: 1 of 2 is right; b: 3 of 4.
    let mut documents = Vec::new();
    for (group, golds) in [("a", &[0, 1][..]), ("b", &[0, 0, 0, 1])] {
        for gold in golds {
            let group = Some(group.to_string());
            documents.push(Document {
                group,
                ..choice(*gold, &[1, 1])
            });
        }
    }
    (documents, scores(&[&[-1.0, -2.0][..]; 6]))
}

#[test]
fn subjects_are_averaged_without_weights() {
    let (documents, scores) = subjects();
    let task = find("mmlu").unwrap();
    let acc = results(task, &documents, &scores)[0].1;
    close(acc.value, (0.5 + 0.75) / 2.0);
    let (a, b) = (0.5f64 / 2.0, 0.75 / 3.0 / 4.0);
    close(acc.stderr, (a + b).sqrt() / 2.0);
    assert_eq!(acc.n, 6);
    let groups = groups(task, &documents, &scores);
    let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "b"]);
    close(groups[1].1[0].1.value, 0.75);
    assert_eq!(groups[1].1[0].1.n, 4);
    let (difference, _) = paired(task, &documents, &scores, &scores).unwrap();
    close(difference, 0.0);
}

#[test]
fn paired_differences_leave_out_what_both_models_share() {
    let documents: Vec<Document> = (0..4).map(|_| choice(0, &[1, 1])).collect();
    let (right, wrong): (&[f64], &[f64]) = (&[-1.0, -2.0], &[-2.0, -1.0]);
    let a = scores(&[right, right, right, wrong]);
    let b = scores(&[right, right, wrong, wrong]);
    let (difference, stderr) = paired(find("piqa").unwrap(), &documents, &a, &b).unwrap();
    close(difference, 0.25);
    // Differences 0, 0, 1, 0: sd 0.5.
    close(stderr, 0.25);
    assert!(paired(find("piqa").unwrap(), &documents, &a, &b[..3]).is_none());
    assert!(paired(find("piqa").unwrap(), &[], &[], &[]).is_none());
    let one = paired(find("piqa").unwrap(), &documents[..1], &a[..1], &b[..1]);
    assert!(one.is_some_and(|(difference, stderr)| difference == 0.0 && stderr.is_nan()));
}

#[test]
fn a_difference_of_perplexities_is_small_where_pages_shift_alike() {
    let page = |words| document(Answer::Page { words, bytes: 1 });
    let documents = [page(10), page(10), page(10)];
    let b = scores(&[&[-20.0], &[-30.0], &[-40.0]]);
    // Every page 1 nat a word worse: exp(4) - exp(3), whose influences differ by the factor e.
    let a = scores(&[&[-30.0], &[-40.0], &[-50.0]]);
    let (difference, stderr) = paired(find("wikitext").unwrap(), &documents, &a, &b).unwrap();
    close(difference, 4f64.exp() - 3f64.exp());
    // Influences ±1 nat a word of the first and last page.
    close(
        stderr,
        (4f64.exp() - 3f64.exp()) * (2f64 / 2.0 / 3.0).sqrt(),
    );
}

#[test]
fn the_average_leaves_out_tasks_without_an_accuracy() {
    let value = |value, stderr, n| Value { value, stderr, n };
    let tasks = [
        vec![
            (Metric::Acc, value(0.5, 0.03, 10)),
            (Metric::AccNorm, value(0.9, 0.1, 10)),
        ],
        vec![(Metric::WordPerplexity, value(20.0, 1.0, 5))],
        vec![
            (Metric::Perplexity, value(9.0, 1.0, 30)),
            (Metric::Acc, value(0.7, 0.04, 30)),
        ],
    ];
    let average = |tasks: &[Vec<_>]| average(tasks.iter().map(Vec::as_slice));
    let all = average(&tasks).unwrap();
    close(all.value, 0.6);
    close(all.stderr, 0.025);
    assert_eq!(all.n, 40);
    assert!(average(&tasks[1..2]).is_none());
}

#[test]
fn one_document_has_no_error() {
    let results = results(
        find("boolq").unwrap(),
        &[choice(0, &[2, 3])],
        &scores(&[&[-1.0, -2.0]]),
    );
    close(results[0].1.value, 1.0);
    assert!(results[0].1.stderr.is_nan());
}
