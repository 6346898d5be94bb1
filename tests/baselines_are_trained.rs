//! Every arm of a comparison is a phase after the rounds, with its own start, size and steps. An arm can be trained alone, and
//! one that does not fit is rejected before training.

mod common;

use common::{MINI, Place, texts};
use serde_json::Value;

const ARMS: &str = r#"
[[baseline]]
name = "twice"
start = "random"
steps = "2x"

[[baseline]]
name = "full"
start = "full"
steps = 3

[[baseline]]
name = "stacking"
start = "stack"

[[baseline]]
name = "hybrid"
start = "hybrid"
steps = 4

[[baseline]]
name = "half-width"
start = "half-width"
steps = 4

[[baseline]]
name = "attention"
start = { layers = "spread:3", what = ["attention", "attention_norm"] }
steps = 4

[[baseline]]
name = "measured"
start = { layers = "influence:2" }
steps = 4

[[baseline]]
name = "kd"
start = "inherit"
objective = { distill = { teacher = "reference", alpha = 0.5, temperature = 2.0 } }
"#;

/// Returns the miniature recipe with two of four layers, in one round of six steps.
fn config() -> String {
    let mini = MINI
        .replace("layers = 1", "layers = 2")
        .replace("steps = 60", "steps = 8")
        .replace("steps = 20", "steps = 6")
        .replace("step = 1", "step = 2\nmax_layers = 2")
        .replace("every = 10", "every = 3");
    format!("{mini}{ARMS}")
}

fn place(config: &str) -> Place {
    let place = Place::new();
    std::fs::write(place.path().join("arms.toml"), config).unwrap();
    place
}

/// Returns the phases of a run's journal, in order.
fn phases(place: &Place, name: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for e in place.events(name) {
        let phase = e["phase"].as_str().unwrap_or_default().to_string();
        if e["kind"] == "phase" && all.last() != Some(&phase) {
            all.push(phase);
        }
    }
    all
}

fn numbers(row: &Value, keys: [&str; 3]) -> [u64; 3] {
    keys.map(|key| row[key].as_u64().unwrap_or_default())
}

