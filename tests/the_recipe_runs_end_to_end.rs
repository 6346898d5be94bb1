//! Runs the complete recipe without a terminal (reference, inherit, train, grow, controls, table), and checks a run's files.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{Place, texts};
use serde_json::Value;

#[test]
fn the_recipe_runs_and_leaves_a_readable_run() {
    let place = Place::new();
    let out = place.expect(0, &["train", "mini.toml", "--name", "mine"]);
    // The output ends with the table of all phases.
    let table = out
        .split("\nphase ")
        .nth(1)
        .unwrap_or_else(|| panic!("no table in\n{out}"));
    for row in [
        "reference",
        "round 1",
        "round 2",
        "round 3",
        "random",
        "continued",
        "products computed in f32\n",
        "outcome: ",
    ] {
        assert!(table.contains(row), "{row} is missing:\n{out}");
    }

    let show = place.show("mine");
    assert_eq!(show["state"], "done");
    assert!(show["outcome"].is_string());
    let reference = &show["reference"];
    assert_eq!(reference["layers"], 4);
    assert!(
        reference["val_loss"].as_f64().unwrap() < 5.0,
        "below the {:.2} of chance",
        320f64.ln()
    );
    assert_eq!(reference["max_rank"].as_array().unwrap().len(), 4);
    let rounds = show["rounds"].as_array().unwrap();
    let starts: Vec<&str> = rounds
        .iter()
        .map(|r| r["start"].as_str().unwrap())
        .collect();
    assert_eq!(starts[0], "inherit");
    assert!(starts[1..].iter().all(|s| *s == "restart"));
    for (i, round) in rounds.iter().enumerate() {
        assert_eq!(round["round"], i + 1);
        assert_eq!(round["layers"], i + 1);
        assert_eq!(round["steps"], 20);
        assert_eq!(round["tokens"], 20 * 256);
        let gap = round["gap"].as_f64().unwrap();
        let difference =
            round["val_loss"].as_f64().unwrap() - reference["val_loss"].as_f64().unwrap();
        assert!(
            (gap - difference).abs() < 1e-9,
            "a paired gap's mean is the difference of the means"
        );
        assert!(round["gap_stderr"].as_f64().unwrap() > 0.0);
        assert!(round["tokens_per_second"].as_f64() >= round["tokens_per_second_wall"].as_f64());
    }
    let controls = show["controls"].as_array().unwrap();
    assert_eq!(controls[0]["name"], "random");
    assert_eq!(controls[0]["layers"], rounds.last().unwrap()["layers"]);
    assert_eq!(controls[1]["name"], "reference_continued");
    assert_eq!(controls[1]["layers"], 4);

    journal_is_whole(&place.events("mine"));
    files_are_there(&place, rounds.len());
    assert!(place.expect(0, &["ls"]).contains("mine"));
    let list: Value = serde_json::from_str(&place.expect(0, &["ls", "--json"])).unwrap();
    assert_eq!(list[0]["name"], "mine");
    assert!(place.expect(0, &["show", "mine"]).contains("outcome: "));
    // `watch` prints a finished run and ends.
    let watched = place.expect(0, &["watch", "mine"]);
    assert!(
        watched.contains("outcome: ") && watched.contains("round 1 starts: 1 layer"),
        "{watched}"
    );
}

fn journal_is_whole(events: &[Value]) {
    for (i, event) in events.iter().enumerate() {
        assert_eq!(event["v"], 1);
        assert_eq!(event["seq"], i + 1, "numbers do not skip or repeat");
    }
    assert_eq!(events[0]["kind"], "run");
    assert_eq!(events[0]["status"], "started");
    assert_eq!(events.last().unwrap()["kind"], "done");
    let ordered = |field: &str| {
        let values: Vec<f64> = events.iter().map(|e| e[field].as_f64().unwrap()).collect();
        assert!(values.is_sorted(), "{field} never falls");
    };
    ordered("step");
    ordered("elapsed");
    // The policy has opened and resolved every decision, and every growth is in the journal.
    let count = |fits: &dyn Fn(&Value) -> bool| events.iter().filter(|e| fits(e)).count();
    let opened = count(&|e| e["kind"] == "decision" && e["status"] == "open");
    let resolved =
        count(&|e| e["kind"] == "decision" && e["status"] == "resolved" && e["by"] == "policy");
    assert_eq!(opened, resolved);
    assert_eq!(count(&|e| e["kind"] == "grow"), 2);
    assert!(count(&|e| e["kind"] == "inherit") == 1);
    // A probe has each layer's influence in addition to its ranks and, after the first step, the gradients of its queries and keys.
    let mut taught = 0;
    for probe in events.iter().filter(|e| e["kind"] == "probe") {
        let layers = probe["max_rank"].as_array().unwrap().len();
        let influence = probe["block_influence"].as_array().unwrap();
        assert_eq!(influence.len(), layers);
        let between = |x: &Value| (1e-6..2.0).contains(&x.as_f64().unwrap());
        assert!(influence.iter().all(between), "{probe}");
        for list in ["grad_q", "grad_k"].map(|key| probe[key].as_array()) {
            let Some(list) = list else { continue };
            assert_eq!(list.len(), layers);
            assert!(list.iter().all(|x| x.as_f64().unwrap() > 0.0), "{probe}");
            taught += 1;
        }
    }
    assert!(taught >= 2 * 3, "{taught}");
}

