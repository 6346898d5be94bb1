//! `heirloom eval` scores a task with one model, several, or all results of a run. It can be interrupted anywhere and continued, and
//! names errors.

mod common;

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use candle_core::Device;
use common::{Place, texts};
use heirloom::file::Dir;
use heirloom::model::{self, Decoder, DecoderConfig, Sizes};
use serde_json::{Value, json};

/// Writes `n` questions in PIQA's original form: ordinary words, questions of different lengths.
fn put_piqa(place: &Place, n: usize) {
    let words = [
        "open", "jar", "water", "bread", "the", "paint", "with", "lid", "knife", "slowly", "a",
        "hot",
    ];
    // A linear congruential generator, so that the questions are always the same.
    let mut state = 7usize;
    let mut some = |most: usize| {
        let n = 1
            + (0..most)
                .filter(|_| !next(&mut state).is_multiple_of(3))
                .count();
        let words: Vec<&str> = (0..n)
            .map(|_| words[next(&mut state) % words.len()])
            .collect();
        words.join(" ")
    };
    let mut rows = String::new();
    for _ in 0..n {
        let row = json!({"goal": some(9), "sol1": some(4), "sol2": some(4)});
        rows.push_str(&format!("{row}\n"));
    }
    let labels: String = (0..n)
        .map(|_| format!("{}\n", next(&mut state) % 2))
        .collect();
    let dir = place.path().join("tasks/piqa");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("valid.jsonl"), rows).unwrap();
    fs::write(dir.join("valid-labels.lst"), labels).unwrap();
}

fn next(state: &mut usize) -> usize {
    *state = (*state * 1_103_515_245 + 12_345) % (1 << 31);
    *state >> 8
}

/// Writes a model with random weights.
fn put_model(place: &Place, name: &str, seed: u64, vocab: usize) {
    let sizes = Sizes {
        n_layer: 2,
        n_head: 2,
        n_embd: 32,
        context_length: 128,
        vocab,
    };
    let model = Decoder::random(DecoderConfig::gpt2(sizes, true), seed, &Device::Cpu).unwrap();
    let path = place.path().join(name);
    fs::create_dir_all(&path).unwrap();
    let weights = model.weights.read_all().unwrap();
    let dir = Dir::open(&path).unwrap();
    model::save(&model.config, &model.params, &weights, None, &dir).unwrap();
}

const TASK: [&str; 6] = ["--tasks", "piqa", "--data", "tasks", "--device", "cpu"];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Returns whether each document of a model is correct, from a file of samples.
fn right(path: &Path, model: &str) -> Vec<f64> {
    let rows = read(path);
    let rows = rows.lines().map(parsed).filter(|row| row["model"] == model);
    rows.map(|row| f64::from(u8::from(row["right"].as_bool().unwrap())))
        .collect()
}

