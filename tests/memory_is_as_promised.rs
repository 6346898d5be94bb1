//! The process reaches the memory that `--dry-run` promises for every phase and transition: its anonymous memory, sampled while the
//! real program runs, lies within 15 % of the promise.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Place;
use heirloom::device::memory::anonymous_of;
use serde_json::Value;

/// Largest ratio of promised to reached memory, and of reached to promised.
const WITHIN: f64 = 1.15;

/// The config of the preset `tiny` at 8 layers of width 256, with one step a phase.
const SMALL: &[&str] = &[
    "model.n_embd=256",
    "reference.train.steps=1",
    "reference.train.warmup=0",
    "train.steps=1",
    "train.dtype=f32",
    "train.warmup=0",
    "eval.windows=4",
    "probe.windows=2",
    "inherit.layers=4",
    "grow.step=2",
    "grow.max_layers=6",
    // Makes every model worse than the reference, so that it grows.
    "match.tolerance=-10",
];

fn args<'a>(first: &[&'a str], sets: &[&'a str]) -> Vec<&'a str> {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    first.iter().copied().chain(sets).collect()
}

/// Samples the peak of anonymous memory in each stretch of a run.
struct Watch {
    child: Child,
    peaks: Arc<Mutex<Vec<(String, u64)>>>,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Starts the program with `--json` and names each stretch of its run by `name`, which sees every event.
    fn start(
        place: &Place,
        args: &[&str],
        mut name: impl FnMut(&Value) -> Option<String> + Send + 'static,
    ) -> Self {
        let mut child = place
            .heirloom(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let peaks = Arc::new(Mutex::new(vec![("start".to_string(), 0)]));
        let over = Arc::new(AtomicBool::new(false));
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (named, ended) = (Arc::clone(&peaks), Arc::clone(&over));
        let reading = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).expect("an event");
                if let Some(name) = name(&event) {
                    named.lock().expect("no panic").push((name, 0));
                }
            }
            ended.store(true, Ordering::SeqCst);
        });
        let (pid, sampled, ended) = (child.id(), Arc::clone(&peaks), Arc::clone(&over));
        let sampling = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let stretch = sampled.lock().expect("no panic").len();
                let now = anonymous_of(pid).unwrap_or(0);
                let mut peaks = sampled.lock().expect("no panic");
                // A sample is dropped if an event came while it was taken.
                if peaks.len() == stretch
                    && let Some((_, peak)) = peaks.last_mut()
                {
                    *peak = now.max(*peak);
                }
                drop(peaks);
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        Self {
            child,
            peaks,
            over,
            threads: vec![reading, sampling],
        }
    }

    /// Waits for the end. Returns the largest peak of each name, in the order of their first appearance.
    fn end(mut self, code: i32) -> Vec<(String, u64)> {
        let status = self.child.wait().expect("it was started");
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic");
        }
        assert_eq!(status.code(), Some(code));
        assert!(self.over.load(Ordering::SeqCst));
        let mut all: Vec<(String, u64)> = Vec::new();
        for (name, peak) in self.peaks.lock().expect("no panic").drain(..) {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, most)) => *most = peak.max(*most),
                None => all.push((name, peak)),
            }
        }
        all
    }
}

/// Returns a function that names stretches after phases and the transitions between them. A transition lasts from the last
/// checkpoint of a phase to the first step of the next one: the new model, its first evaluation and its probe belong to it.
fn phases_and_transitions() -> impl FnMut(&Value) -> Option<String> + Send {
    let (mut phase, mut ended) = (String::new(), false);
    move |event| {
        let kind = event["kind"].as_str()?;
        match kind {
            "phase" if event["result"].is_null() => {
                let next = event["phase"].as_str()?.to_string();
                let from = std::mem::replace(&mut phase, next);
                ended = false;
                match from.is_empty() {
                    true => Some(phase.clone()),
                    false => Some(format!("{from} -> {phase}")),
                }
            }
            "phase" => {
                ended = true;
                None
            }
            "checkpoint" if ended => Some(format!("after {phase}")),
            "train" | "checkpointing" => Some(phase.clone()),
            _ => None,
        }
    }
}

/// Returns the promises of a dry run for phases and transitions, by name, and its JSON.
fn promises(place: &Place, first: &[&str], sets: &[&str]) -> (Vec<(String, u64)>, Value) {
    let first = [first, &["--dry-run", "--json"]].concat();
    let out = place.expect(0, &args(&first, sets));
    let plan: Value = serde_json::from_str(&out).expect("one object");
    let bytes = |v: &Value| v["memory_bytes"].as_u64().expect("a number");
    let text = |v: &Value| v.as_str().expect("a name").to_string();
    let phases = plan["phases"].as_array().expect("a list").iter();
    let mut all: Vec<(String, u64)> = phases.map(|p| (text(&p["phase"]), bytes(p))).collect();
    for t in plan["transitions"].as_array().expect("a list") {
        all.push((
            format!("{} -> {}", text(&t["from"]), text(&t["to"])),
            bytes(t),
        ));
    }
    (all, plan)
}

