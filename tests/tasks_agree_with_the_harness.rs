//! Downstream tasks agree with EleutherAI's lm-evaluation-harness: they have the same texts, token ids, log-likelihoods and metrics.
//! `tests/fixtures/make_eval_fixtures.py` ran the harness (lm_eval 0.4.13).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use heirloom::corpus::Tokenizer;
use heirloom::eval::metrics;
use heirloom::eval::score::{Encoder, Finished, Known, Packing, Prepared, Score, Scorer};
use heirloom::eval::tasks::{Answer, Document, Request, TASKS, Task};
use heirloom::model::Files;
use heirloom::ops::Precision;
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval")
}

fn json(path: &str) -> Value {
    let path = fixtures().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Returns a task's documents under the names of the harness's results; MMLU has one for each subject.
fn documents(task: &Task) -> Vec<(String, Vec<Document>)> {
    let set = (task.load)(&fixtures().join("data"), None).unwrap();
    assert_eq!(set.skipped, 0);
    let mut by_name: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    for document in set.documents {
        let name = match &document.group {
            Some(group) => format!("{}_{group}", task.name),
            None => task.name.into(),
        };
        by_name.entry(name).or_default().push(document);
    }
    by_name.into_iter().collect()
}

fn pairs(expected: &Value) -> Vec<[String; 2]> {
    let text = |v: &Value| v.as_str().unwrap().to_string();
    match expected["requests"].as_array() {
        Some(requests) => requests
            .iter()
            .map(|pair| [text(&pair[0]), text(&pair[1])])
            .collect(),
        None => expected["continuations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| [text(&expected["context"]), text(c)])
            .collect(),
    }
}

fn scores(of: &Value) -> Vec<Score> {
    let score = |s: &Value| Score {
        log_likelihood: s[0].as_f64().unwrap(),
        greedy: s[1].as_bool().unwrap(),
        tokens: 1,
        truncated: false,
    };
    of.as_array().unwrap().iter().map(score).collect()
}

#[test]
fn every_task_asks_what_the_harness_asks() {
    let mut compared = 0;
    for task in TASKS {
        for (name, documents) in documents(task) {
            let expected = json(&format!("expected/{name}.json"));
            let expected = expected["documents"].as_array().unwrap();
            assert_eq!(documents.len(), expected.len(), "{name}");
            for (i, (document, expected)) in documents.iter().zip(expected).enumerate() {
                let got: Vec<[String; 2]> = document
                    .requests
                    .iter()
                    .map(|r| [r.context.to_string(), r.continuation.clone()])
                    .collect();
                assert_eq!(got, pairs(expected), "{name}, document {}", i + 1);
                compared += 1;
            }
        }
    }
    assert!(compared >= 40 * TASKS.len(), "{compared}");
}

#[test]
fn metrics_are_those_of_the_harness() {
    for task in TASKS {
        for (name, documents) in documents(task) {
            let expected = json(&format!("expected/{name}.json"));
            let all = expected["documents"].as_array().unwrap();
            let scores: Vec<_> = all.iter().map(|d| scores(&d["scores"])).collect();
            let results = metrics::results(task, &documents, &scores);
            assert!(!results.is_empty(), "{name}");
            for (metric, value) in results {
                let want = &expected["metrics"][metric.name()];
                let want = want
                    .as_f64()
                    .unwrap_or_else(|| panic!("{name}: {}", metric.name()));
                let apart = (value.value / want - 1.0).abs();
                assert!(
                    apart < 1e-9,
                    "{name} {}: {}, not {want}",
                    metric.name(),
                    value.value
                );
                // The harness estimates errors of perplexities by resampling.
                if metric.name().starts_with("acc") {
                    let want = expected["metrics"][format!("{}_stderr", metric.name())].as_f64();
                    let apart = (value.stderr - want.unwrap()).abs();
                    assert!(apart < 1e-9, "{name}: {} not {want:?}", value.stderr);
                }
            }
        }
    }
}

/// Compares the scores of all tasks with a small model, and the token ids of some requests.
fn compare(model: &str, add_bos: bool) {
    let dir = fixtures().join("models").join(model);
    let expected = json(&format!("models/{model}.json"));
    let files = Files::open(&dir).unwrap();
    let model = files.load(&Device::Cpu).unwrap();
    let context = model.config.context_length;
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let encoder = Encoder::new(tokenizer, Some(0), add_bos, context).unwrap();
    let (mut asked, mut truncated) = (0, 0);
    for task in TASKS {
        for (name, documents) in documents(task) {
            let expected = &expected[&name];
            let ids = expected["tokens"].as_array();
            for (document, ids) in documents.iter().zip(ids.into_iter().flatten()) {
                for (sequences, pair) in encoder
                    .sequences(document)
                    .unwrap()
                    .iter()
                    .zip(ids.as_array().unwrap())
                {
                    let ids =
                        |v: &Value| -> Vec<u32> { serde_json::from_value(v.clone()).unwrap() };
                    let (before, targets) = (ids(&pair[0]), ids(&pair[1]));
                    assert_eq!(sequences[0].targets, targets, "{name}");
                    let whole = [before, targets].concat();
                    let inputs = &sequences[0].inputs;
                    assert!(whole[..whole.len() - 1].ends_with(inputs), "{name}");
                    assert!(
                        inputs.len() == context || inputs.len() + 1 == whole.len(),
                        "{name}"
                    );
                }
            }
            let packing = Packing {
                tokens: 512,
                share: true,
            };
            let prepared = Prepared::new(&encoder, &documents, packing).unwrap();
            truncated += prepared.truncated();
            let scorer = Scorer::new(
                &model.config,
                prepared.longest_pass(),
                Precision::F32,
                model.config.vocab,
                &Device::Cpu,
            )
            .unwrap();
            let got = scorer
                .score(&model, &prepared, &Known::new(), &mut |_| {
                    ControlFlow::Continue(())
                })
                .unwrap()
                .unwrap();
            let want = expected["scores"].as_array().unwrap();
            assert_eq!(got.len(), want.len());
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                let want = scores(want);
                assert_eq!(got.len(), want.len());
                for (got, want) in got.iter().zip(&want) {
                    let apart = (got.log_likelihood - want.log_likelihood).abs();
                    // The harness sums up to 3,000 tokens of a page in f32.
                    let most = 1e-3 + 2e-6 * want.log_likelihood.abs();
                    assert!(
                        apart < most,
                        "{name}, document {}: {got:?}, not {want:?}",
                        i + 1
                    );
                    if documents[i].answer == Answer::Word {
                        assert_eq!(got.greedy, want.greedy, "{name}, document {}", i + 1);
                    }
                    asked += 1;
                }
            }
        }
    }
    assert!(
        asked > 100 * TASKS.len() / 2 && truncated > 1,
        "{asked} {truncated}"
    );
}

/// Compares requests without a context, and requests whose context begins with the token that begins texts.
fn compare_pairs(model: &str, add_bos: bool) {
    let dir = fixtures().join("models").join(model);
    let expected = json(&format!("models/{model}.json"));
    let expected = expected["pairs"].as_array().unwrap().clone();
    assert_eq!(expected.len(), 5);
    let text = |v: &Value| v.as_str().unwrap().to_string();
    let document = |pair: &Value| Document {
        requests: vec![Request {
            context: text(&pair[0]).into(),
            continuation: text(&pair[1]),
        }],
        answer: Answer::Word,
        group: None,
    };
    let documents: Vec<Document> = expected.iter().map(document).collect();
    let model = Files::open(&dir).unwrap().load(&Device::Cpu).unwrap();
    let context = model.config.context_length;
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let encoder = Encoder::new(tokenizer, Some(0), add_bos, context).unwrap();
    let prepared = Prepared::new(&encoder, &documents, Packing::on(false, None)).unwrap();
    let (rows, vocab) = (prepared.longest_pass(), model.config.vocab);
    let scorer = Scorer::new(&model.config, rows, Precision::F32, vocab, &Device::Cpu).unwrap();
    let each = &mut |_: Finished<'_>| ControlFlow::Continue(());
    let got = scorer.score(&model, &prepared, &Known::new(), each);
    for (got, want) in got.unwrap().unwrap().iter().zip(&expected) {
        let apart = (got[0].log_likelihood - want[2].as_f64().unwrap()).abs();
        assert!(apart < 1e-3, "{got:?}, not {want}");
        assert_eq!(got[0].greedy, want[3].as_bool().unwrap());
    }
}

#[test]
fn empty_contexts_and_written_out_special_tokens_are_read_as_the_harness_reads_them() {
    compare_pairs("gpt2", false);
    compare_pairs("llama", true);
}

#[test]
fn a_gpt2_gives_the_log_likelihoods_of_the_harness() {
    compare("gpt2", false);
}

#[test]
fn a_llama_whose_tokenizer_begins_texts_gives_the_log_likelihoods_of_the_harness() {
    compare("llama", true);
}
