//! A resume continues the interrupted run: every key of the config has a rule that defines whether and when it may change. Device and
//! threads are kept, or their change is reported.

#[path = "../common/mod.rs"]
mod common;
mod dtype;

use std::process::Stdio;

use common::{Place, signal, texts, wait};
use heirloom::config::keys::{KEYS, OnResume, Stage};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Another value for each key; all of them together are valid.
const OTHERS: &[(&str, &str)] = &[
    ("model.family", "llama"),
    ("model.n_layer", "6"),
    ("model.n_head", "4"),
    ("model.n_kv_head", "1"),
    ("model.n_embd", "64"),
    ("model.n_inner", "96"),
    ("model.context_length", "64"),
    ("model.vocab", "384"),
    ("model.bias", "false"),
    ("model.rope_theta", "500.0"),
    ("model.tie_word_embeddings", "false"),
    ("model.scale_attn_by_inverse_layer_idx", "true"),
    ("data.train", "copy.txt"),
    ("data.val_fraction", "0.2"),
    ("data.text_field", "\"content\""),
    ("reference.path", "elsewhere"),
    ("reference.train.steps", "2000000"),
    ("reference.train.lr", "2e-3"),
    ("reference.train.min_lr", "1e-5"),
    ("reference.train.warmup", "3"),
    ("reference.train.schedule", "linear"),
    ("inherit.layers", "2"),
    ("inherit.what", "[\"attention\", \"embeddings\"]"),
    ("train.steps", "2000000"),
    ("train.context_length", "16"),
    ("train.batch_tokens", "512"),
    ("train.micro_batch", "2"),
    ("train.lr", "4e-5"),
    ("train.min_lr", "1e-6"),
    ("train.warmup", "1"),
    ("train.schedule", "wsd"),
    ("train.optimizer", "muon"),
    ("train.muon_lr", "2e-3"),
    ("train.muon_momentum", "0.9"),
    ("train.muon_scale", "original"),
    ("train.betas", "[0.8, 0.9]"),
    ("train.weight_decay", "0.2"),
    ("train.clip", "0.5"),
    ("train.dtype", "bf16"),
    ("train.recompute", "true"),
    ("train.shard", "optimizer"),
    ("train.seed", "7"),
    ("train.log_every", "2"),
    ("eval.every", "7"),
    ("eval.windows", "12"),
    // Without their files a run with tasks does not start.
    ("eval.tasks", "[]"),
    ("eval.tasks_every", "50"),
    ("eval.limit", "10"),
    ("eval.data", "tasks"),
    ("eval.samples", "[\"Once\"]"),
    ("probe.budget", "0.02"),
    ("probe.windows", "3"),
    ("probe.length", "8"),
    ("probe.tau", "0.8"),
    ("grow.step", "2"),
    ("grow.mode", "keep"),
    ("grow.source", "copy-top"),
    ("grow.recover_steps", "3"),
    ("grow.max_layers", "3"),
    ("match.tolerance", "0.5"),
    ("match.patience", "2"),
    ("policy.mode", "pause"),
    ("policy.forecast", "true"),
    ("policy.max_overrun_steps", "7"),
    ("policy.max_tokens", "1000000000000"),
    ("policy.unattended_minutes", "3.0"),
    ("policy.max_hours", "90.0"),
    ("control.random", "false"),
    ("control.reference_continued", "false"),
    ("baseline", "[{ name = \"extra\", start = \"random\" }]"),
    ("policy.only_baseline", "extra"),
    ("checkpoint.every", "11"),
    ("checkpoint.keep", "4"),
    ("notify.command", "[\"true\"]"),
    ("notify.on", "[\"done\"]"),
    ("notify.terminal", "bell"),
    ("dist.timeout_s", "60"),
];
/// Keys whose new values need other files, which other tests cover.
const FILES: [&str; 2] = ["data.val", "data.tokenizer"];