#[test]
fn every_arm_is_a_phase_of_its_size_and_its_steps() {
    let place = place(&config());
    let plan = place.expect(0, &["train", "arms.toml", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    place.expect(0, &["train", "arms.toml", "--json", "--name", "arms"]);
    let wanted = [
        "reference",
        "round-1",
        "control-random",
        "control-reference",
        "baseline-twice",
        "baseline-full",
        "baseline-stacking",
        "baseline-stacking.2",
        "baseline-hybrid",
        "baseline-half-width",
        "baseline-attention",
        "baseline-measured",
        "baseline-kd",
    ];
    assert_eq!(phases(&place, "arms"), wanted);
    let planned = plan["phases"].as_array().unwrap();
    let planned: Vec<&str> = planned.iter().filter_map(|p| p["phase"].as_str()).collect();
    assert_eq!(planned, wanted);
    let show = place.show("arms");
    assert_eq!(show["controls"].as_array().unwrap().len(), 2);
    let rows = show["baselines"].as_array().unwrap();
    let row = |name: &str, part: u64| {
        let is = |r: &&Value| r["name"] == name && r["part"].as_u64().unwrap_or(1) == part;
        rows.iter().find(is).unwrap()
    };
    let of = |name, part| numbers(row(name, part), ["layers", "steps", "tokens"]);
    assert_eq!(of("twice", 1), [2, 12, 12 * 256]);
    assert_eq!(of("full", 1), [4, 3, 3 * 256]);
    assert_eq!(of("stacking", 1), [1, 6, 6 * 256]);
    assert_eq!(of("stacking", 2), [2, 6, 6 * 256]);
    assert_eq!(of("hybrid", 1), [2, 4, 4 * 256]);
    assert_eq!(of("half-width", 1)[0], 4);
    assert_eq!(of("attention", 1)[0], 3);
    // Half of the width and the MLP has a quarter of the weights of a block, and half of the embeddings.
    let reference = show["reference"]["parameters"].as_u64().unwrap();
    let half = row("half-width", 1)["parameters"].as_u64().unwrap();
    assert!(
        half * 2 < reference && half * 4 > reference,
        "{half} {reference}"
    );
    for (name, start, objective) in [
        ("hybrid", "hybrid", "ce"),
        ("half-width", "half_width", "ce"),
        ("attention", "layers", "ce"),
        ("kd", "inherit", "distill(reference, alpha 0.5, T 2)"),
    ] {
        let row = row(name, 1);
        assert_eq!(
            (&row["start"], &row["objective"]),
            (&start.into(), &objective.into())
        );
        assert!(row["gap"].is_f64() && row["gap_stderr"].is_f64(), "{row}");
    }
    // At its first step, a start from inherited layers has a lower loss than random weights.
    let first = |phase: &str| {
        let events = place.events("arms");
        let of_phase = |e: &&Value| e["kind"] == "eval" && e["phase"] == phase;
        events.iter().find(of_phase).unwrap()["val_loss"]
            .as_f64()
            .unwrap()
    };
    assert!(first("baseline-kd") + 0.1 < first("baseline-twice"));
    let round = first("round-1");
    assert_eq!(
        first("baseline-kd"),
        round,
        "the same layers, the same windows"
    );
    let table = place.expect(0, &["show", "arms"]);
    assert!(table.contains("\nstacking.2 "), "{table}");
    assert!(
        table.contains("kd: baseline, start inherit, 6 steps, distill("),
        "{table}"
    );
}

#[test]
fn one_arm_is_trained_alone_and_resumed() {
    let place = place(&config());
    let train = ["train", "arms.toml", "--json", "--name"];
    let alone = |name: &'static str| [&train[..], &[name, "--baseline", "stacking"]].concat();
    place.expect(0, &alone("whole"));
    let wanted = ["reference", "baseline-stacking", "baseline-stacking.2"];
    assert_eq!(phases(&place, "whole"), wanted);
    // Killed in the second part, after 8 steps of the reference, 6 of the first part and 3 of the second.
    let output = place
        .heirloom(&alone("cut"))
        .env("HEIRLOOM_FAULT", "trainer:17")
        .output()
        .unwrap();
    assert!(!output.status.success());
    place.expect(0, &["train", "--resume", "cut", "--json"]);
    let result = |name: &str| {
        let show = place.show(name);
        let rows = show["baselines"].as_array().unwrap().clone();
        rows.iter()
            .map(|r| r["val_loss"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(result("cut"), result("whole"));
    assert_eq!(result("whole").len(), 2);
}

#[test]
fn a_run_is_resumed_in_a_narrower_model_and_after_it() {
    let arms = ARMS.split("[[baseline]]").skip(1);
    let wanted = ["half-width", "measured"];
    let arms = arms.filter(|arm| wanted.iter().any(|name| arm.contains(&format!("{name:?}"))));
    let arms: String = arms.map(|arm| format!("[[baseline]]{arm}")).collect();
    let mini = config().replace(ARMS, "");
    let mini = mini.replace("random = true", "random = false");
    let mini = mini.replace("reference_continued = true", "reference_continued = false");
    let place = place(&format!("{mini}{arms}"));
    let train = ["train", "arms.toml", "--json", "--name"];
    place.expect(0, &[&train[..], &["whole"]].concat());
    // 8 steps of the reference, 6 of the round, 4 of each arm.
    for (name, step) in [("within", 16), ("after", 20)] {
        let output = place
            .heirloom(&[&train[..], &[name]].concat())
            .env("HEIRLOOM_FAULT", format!("trainer:{step}"))
            .output()
            .unwrap();
        assert!(!output.status.success());
        place.expect(0, &["train", "--resume", name, "--json"]);
        let (got, want) = (place.show(name), place.show("whole"));
        for i in 0..2 {
            let loss = |show: &Value| show["baselines"][i]["val_loss"].clone();
            assert_eq!(loss(&got), loss(&want), "{name} {i}");
        }
        // The run's facts are the reference's, for any model in memory.
        for e in place.events(name) {
            if !e["info"].is_null() {
                assert_eq!(
                    numbers(&e["info"], ["n_layer", "n_head", "n_embd"]),
                    [4, 2, 32]
                );
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_line() {
    let mini = MINI
        .replace("layers = 1", "layers = 3")
        .replace("step = 1", "step = 1\nmax_layers = 3");
    for (entry, words) in [
        ("start = \"stack\"", "even number of layers"),
        ("start = \"hybrid\"", "even number of layers"),
        ("start = {half = true, n_head = 3}", "half the width"),
        ("start = {layers = [0, 9]}", "no layer 9"),
        ("start = {layers = \"loss:9\"}", "a reference of 4"),
        (
            "start = \"random\"\nobjective = {distill = {teacher = \"nowhere\"}}",
            "nowhere",
        ),
    ] {
        let place = place(&format!("{mini}\n[[baseline]]\nname = \"a\"\n{entry}\n"));
        let line = mini.lines().count() + 2;
        let output = place
            .heirloom(&["train", "arms.toml", "--json", "--name", "x"])
            .output()
            .unwrap();
        let (_, err) = texts(&output);
        assert!(!output.status.success(), "{entry}");
        let lines = [
            format!("arms.toml:{line}"),
            format!("arms.toml:{}", line + 2),
            format!("arms.toml:{}", line + 3),
        ];
        assert!(
            lines.iter().any(|l| err.contains(l)) && err.contains(words),
            "{entry}: {err}"
        );
        let events = place.path().join("runs/x/events.jsonl");
        let trained = std::fs::read_to_string(events).unwrap_or_default();
        assert!(!trained.contains("\"kind\":\"train\""), "{entry}");
    }
    let place = place(&config());
    let output = place
        .heirloom(&["train", "arms.toml", "--baseline", "stackin"])
        .output()
        .unwrap();
    let (_, err) = texts(&output);
    assert!(err.contains("did you mean \"stacking\"?"), "{err}");
}
