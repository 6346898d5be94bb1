//! Downstream tasks and samples of a run are measured on the model in training. They agree with its checkpoints, do not affect
//! training, and are made exactly once across a resume.

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use candle_core::Device;
use common::{Place, signal, texts, wait};
use heirloom::corpus::Tokenizer;
use heirloom::eval::metrics;
use heirloom::eval::score::{Encoder, Known, Packing, Prepared, Scorer};
use heirloom::eval::tasks;
use heirloom::model::Files;
use heirloom::ops::Precision;
use nix::sys::signal::Signal;
use serde_json::Value;

const TASKS: [&str; 2] = ["piqa", "lambada_openai"];
const NO_CONTROLS: [&str; 4] = [
    "--set",
    "control.random=false",
    "--set",
    "control.reference_continued=false",
];

/// Makes a place whose config names two tasks, with their files. Some documents are longer than the model's context of 32.
fn place() -> Place {
    let place = Place::new();
    let data = place.path().join("tasks");
    std::fs::create_dir_all(data.join("piqa")).unwrap();
    std::fs::create_dir_all(data.join("lambada_openai")).unwrap();
    let mut rows = String::new();
    let mut labels = String::new();
    for (i, goal) in [
        "Boil",
        "Cut bread",
        "How do I open a jar that is stuck?",
        "Dry",
    ]
    .iter()
    .enumerate()
    {
        rows.push_str(&format!(
            "{{\"goal\": \"{goal}\", \"sol1\": \"with a knife {i}\", \"sol2\": \"a pot é\"}}\n"
        ));
        labels.push_str(if i % 2 == 0 { "1\n" } else { "0\n" });
    }
    std::fs::write(data.join("piqa/valid.jsonl"), rows).unwrap();
    std::fs::write(data.join("piqa/valid-labels.lst"), labels).unwrap();
    let words =
        "{\"text\": \"my lord and my lord\"}\n{\"text\": \"the king is the king, and so on\"}\n";
    std::fs::write(data.join("lambada_openai/test.jsonl"), words).unwrap();
    let config = common::MINI.replace(
        "[eval]\n",
        "[eval]\ntasks = [\"piqa\", \"lambada_openai\"]\ndata = \"tasks\"\nsamples = [\"ROMEO:\"]\n",
    );
    std::fs::write(place.path().join("tasks.toml"), config).unwrap();
    place
}

/// Returns the results of a checkpoint's model on a task, by name of the metric. The model is read from its files, and documents are
/// evaluated one by one, without sharing beginnings.
fn of_checkpoint(dir: &Path, data: &Path, task: &str) -> Vec<(String, f64, f64, usize)> {
    let model = Files::open(dir).unwrap().load(&Device::Cpu).unwrap();
    let task = tasks::find(task).unwrap();
    let set = (task.load)(data, None).unwrap();
    let tokenizer = Tokenizer::byte();
    let vocab = tokenizer.size();
    let encoder = Encoder::new(tokenizer, None, false, model.config.context_length).unwrap();
    let packing = Packing {
        tokens: 1,
        share: false,
    };
    let prepared = Prepared::new(&encoder, &set.documents, packing).unwrap();
    let rows = prepared.longest_pass();
    let scorer = Scorer::new(&model.config, rows, Precision::F32, vocab, &Device::Cpu).unwrap();
    let go_on = &mut |_: heirloom::eval::score::Finished<'_>| ControlFlow::Continue(());
    let scores = scorer.score(&model, &prepared, &Known::new(), go_on);
    let scores = scores.unwrap().unwrap();
    let values = metrics::results(task, &set.documents, &scores);
    values
        .into_iter()
        .map(|(metric, v)| (metric.name().to_string(), v.value, v.stderr, v.n))
        .collect()
}

fn kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |e| e["kind"] == kind)
}