fn files_are_there(place: &Place, rounds: usize) {
    let dir = place.run_dir("mine");
    let config = std::fs::read_to_string(dir.join("config.toml")).unwrap();
    assert!(
        config.contains("heirloom 0.1.0") && config.contains("n_embd = 32"),
        "{config}"
    );
    for link in ["latest", "best", "reference"] {
        let target = std::fs::read_link(dir.join("checkpoints").join(link)).unwrap();
        assert!(target.is_relative(), "the directory can be moved");
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "optimizer.safetensors",
            "state.json",
        ] {
            assert!(
                dir.join("checkpoints").join(link).join(file).is_file(),
                "{link}/{file}"
            );
        }
    }
    let names = names(&dir.join("checkpoints"));
    for n in 1..rounds {
        let wanted = format!("pre-grow-{n}");
        assert!(
            names.iter().any(|name| name.contains(&wanted)),
            "{wanted} in {names:?}"
        );
    }
    assert!(!names.iter().any(|name| name.contains("tmp")), "{names:?}");
    assert!(!self::names(&dir.join("rank")).is_empty());
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn events_can_be_read_from_stdout() {
    let place = Place::new();
    let out = place.expect(
        0,
        &[
            "train",
            "mini.toml",
            "--json",
            "--name",
            "mine",
            "--set",
            "control.random=false",
        ],
    );
    let told: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told, place.events("mine"));
}

#[test]
fn a_dry_run_plans_and_leaves_nothing() {
    let place = Place::new();
    let out = place.expect(0, &["train", "mini.toml", "--dry-run"]);
    for word in [
        "reference",
        "round 3 (if needed)",
        "parameters",
        "memory",
        "disk",
        "time",
    ] {
        assert!(out.contains(word), "{word}:\n{out}");
    }
    let ranks = ["train", "mini.toml", "--dry-run", "--ranks", "2"];
    let out = place.expect(0, &[&ranks[..], &["--link", "1"]].concat());
    for word in ["ranks    2: ", "volume", "1 Gbit/s", "efficiency"] {
        assert!(out.contains(word), "{word}:\n{out}");
    }
    let out = place.expect(0, &[&ranks[..], &["--json"]].concat());
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    let found = &plan["ranks"];
    let parameters = plan["phases"].as_array().unwrap().iter();
    let parameters = parameters.filter_map(|p| p["parameters"].as_u64()).max();
    assert_eq!(
        found["sum_bytes"].as_u64().unwrap(),
        4 * parameters.unwrap()
    );
    assert_eq!(found["links"].as_array().unwrap().len(), 5);
    assert!(found["memory_bytes_sharded"].as_u64() < found["memory_bytes"].as_u64());
    place.expect(2, &["train", "mini.toml", "--ranks", "2"]);
    place.expect(2, &[&ranks[..], &["--link", "0"]].concat());
    assert!(!place.path().join("runs").exists());
}

#[test]
fn text_can_be_prepared_and_trained_on() {
    let place = Place::new();
    let text = "All happy families are alike; every unhappy family is unhappy in its own way. "
        .repeat(300);
    std::fs::write(place.path().join("a.txt"), &text).unwrap();
    let json = serde_json::json!({ "text": "It was the best of times, it was the worst of times. ".repeat(100) });
    std::fs::write(place.path().join("b.jsonl"), format!("{json}\n{json}\n")).unwrap();
    let prepare = [
        "data",
        "prepare",
        "a.txt",
        "b.jsonl",
        "--out",
        "all.bin",
        "--tokenizer",
        "byte",
    ];
    let out = place.expect(0, &prepare);
    assert!(out.contains("all.bin") && out.contains("tokens"), "{out}");
    let (_, told) = texts(&place.run(&prepare));
    assert!(
        told.contains("all.bin") && told.contains("--force"),
        "{told}"
    );
    place.expect(
        0,
        &[
            "train",
            "mini.toml",
            "--set",
            "data.train=all.bin",
            "--set",
            "reference.train.steps=20",
            "--name",
            "mine",
        ],
    );
    assert_eq!(place.show("mine")["state"], "done");
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    let place = Place::new();
    let set = [
        "--set",
        "train.log_every=1",
        "--set",
        "reference.train.steps=1500",
    ];
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(set);
    let mut command = place.heirloom(&args);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    place.wait_event("mine", "the end", |e| e["kind"] == "done");
    // Nothing is lost: all of the output is there once it is read.
    let mut out = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(out.len() > 64 << 10, "more than a pipe holds");
    assert!(out.contains("outcome: "));
}

#[test]
fn bf16_trains_to_the_same_losses() {
    let place = Place::new();
    let losses = |name: &str, dtype: &str| -> [f64; 2] {
        let dtype = format!("train.dtype={dtype}");
        let out = place.expect(0, &["train", "mini.toml", "--name", name, "--set", &dtype]);
        let emulated = match (name, heirloom::ops::unit()) {
            ("bf16", "portable") => " (emulated)",
            _ => "",
        };
        let words = format!("\nproducts computed in {name}{emulated}\n");
        assert!(out.contains(&words), "{words} is missing:\n{out}");
        let show = place.show(name);
        let random = show["controls"].as_array().unwrap().iter();
        let random = random.into_iter().find(|c| c["name"] == "random").unwrap();
        [&show["reference"], random].map(|phase| phase["val_loss"].as_f64().unwrap())
    };
    let (exact, rounded) = (losses("f32", "f32"), losses("bf16", "bf16"));
    assert_ne!(exact, rounded, "bf16 was not computed in");
    // The reference's steps are large: even a different order of summation changes its loss by some thousandths.
    assert!(
        (exact[0] - rounded[0]).abs() < 0.02,
        "{rounded:?}, in f32 {exact:?}"
    );
    assert!(
        (exact[1] - rounded[1]).abs() < 1e-3,
        "{rounded:?}, in f32 {exact:?}"
    );
}