/// Stops run `name` with a checkpoint once it trains in a phase.
fn stopped_in(place: &Place, name: &str, phase: &str, settings: &[&str]) {
    let mut child = place.start(&[&["train", "mini.toml", "--name", name], settings].concat());
    place.wait_event(name, phase, |e| e["phase"] == phase && e["kind"] == "train");
    signal(child.id(), Signal::SIGTERM);
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(75), "{}", place.printed());
}

fn config(place: &Place, name: &str) -> toml::Table {
    let text = std::fs::read_to_string(place.run_dir(name).join("config.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

fn value<'a>(config: &'a toml::Table, path: &str) -> Option<&'a toml::Value> {
    let Some((section, name)) = path.rsplit_once('.') else {
        return config.get(path);
    };
    let mut table = config;
    for part in section.split('.') {
        table = table.get(part)?.as_table()?;
    }
    table.get(name)
}

/// Tests every key of the table at a stage of a real run: refused ones one by one, and accepted ones all at once.
fn every_key(place: &Place, name: &str, stage: Stage, phase: &str) {
    let text = include_str!("../../src/corpus/tinyshakespeare.txt");
    std::fs::write(place.path().join("copy.txt"), text).unwrap();
    let before = config(place, name);
    let mut accepted = Vec::new();
    for key in KEYS.iter().filter(|key| !FILES.contains(&key.path)) {
        let other = OTHERS.iter().find(|(path, _)| *path == key.path);
        let (path, new) = other.unwrap_or_else(|| panic!("no other value for {}", key.path));
        let refused = match key.on_resume {
            OnResume::Free | OnResume::SameContent => false,
            OnResume::Refused(_) => true,
            OnResume::FreeUntil(end) | OnResume::NewPhase(end) => stage >= end,
            // The other value is `false`.
            OnResume::OffAfter(_) => false,
        };
        let set = format!("{path}={new}");
        if !refused {
            accepted.extend(["--set".to_string(), set]);
            continue;
        }
        let output = place.run(&["train", "--resume", name, "--set", &set]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{set}\n{out}\n{err}");
        if ["model.n_kv_head", "model.rope_theta"].contains(path) {
            // The key belongs to another family, which is reported first.
            let no_meaning = format!("{path} has no meaning for model.family");
            assert!(err.contains(&no_meaning), "{set}: {err}");
            continue;
        }
        if *path == "policy.only_baseline" {
            // Nor does the run have that baseline.
            assert!(err.contains("no baseline is named \"extra\""), "{err}");
            continue;
        }
        let old = value(&before, path).map_or("absent".into(), ToString::to_string);
        let words = [
            format!("{path} cannot change on a resume"),
            format!("it is {old} in this run"),
            "start a new run".into(),
        ];
        for word in words {
            assert!(err.contains(&word), "{set}: no {word:?} in {err}");
        }
    }
    assert_eq!(config(place, name), before, "refusals change nothing");
    let seq = place.events(name).last().unwrap()["seq"].as_u64();
    let args: Vec<&str> = accepted.iter().map(String::as_str).collect();
    let mut child = place.start(&[&["train", "--resume", name], &args[..]].concat());
    wait("training", || {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "{}", place.printed());
            return Some(());
        }
        let events = place.events(name);
        let mut new = events.iter().filter(|e| e["seq"].as_u64() > seq);
        new.any(|e| e["phase"] == phase && e["kind"] == "train")
            .then_some(())
    });
    if child.try_wait().unwrap().is_none() {
        signal(child.id(), Signal::SIGTERM);
        child.wait().unwrap();
    }
    let printed = place.printed();
    let after = config(place, name);
    for set in accepted.iter().filter(|word| *word != "--set") {
        let (path, _) = set.split_once('=').unwrap();
        assert!(printed.contains(&format!("{path} = ")), "{path}: {printed}");
        assert_ne!(value(&after, path), value(&before, path), "{path}");
    }
    // Refused keys are unchanged in the config.
    for key in KEYS {
        if !accepted
            .iter()
            .any(|set| set.starts_with(&format!("{}=", key.path)))
        {
            assert_eq!(
                value(&after, key.path),
                value(&before, key.path),
                "{}",
                key.path
            );
        }
    }
}