#[test]
fn results_of_a_run_are_those_of_its_checkpoints() {
    let place = place();
    let mut args = vec!["train", "tasks.toml", "--name", "a", "--json"];
    args.extend(NO_CONTROLS);
    place.expect(0, &args);
    let events = place.events("a");
    let ends: Vec<&str> = kind(&events, "phase")
        .filter(|e| !e["result"].is_null())
        .map(|e| e["phase"].as_str().unwrap())
        .collect();
    assert!(ends.len() >= 2, "{ends:?}");
    let (show, data) = (place.show("a"), place.path().join("tasks"));
    for phase in ends {
        // The checkpoint of the phase's result.
        let written = kind(&events, "checkpoint").filter(|e| e["phase"] == phase);
        let last = written.filter(|e| e["milestone"] == true).last().unwrap();
        let name = last["name"].as_str().unwrap();
        let checkpoint = place.run_dir("a").join("checkpoints").join(name);
        for task in TASKS {
            let mut of_phase = kind(&events, "task").filter(|e| e["phase"] == phase);
            let got = of_phase.find(|e| e["task"] == task).unwrap();
            let metrics = got["metrics"].as_array().unwrap();
            let wanted = of_checkpoint(&checkpoint, &data, task);
            assert_eq!(metrics.len(), wanted.len(), "{got}");
            for (metric, (name, value, stderr, n)) in metrics.iter().zip(wanted) {
                assert_eq!(metric["name"], name.as_str());
                assert_eq!(metric["n"], n);
                let near = |got: &Value, wanted: f64| {
                    let got = got.as_f64().unwrap_or(f64::NAN);
                    let limit = 1e-6 * wanted.abs().max(1.0);
                    (got.is_nan() && wanted.is_nan()) || (got - wanted).abs() <= limit
                };
                assert!(near(&metric["value"], value), "{metric} {value}");
                assert!(near(&metric["stderr"], stderr), "{metric} {stderr}");
            }
            let shown = &show["tasks"][phase][task]["metrics"];
            let (first, value) = (&metrics[0]["name"], &metrics[0]["value"]);
            assert_eq!(&shown[first.as_str().unwrap()]["value"], value);
        }
        let samples = kind(&events, "sample").filter(|e| e["phase"] == phase);
        assert_eq!(samples.count(), 1, "{phase}");
    }
    let text = place.expect(0, &["show", "a"]);
    assert!(
        text.contains("piqa acc") && text.contains("ROMEO:"),
        "{text}"
    );
    place.expect(0, &["export", "a", "--format", "hf", "--out", "model"]);
    let card = std::fs::read_to_string(place.path().join("model/README.md")).unwrap();
    assert!(
        card.contains("## Downstream tasks") && card.contains("| piqa | acc | 0.50 |"),
        "{card}"
    );
}

#[test]
fn tasks_leave_no_trace_in_training_and_kills_lose_and_repeat_none() {
    let place = place();
    let mut plain = vec!["train", "mini.toml", "--name", "plain", "--json"];
    plain.extend(NO_CONTROLS);
    place.expect(0, &plain);
    let mut start = vec!["train", "tasks.toml", "--name", "killed", "--json"];
    start.extend(["--set", "eval.tasks_every=10"]);
    start.extend(NO_CONTROLS);
    let mut args = start.clone();
    let mut kills = 0;
    loop {
        let mut child = place.start(&args);
        // The time increases, so that the run also finishes on a busy machine.
        let patience = Duration::from_millis(400 + 700 * kills);
        std::thread::sleep(patience);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{}", place.printed());
            break;
        }
        signal(child.id(), Signal::SIGKILL);
        child.wait().unwrap();
        kills += 1;
        if place.run_dir("killed").join("events.jsonl").exists() {
            args = vec!["train", "--resume", "killed", "--json"];
        }
    }
    let model = |name: &str| {
        let path = place
            .run_dir(name)
            .join("checkpoints/latest/model.safetensors");
        std::fs::read(path).unwrap()
    };
    assert!(model("plain") == model("killed"), "the same weights");
    let show = place.show("killed");
    let mut phases = vec!["reference".to_string()];
    let rounds = show["rounds"].as_array().unwrap();
    phases.extend(rounds.iter().map(|r| format!("round-{}", r["round"])));
    for phase in phases {
        for task in TASKS {
            let last = &show["tasks"][&phase][task];
            let steps = match phase.as_str() {
                "reference" => 60,
                _ => 20,
            };
            assert_eq!(last["phase_step"], steps, "{phase} {task}: {show}");
        }
    }
    // On the live branch, each result was measured once.
    let live = live_results(&place.events("killed"));
    let mut once = live.clone();
    once.dedup();
    assert_eq!(live, once);
    let of_reference = live.iter().filter(|(phase, ..)| phase == "reference");
    assert_eq!(of_reference.count(), 6 * TASKS.len());
}