/// Returns the peak of a phase or transition. Memory that is reached after a phase's end belongs to the transition that follows.
fn reached(peaks: &[(String, u64)], name: &str) -> u64 {
    let after = name
        .split_once(" -> ")
        .map(|(from, _)| format!("after {from}"));
    let fits = |n: &str| n == name || Some(n) == after.as_deref();
    let all = peaks.iter().filter(|(n, _)| fits(n)).map(|(_, peak)| *peak);
    all.max().unwrap_or(0)
}

#[track_caller]
fn compare(promised: &[(String, u64)], peaks: &[(String, u64)]) {
    let mut wrong = Vec::new();
    for (name, promise) in promised {
        let peak = reached(peaks, name);
        let ratio = *promise as f64 / peak as f64;
        let line = format!(
            "{name}: {} MB promised, {} MB reached, {ratio:.3}",
            promise / 1_000_000,
            peak / 1_000_000
        );
        println!("{line}");
        if !(1.0 / WITHIN..=WITHIN).contains(&ratio) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn whole_recipe(place: &Place, sets: &[&str]) -> Value {
    let (promised, plan) = promises(place, &["train", "tiny"], sets);
    let first = ["train", "tiny", "--json", "--name", "mine"];
    let watch = Watch::start(place, &args(&first, sets), phases_and_transitions());
    compare(&promised, &watch.end(0));
    plan
}

/// Returns the ratio of the largest promise to the memory that the largest phase needs in `bench train`, with the program and the
/// copy of a checkpoint.
fn overhead(plan: &Value, bench_bytes: u64) -> f64 {
    let phases = plan["phases"].as_array().expect("a list").iter();
    let largest = phases.max_by_key(|p| p["memory_bytes"].as_u64());
    let memory = &largest.expect("a phase")["memory"];
    let part = |name: &str| memory[name].as_u64().expect("a number");
    let alone = bench_bytes + part("program") + part("checkpoint");
    plan["memory_bytes"].as_u64().expect("a number") as f64 / alone as f64
}

/// Returns the bytes that `bench train` needs for the config's reference.
fn bench_bytes(sizes: heirloom::model::Sizes, batch: usize, time: usize) -> u64 {
    use heirloom::model::{DecoderConfig, Format, Mode, memory_bytes};
    let config = DecoderConfig::gpt2(sizes, true);
    memory_bytes(&config, batch, time, Mode::Train, Format::PLAIN)
}

#[test]
fn a_recipe_with_restarts_reaches_what_was_promised() {
    let place = Place::new();
    let sets = [SMALL, &["train.batch_tokens=8192"]].concat();
    let plan = whole_recipe(&place, &sets);
    let sizes = heirloom::model::Sizes {
        n_layer: 8,
        n_head: 4,
        n_embd: 256,
        context_length: 128,
        vocab: 320,
    };
    let overhead = overhead(&plan, bench_bytes(sizes, 64, 128));
    println!("largest promise: {overhead:.3} of the largest phase alone and a checkpoint's copy");
    assert!(overhead <= 1.10);
    // All outputs have the same number.
    let text = place.expect(0, &args(&["train", "tiny", "--dry-run"], &sets));
    let largest = plan["memory_bytes"].as_u64().expect("a number");
    let words = format!("at most {}", heirloom::run::table::bytes(largest));
    assert!(text.contains(&words), "{words}: {text}");
}

/// `info` of a config prints what a dry run of it reports of the reference.
#[test]
fn info_prints_the_same_number() {
    let place = Place::new();
    let (promised, plan) = promises(&place, &["train", "mini.toml"], &[]);
    let out = place.expect(0, &["info", "mini.toml", "--json"]);
    let info: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(info["memory_bytes"]["train"], promised[0].1);
    assert_eq!(plan["phases"][0]["memory_bytes"], promised[0].1);
}

/// A phase that does not fit is refused before it begins.
#[test]
fn a_recipe_that_does_not_fit_is_refused() {
    let place = Place::new();
    let sets = ["model.n_embd=65536", "model.n_layer=4", "model.n_head=64"];
    let output = place.run(&args(&["train", "mini.toml", "--name", "mine"], &sets));
    let (_, err) = common::texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    for words in [
        "the phase control-reference needs",
        "are available",
        "train.micro_batch",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert!(!place.run_dir("mine").exists(), "no run is left behind");
}

/// Measures shape S of docs/performance.md.
#[test]
#[ignore = "takes minutes: cargo test --release --test memory_is_as_promised -- --ignored --nocapture"]
fn a_recipe_at_s_reaches_what_was_promised() {
    let place = Place::new();
    let sets = [
        "model.n_layer=6",
        "model.n_head=6",
        "model.n_embd=384",
        "model.context_length=256",
        "train.batch_tokens=2048",
        "train.dtype=f32",
        "data.tokenizer=\"gpt2\"",
        "reference.train.steps=2",
        "reference.train.warmup=0",
        "train.steps=2",
        "train.warmup=0",
        "eval.windows=32",
        "inherit.layers=3",
        "grow.step=2",
        "grow.max_layers=5",
        "match.tolerance=-10",
    ];
    let plan = whole_recipe(&place, &sets);
    let sizes = heirloom::model::Sizes {
        n_layer: 6,
        n_head: 6,
        n_embd: 384,
        context_length: 256,
        vocab: 50304,
    };
    let overhead = overhead(&plan, bench_bytes(sizes, 8, 256));
    println!("largest promise: {overhead:.3} of the largest phase alone and a checkpoint's copy");
    assert!(overhead <= 1.10);
}

#[test]
fn growth_that_keeps_rollback_and_resume_reach_what_was_promised() {
    let place = Place::new();
    let sets = [
        SMALL,
        &[
            "train.batch_tokens=2048",
            "grow.mode=\"keep\"",
            "policy.mode=\"ask\"",
        ],
        &[
            "train.steps=100000",
            "policy.max_overrun_steps=0",
            "train.log_every=1",
        ],
    ]
    .concat();
    let (promised, _) = promises(&place, &["train", "tiny"], &sets);
    let promise = |name: &str| {
        let found = promised.iter().find(|(n, _)| n == name);
        (name.to_string(), found.expect("planned").1)
    };
    let first = ["train", "tiny", "--json", "--name", "mine"];
    let mut name = phases_and_transitions();
    let watch = Watch::start(&place, &args(&first, &sets), move |event| {
        // The rollback ends the test, so the steps after it belong to the same stretch.
        let rollback = event["kind"] == "rollback" || event["branch"] == 1;
        match rollback {
            true => Some("rollback".into()),
            false => name(event),
        }
    });
    let pid = watch.child.id();
    place.wait_event("mine", "a step of round 1", |e| {
        e["kind"] == "train" && e["phase"] == "round-1"
    });
    // The growth prompt prints the same number.
    place.expect(0, &["ctl", "mine", "decide"]);
    let decision = place.wait_event("mine", "evidence", |e| e["kind"] == "decision");
    let growth = &decision["evidence"]["growth"];
    assert_eq!(growth["memory_bytes"], promise("round-2").1, "{growth}");
    place.expect(0, &["ctl", "mine", "grow", "2", "keep"]);
    place.wait_event("mine", "a step of round 2", |e| {
        e["kind"] == "train" && e["phase"] == "round-2"
    });
    place.expect(0, &["ctl", "mine", "rollback", "pre-grow-1"]);
    place.wait_event("mine", "a step after the rollback", |e| {
        e["kind"] == "train" && e["branch"] == 1
    });
    terminate(pid);
    let peaks = watch.end(75);
    // A transition needs the memory of the larger of its phases, in either direction.
    let transition = promise("round-1 -> round-2").1;
    compare(
        &[
            promise("reference"),
            promise("round-1"),
            promise("round-2"),
            ("rollback".into(), transition),
        ],
        &peaks,
    );

    let steps = place
        .events("mine")
        .iter()
        .filter(|e| e["kind"] == "train")
        .count();
    let watch = Watch::start(&place, &["train", "--resume", "mine", "--json"], |e| {
        e["phase"].as_str().map(String::from)
    });
    let pid = watch.child.id();
    common::wait("a step after the resume", || {
        let events = place.events("mine");
        (events.iter().filter(|e| e["kind"] == "train").count() > steps).then_some(())
    });
    terminate(pid);
    let peaks = watch.end(75);
    compare(&[promise("round-1")], &peaks);
}

fn terminate(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
}

/// Where a copy does not fit, the same checkpoints are written while training waits, and the journal reports it.
#[test]
fn checkpoints_without_a_copy_are_the_same() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "copied"]);
    let output = place
        .heirloom(&["train", "mini.toml", "--name", "live"])
        .env("HEIRLOOM_FAULT", "checkpoint-copy:0")
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(0));
    let events = place.events("live");
    let count = |kind: &str| events.iter().filter(|e| e["kind"] == kind).count();
    let said = events.iter().filter(|e| {
        let message = e["message"].as_str().unwrap_or_default();
        e["kind"] == "log" && message.starts_with("training waits for this checkpoint")
    });
    assert!(count("checkpoint") > 5);
    assert_eq!(said.count(), count("checkpointing"));
    let file = |run: &str, name: &str| {
        std::fs::read(place.run_dir(run).join("checkpoints").join(name)).expect("it is there")
    };
    for name in [
        "best/model.safetensors",
        "best/optimizer.safetensors",
        "latest/model.safetensors",
        "latest/optimizer.safetensors",
        "reference/model.safetensors",
        "reference/optimizer.safetensors",
    ] {
        assert!(file("live", name) == file("copied", name), "{name}");
    }
}