#[test]
fn every_key_while_the_reference_is_trained() {
    let place = Place::new();
    let long = ["--set", "reference.train.steps=1000000"];
    stopped_in(&place, "r", "reference", &long);
    every_key(&place, "r", Stage::Reference, "reference");
}

#[test]
fn every_key_in_a_round() {
    let place = Place::new();
    stopped_in(&place, "r", "round-1", &["--set", "train.steps=1000000"]);
    every_key(&place, "r", Stage::Rounds, "round-1");
}

#[test]
fn every_key_in_a_control() {
    let place = Place::new();
    let matched = ["--set", "match.tolerance=100.0", "--set", "train.steps=500"];
    stopped_in(&place, "r", "control-random", &matched);
    // Both controls are switched off: the control in progress is abandoned, and the run is done.
    every_key(&place, "r", Stage::Controls, "none");
    let show = place.show("r");
    assert_eq!(show["state"], "done", "{show}");
    assert_eq!(show["controls"], serde_json::json!([]));
}

#[test]
fn a_control_in_progress_can_be_given_up() {
    let place = Place::new();
    let one = ["--set", "grow.max_layers=1", "--set", "train.steps=300"];
    stopped_in(&place, "r", "control-random", &one);
    place.expect(
        0,
        &["train", "--resume", "r", "--set", "control.random=false"],
    );
    let show = place.show("r");
    let names: Vec<&Value> = show["controls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["reference_continued"]);
}

/// The present phase keeps its value, however often it is resumed; the next phase has the new value.
#[test]
fn a_value_for_the_next_phase_waits_for_it() {
    let place = Place::new();
    let settings = [
        "--set",
        "train.steps=400",
        "--set",
        "grow.max_layers=2",
        "--set",
        "match.patience=1000",
        "--set",
        "control.random=false",
        "--set",
        "control.reference_continued=false",
    ];
    place.expect(
        0,
        &[&["train", "mini.toml", "--name", "whole"], &settings[..]].concat(),
    );
    stopped_in(&place, "r", "round-1", &settings);
    // Resumes with another number of tokens, stops in the same round, and resumes without it.
    let set = ["--set", "train.batch_tokens=512"];
    let seq = place.events("r").last().unwrap()["seq"].as_u64();
    let mut child = place.start(&[&["train", "--resume", "r"], &set[..]].concat());
    wait("a step", || {
        let events = place.events("r");
        let mut new = events.iter().filter(|e| e["seq"].as_u64() > seq);
        new.any(|e| e["kind"] == "train").then_some(())
    });
    signal(child.id(), Signal::SIGTERM);
    wait("the end", || child.try_wait().unwrap());
    let printed = place.printed();
    assert!(
        printed.contains(
            "train.batch_tokens = 512 takes effect with the next round; the present one keeps 256"
        ),
        "{printed}"
    );
    assert_eq!(place.show("r")["phase"], "round-1", "{printed}");
    place.expect(0, &["train", "--resume", "r"]);
    let (show, whole) = (place.show("r"), place.show("whole"));
    assert_eq!(show["rounds"][0]["tokens"], 400 * 256);
    assert_eq!(
        show["rounds"][0]["val_loss"],
        whole["rounds"][0]["val_loss"]
    );
    assert_eq!(show["rounds"][1]["tokens"], 400 * 512);
    assert_ne!(
        show["rounds"][1]["val_loss"],
        whole["rounds"][1]["val_loss"]
    );
    let events = place.events("r");
    let told = events
        .iter()
        .any(|e| e["kind"] == "log" && e["message"] == "train.batch_tokens = 512 from here on");
    assert!(told, "the journal has the change");
    let mut infos = events
        .iter()
        .filter_map(|e| e["info"]["batch_tokens"].as_u64());
    assert_eq!(infos.next_back(), Some(512));
}

/// Controls have the values of the rounds: without another round, the new value is not used, which is reported.
#[test]
fn a_value_that_waits_in_vain_is_reported() {
    let place = Place::new();
    let one = ["--set", "grow.max_layers=1", "--set", "train.steps=300"];
    stopped_in(&place, "r", "round-1", &one);
    place.expect(
        0,
        &["train", "--resume", "r", "--set", "train.batch_tokens=512"],
    );
    let show = place.show("r");
    assert_eq!(show["rounds"][0]["tokens"], 300 * 256);
    assert_eq!(show["controls"][0]["tokens"], 300 * 256);
    let reported =
        "train.batch_tokens = 512 waited for another round, but no round follows: it was not used";
    let events = place.events("r");
    assert!(
        events
            .iter()
            .any(|e| e["kind"] == "warning" && e["message"] == reported)
    );
    let after = config(&place, "r");
    assert_eq!(
        value(&after, "train.batch_tokens").unwrap().as_integer(),
        Some(256)
    );
}

#[test]
fn a_rollback_returns_to_the_phases_own_values() {
    let place = Place::new();
    stopped_in(&place, "mine", "round-1", &["--set", "train.steps=1000000"]);
    let mut child = place.start(&[
        "train",
        "--resume",
        "mine",
        "--set",
        "train.batch_tokens=512",
    ]);
    let in_round = |n: u32, after: u64| {
        place.wait_event("mine", "the round", |e| {
            e["phase"] == format!("round-{n}")
                && e["kind"] == "train"
                && e["phase_step"].as_u64() > Some(30)
                && e["seq"].as_u64() > Some(after)
        })["seq"]
            .as_u64()
            .unwrap()
    };
    let ctl = |words: &[&str]| {
        let (code, out, err) = place.ctl("mine", words);
        assert_eq!(code, 0, "{out}{err}");
    };
    in_round(
        1,
        place.events("mine").last().unwrap()["seq"]
            .as_u64()
            .unwrap(),
    );
    ctl(&["grow", "1"]);
    let seq = in_round(2, 0);
    ctl(&["rollback", "pre-grow-1"]);
    in_round(1, seq);
    wait("steps of the branch", || {
        let events = place.events("mine");
        let of_branch = events.iter().filter(|e| e["branch"] == 1);
        (of_branch.filter(|e| e["kind"] == "train").count() > 2).then_some(())
    });
    ctl(&["quit"]);
    wait("the end", || child.try_wait().unwrap());
    // The tokens of consecutive `train` events give the size of a step.
    let per_step = |phase: &str, branch: u64| {
        let events = place.events("mine");
        let steps: Vec<(u64, u64)> = events
            .iter()
            .filter(|e| e["kind"] == "train" && e["phase"] == phase && e["branch"] == branch)
            .map(|e| (e["step"].as_u64().unwrap(), e["tokens"].as_u64().unwrap()))
            .collect();
        let (first, last) = (steps.first().unwrap(), steps.last().unwrap());
        assert!(last.0 > first.0, "{steps:?}");
        (last.1 - first.1) / (last.0 - first.0)
    };
    assert_eq!((per_step("round-2", 0), per_step("round-1", 1)), (512, 256));
}

#[test]
fn an_edited_config_is_judged_like_an_override() {
    let place = Place::new();
    stopped_in(&place, "r", "round-1", &["--set", "train.steps=1000000"]);
    let path = place.run_dir("r").join("config.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let refused = |text: &str, words: &[&str]| {
        assert_ne!(text, good);
        std::fs::write(&path, text).unwrap();
        let output = place.run(&["train", "--resume", "r"]);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{out}{err}");
        for word in words {
            assert!(err.contains(word), "{word}: {err}");
        }
    };
    let edited = good.replace("n_layer = 4", "n_layer = 6");
    refused(
        &edited,
        &[
            "model.n_layer cannot change",
            "config.toml makes it 6",
            "put model.n_layer = 4 back",
        ],
    );
    // A checkpoint of an earlier version contains no config; the shape follows from its weights.
    let latest = std::fs::canonicalize(place.run_dir("r").join("checkpoints/latest")).unwrap();
    let state = latest.join("state.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    json["state"]
        .as_object_mut()
        .unwrap()
        .shift_remove("values")
        .unwrap();
    std::fs::write(&state, json.to_string()).unwrap();
    let edited = good.replace("n_embd = 32", "n_embd = 64");
    refused(
        &edited,
        &[
            "model.n_embd is 64 in the config, and 32 in the checkpoint",
            "put model.n_embd = 32 into",
        ],
    );
    std::fs::write(&path, &good).unwrap();
    let output = place.run(&["train", "--resume", "r", "--set", "model.n_layer=6"]);
    assert!(
        texts(&output)
            .1
            .contains("model.n_layer cannot change on a resume")
    );
    place.expect(0, &["train", "--resume", "r", "--set", "train.steps=20"]);
}

/// Returns device and threads of the processes that worked on a run.
fn infos(place: &Place, name: &str) -> Vec<(String, u64)> {
    let events = place.events(name);
    let infos = events
        .iter()
        .filter(|e| e["kind"] == "run" && e["info"].is_object());
    let of = |e: &Value| {
        let device = e["info"]["device"].as_str().unwrap().to_string();
        (device, e["info"]["threads"].as_u64().unwrap())
    };
    infos.map(of).collect()
}

#[test]
fn device_and_threads_stay_or_the_change_is_reported() {
    let place = Place::new();
    let long = [
        "--set",
        "reference.train.steps=1000000",
        "--threads",
        "1",
        "--device",
        "cpu",
    ];
    stopped_in(&place, "r", "reference", &long);
    let resume = |args: &[&str]| {
        let seq = place.events("r").last().unwrap()["seq"].as_u64();
        let mut child = place.start(&[&["train", "--resume", "r"], args].concat());
        wait("a step", || {
            let events = place.events("r");
            let mut new = events.iter().filter(|e| e["seq"].as_u64() > seq);
            new.any(|e| e["kind"] == "train").then_some(())
        });
        signal(child.id(), Signal::SIGTERM);
        wait("the end", || child.try_wait().unwrap());
        let events = place.events("r");
        let warnings = events
            .iter()
            .filter(|e| e["seq"].as_u64() > seq && e["kind"] == "warning");
        let warnings: Vec<String> = warnings
            .map(|e| e["message"].as_str().unwrap().into())
            .collect();
        (place.printed(), warnings.join("\n"))
    };
    let (printed, warned) = resume(&[]);
    assert!(
        !printed.contains("threads:") && warned.is_empty(),
        "{printed}{warned}"
    );
    assert_eq!(
        infos(&place, "r"),
        [("cpu".to_string(), 1), ("cpu".to_string(), 1)]
    );
    // Changes the journal to that of a larger machine with a GPU.
    let path = place.run_dir("r").join("events.jsonl");
    let journal = std::fs::read_to_string(&path).unwrap();
    let moved = journal
        .replace("\"device\":\"cpu\"", "\"device\":\"cuda:99 NVIDIA H200\"")
        .replace("\"threads\":1,", "\"threads\":4096,");
    assert_ne!(moved, journal);
    std::fs::write(&path, moved).unwrap();
    let _ = std::fs::remove_file(place.run_dir("r").join("series.bin"));
    let (printed, warned) = resume(&[]);
    for said in [&printed, &warned] {
        for word in [
            "the run computed on cuda:99 NVIDIA H200, which is not available here",
            "was cuda:99 NVIDIA H200; from here on the numbers differ slightly from those of an uninterrupted run",
            ", was 4096 (this machine has",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    let (_, warned) = resume(&["--threads", "3"]);
    assert!(warned.contains("threads: 3, was "), "{warned}");
}