/// Returns phase, step and task of the results that were not dropped by a resume, sorted.
fn live_results(events: &[Value]) -> Vec<(String, u64, String)> {
    let mut live: Vec<(u64, (String, u64, String))> = Vec::new();
    for event in events {
        match event["kind"].as_str().unwrap() {
            "resumed" => live.retain(|(seq, _)| *seq <= event["from_seq"].as_u64().unwrap()),
            "task" => live.push((
                event["seq"].as_u64().unwrap(),
                (
                    event["phase"].as_str().unwrap().into(),
                    event["phase_step"].as_u64().unwrap(),
                    event["task"].as_str().unwrap().into(),
                ),
            )),
            _ => {}
        }
    }
    let mut all: Vec<_> = live.into_iter().map(|(_, result)| result).collect();
    all.sort();
    all
}

#[test]
fn tasks_and_texts_are_asked_for_by_command() {
    let place = place();
    let mut child = place.start(&[
        "train",
        "mini.toml",
        "--name",
        "run",
        "--set",
        "reference.train.steps=1000000",
        "--set",
        "eval.data=tasks",
    ]);
    wait("the run", || {
        place
            .run(&["ctl", "run", "status"])
            .status
            .success()
            .then_some(())
    });
    let got = place.expect(
        0,
        &["ctl", "run", "eval", "piqa,lambada_openai", "limit", "2"],
    );
    assert!(
        got.contains("piqa  acc") && got.contains("(2 documents"),
        "{got}"
    );
    assert!(got.contains("lambada_openai  perplexity"), "{got}");
    let (_, refused) = texts(&place.run(&["ctl", "run", "eval", "piqua"]));
    assert!(refused.contains("piqa"), "{refused}");
    let (_, refused) = texts(&place.run(&["ctl", "run", "eval", "sciq"]));
    assert!(refused.contains("sciq"), "{refused}");
    place.expect(0, &["ctl", "run", "sample", "ROMEO:"]);
    let status = place.expect(0, &["ctl", "run", "status"]);
    assert!(status.contains("piqa  acc"), "{status}");
    place.expect(0, &["ctl", "run", "quit"]);
    child.wait().unwrap();
    let events = place.events("run");
    assert_eq!(kind(&events, "sample").count(), 1);
    assert_eq!(kind(&events, "task").count(), 2);
}

#[test]
fn what_a_config_asks_for_is_checked_before_a_run_exists() {
    let place = place();
    let train = |sets: &[&str]| {
        let mut args = vec!["train", "tasks.toml", "--name", "x", "--json"];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        let output = place.run(&args);
        assert!(!output.status.success());
        assert!(!place.run_dir("x").exists());
        texts(&output).1
    };
    let said = train(&["eval.tasks=[\"piqua\"]"]);
    assert!(
        said.contains("eval.tasks") && said.contains("piqa"),
        "{said}"
    );
    let said = train(&["eval.tasks=[\"sciq\"]"]);
    assert!(said.contains("sciq"), "{said}");
    let said = train(&["eval.data=nowhere"]);
    assert!(
        said.contains("nowhere") && said.contains("eval.data"),
        "{said}"
    );
    let plan = place.expect(0, &["train", "tasks.toml", "--dry-run"]);
    assert!(
        plan.contains("tasks    piqa, lambada_openai: 6 documents"),
        "{plan}"
    );
    assert!(plan.contains("% of the time"), "{plan}");
    let json = place.expect(0, &["train", "tasks.toml", "--dry-run", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["tasks"]["seconds"].as_f64().unwrap() > 0.0);
    assert!(json["phases"][0]["memory"]["tasks"].as_u64().unwrap() > 0);
    // Without tasks in the config, nothing is counted or printed.
    let plan = place.expect(0, &["train", "mini.toml", "--dry-run", "--json"]);
    let json: Value = serde_json::from_str(&plan).unwrap();
    assert!(json["tasks"].is_null() && json["phases"][0]["memory"]["tasks"].is_null());
}