/// Returns the requests of a line of samples.
fn requests(line: &str) -> Vec<Value> {
    parsed(line)["requests"].as_array().unwrap().clone()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_run_stands_for_its_reference_its_rounds_and_its_controls() {
    let place = Place::new();
    put_piqa(&place, 12);
    place.expect(0, &["train", "mini.toml", "--name", "mini"]);
    let files = [
        "--out",
        "o.json",
        "--out",
        "o.csv",
        "--out",
        "o.md",
        "--samples",
        "s.jsonl",
    ];
    let args = [
        &["eval", "mini"],
        &TASK[..],
        &files,
        &["--limit", "10", "--json"],
    ]
    .concat();
    let output = place.run(&args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let report = parsed(&out);
    assert_eq!(report, parsed(&read(&place.path().join("o.json"))));
    let models = report["models"].as_array().unwrap();
    let labels: Vec<&str> = models
        .iter()
        .map(|m| m["label"].as_str().unwrap())
        .collect();
    let state = place.show("mini");
    let rounds = state["rounds"].as_array().unwrap().len();
    assert!(rounds > 0, "{state}");
    assert_eq!(labels[0], "reference");
    let wanted: Vec<String> = (1..=rounds).map(|n| format!("round {n}")).collect();
    assert_eq!(labels[1..=rounds], wanted);
    // The miniature keeps three checkpoints in addition to milestones, and both controls write many.
    assert_eq!(*labels.last().unwrap(), "continued");
    let has_random = labels.contains(&"random");
    assert_eq!(
        err.contains("control random of mini is skipped: its checkpoint was not kept"),
        !has_random,
        "{labels:?} {err}"
    );

    // Each value is the share of right answers, each difference the mean of the documents' differences.
    let samples = place.path().join("s.jsonl");
    let lines = read(&samples);
    for request in lines.lines().flat_map(requests) {
        // The miniature's tokens are bytes, and its context holds 32 of them.
        let ids = |key: &str| request[key].as_array().unwrap().len();
        let (context, continuation) = (ids("context_ids"), ids("continuation_ids"));
        assert_eq!(continuation as u64, request["tokens"].as_u64().unwrap());
        let text = |key: &str| request[key].as_str().unwrap().len();
        let whole = text("context") + text("continuation");
        assert_eq!(context + continuation, whole.min(33), "{request}");
    }
    let name = |i: usize| models[i]["model"].as_str().unwrap();
    let first = right(&samples, name(0));
    assert_eq!(first.len(), 10);
    for i in 0..models.len() {
        let own = right(&samples, name(i));
        let result = &models[i]["results"]["piqa"]["acc"];
        assert_eq!(result["n"], 10);
        assert!(
            (result["value"].as_f64().unwrap() - mean(&own)).abs() < 1e-12,
            "{result}"
        );
        if i > 0 {
            let pair = &report["paired"]["piqa"][i - 1];
            assert_eq!((&pair["a"], &pair["b"]), (&json!(name(0)), &json!(name(i))));
            let differences: Vec<f64> = own.iter().zip(&first).map(|(b, a)| b - a).collect();
            let wanted = mean(&differences);
            assert!(
                (pair["difference"].as_f64().unwrap() - wanted).abs() < 1e-12,
                "{pair}"
            );
            let squares: f64 = differences.iter().map(|d| (d - wanted).powi(2)).sum();
            let stderr = (squares / 9.0 / 10.0).sqrt();
            assert!(
                (pair["stderr"].as_f64().unwrap() - stderr).abs() < 1e-12,
                "{pair}"
            );
        }
    }
    let rows = read(&place.path().join("o.csv")).lines().count();
    assert_eq!(rows, 1 + 2 * models.len());
    assert!(
        read(&place.path().join("o.md"))
            .contains("| task | metric | n | chance | reference | round 1 |")
    );
    assert!(!place.path().join("o.json.partial").exists());

    // A model's name in the report can be used as an argument.
    let args = [&["eval", name(1)], &TASK[..], &["--limit", "10", "--json"]].concat();
    let alone = parsed(&place.expect(0, &args));
    assert_eq!(alone["results"], models[1]["results"]);
    assert_eq!(alone["truncated"], models[1]["truncated"]);
    // The miniature's context is 32 bytes.
    assert!(alone["truncated"]["piqa"].as_u64().unwrap() > 0, "{alone}");
    // The table has at most 80 columns.
    let args = [&["eval", "mini"], &TASK[..], &["--limit", "10"]].concat();
    let table = place.expect(0, &args);
    let wide: Vec<&str> = table.lines().filter(|l| l.chars().count() > 80).collect();
    assert!(
        wide.is_empty() && table.contains("paired differences to reference"),
        "{table}"
    );

    // A deleted checkpoint is named.
    let reference = name(0).split_once('@').unwrap().1.to_string();
    fs::remove_dir_all(place.run_dir("mini").join("checkpoints").join(reference)).unwrap();
    let output = place.run(&args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(
        err.contains("reference of mini is skipped: its checkpoint was not kept"),
        "{err}"
    );
    assert!(out.contains("paired differences to round 1"), "{out}");
}

/// Kills the program when its progress file has `lines` lines. Returns whether it was still running.
fn kill_at(place: &Place, mut child: Child, lines: usize) -> bool {
    let partial = place.path().join("o.json.partial");
    let begin = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let text = fs::read(&partial).unwrap_or_default();
        if text.iter().filter(|b| **b == b'\n').count() >= lines {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        assert!(
            begin.elapsed() < common::PATIENCE,
            "{lines} lines did not come"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn ten_kills_at_random_documents_change_nothing() {
    let place = Place::new();
    let n = 300;
    put_piqa(&place, n);
    put_model(&place, "a", 1, 320);
    put_model(&place, "b", 2, 257);
    // A pass has one or two documents.
    let common = [
        &["eval", "a", "b"],
        &TASK[..],
        &["--tokenizer", "byte", "--batch-tokens", "128"],
    ]
    .concat();
    let whole = [
        &common[..],
        &["--out", "whole.json", "--samples", "whole.jsonl"],
    ]
    .concat();
    place.expect(0, &whole);
    let parts = [&common[..], &["--out", "o.json", "--samples", "s.jsonl"]].concat();
    let mut state = std::process::id() as usize;
    let (mut kills, mut last) = (0, 1);
    while kills < 10 {
        // Kills at a random document in the next eleventh of both models' documents.
        let lines = last + 1 + next(&mut state) % (2 * n / 11);
        let killed = kill_at(&place, place.start(&parts), lines);
        assert!(killed, "it was done before {lines} lines");
        let text = fs::read(place.path().join("o.json.partial")).unwrap();
        let now = text.iter().filter(|b| **b == b'\n').count();
        assert!(now > last, "nothing is added to {last} lines");
        last = now.min(2 * n);
        kills += 1;
    }
    let output = place.run(&parts);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(
        err.contains("documents were scored before (o.json.partial)"),
        "{err}"
    );
    let at = |name: &str| read(&place.path().join(name));
    assert_eq!(at("o.json"), at("whole.json"));
    assert_eq!(at("s.jsonl"), at("whole.jsonl"));
    assert!(!place.path().join("o.json.partial").exists());
}

#[test]
fn progress_of_another_evaluation_is_not_used() {
    let place = Place::new();
    put_piqa(&place, 60);
    put_model(&place, "a", 1, 257);
    let common = [
        &["eval", "a"],
        &TASK[..],
        &[
            "--tokenizer",
            "byte",
            "--batch-tokens",
            "128",
            "--out",
            "o.json",
        ],
    ]
    .concat();
    assert!(kill_at(&place, place.start(&common), 10));
    // Other weights under the same name.
    fs::remove_dir_all(place.path().join("a")).unwrap();
    put_model(&place, "a", 2, 257);
    let output = place.run(&common);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        err.contains("o.json.partial is of another evaluation"),
        "{err}"
    );
    let wanted = read(&place.path().join("o.json"));
    place.expect(0, &common);
    assert_eq!(read(&place.path().join("o.json")), wanted);
}

#[test]
fn an_interrupt_keeps_what_is_done() {
    let place = Place::new();
    put_piqa(&place, 300);
    put_model(&place, "a", 1, 257);
    let args = [
        &["eval", "a"],
        &TASK[..],
        &[
            "--tokenizer",
            "byte",
            "--batch-tokens",
            "128",
            "--out",
            "o.json",
        ],
    ]
    .concat();
    let mut child = place.start(&args);
    let partial = place.path().join("o.json.partial");
    common::wait("scores", || {
        let text = fs::read(&partial).unwrap_or_default();
        (text.iter().filter(|b| **b == b'\n').count() > 5).then_some(())
    });
    common::signal(child.id(), nix::sys::signal::Signal::SIGINT);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(75), "{}", place.printed());
    assert!(partial.exists() && !place.path().join("o.json").exists());
    let output = place.run(&args);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("documents were scored before"), "{err}");
}

#[test]
fn what_is_wrong_is_named() {
    let place = Place::new();
    put_piqa(&place, 3);
    put_model(&place, "a", 1, 257);
    put_model(&place, "small", 1, 96);
    let byte = ["--tokenizer", "byte"];
    for (args, wanted) in [
        (
            &["a", "--tasks", "piqaa", "--data", "tasks"][..],
            "unknown task \"piqaa\"; did you mean \"piqa\"?",
        ),
        (&["a", "--tasks", "sciq", "--data", "tasks"], "sciq"),
        (
            &["a", "--tasks", "piqa", "--data", "none"],
            "--data none: no such directory",
        ),
        (&["--tasks", "piqa", "--data", "tasks"], "<MODEL>..."),
        (
            &["none", "--tasks", "piqa", "--data", "tasks"],
            "none is not a model",
        ),
        (
            &["small", "--tasks", "piqa", "--data", "tasks"],
            "small cannot be evaluated",
        ),
        (
            &["a", "--tasks", "piqa", "--data", "tasks", "--out", "o.txt"],
            "--out o.txt: results are written as .json, .csv or .md",
        ),
        (
            &[
                "a",
                "--tasks",
                "piqa",
                "--data",
                "tasks",
                "--samples",
                "no/s.jsonl",
            ],
            "--samples no/s.jsonl: there is no directory no",
        ),
        (
            &["a", "--tasks", "piqa", "--data", "tasks", "--limit", "0"],
            "--limit must be at least 1",
        ),
    ] {
        let output = place.run(&[&["eval"], args, &byte[..]].concat());
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?} {out}{err}");
        assert!(err.contains(wanted), "{wanted:?} is not in\n{err}");
        assert_eq!(out, "");
    }
}
