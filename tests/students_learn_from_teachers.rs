//! A baseline with `objective = {distill = ...}` learns from its teacher, is planned with it, and continues with it after a resume.

mod common;

use common::{MINI, Place, texts};
use serde_json::Value;

/// Returns a smaller miniature recipe, with baselines that start from the reference and from random weights.
fn config() -> String {
    let mini = MINI
        .replace("steps = 60", "steps = 6")
        .replace("warmup = 5", "warmup = 2")
        .replace("log_every = 5", "log_every = 1")
        .replace("every = 15", "every = 3");
    format!(
        "{mini}
[[baseline]]
name = \"plain\"
start = \"random\"
steps = 8

[[baseline]]
name = \"same\"
start = {{layers = [0, 1, 2, 3]}}
steps = 3
objective = {{distill = {{alpha = 1.0, temperature = 2.0}}}}

[[baseline]]
name = \"kd\"
start = \"random\"
steps = 8
objective = {{distill = {{teacher = \"reference\", alpha = 0.5}}}}
"
    )
}

fn place(config: &str) -> Place {
    let place = Place::new();
    std::fs::write(place.path().join("kd.toml"), config).unwrap();
    place
}

fn train(place: &Place, name: &str, only: &str) {
    let only = format!("policy.only_baseline={only}");
    place.expect(
        0,
        &["train", "kd.toml", "--json", "--name", name, "--set", &only],
    );
}

/// Returns loss and gradient norm of each step of a phase, from its latest event.
fn steps(place: &Place, name: &str, phase: &str) -> Vec<(f64, f64)> {
    let mut steps = std::collections::BTreeMap::new();
    for e in place.events(name) {
        if e["kind"] == "train" && e["phase"] == phase {
            let of = |key: &str| e[key].as_f64().unwrap();
            steps.insert(e["phase_step"].as_u64(), (of("loss"), of("grad_norm")));
        }
    }
    steps.into_values().collect()
}

fn val_loss(place: &Place, name: &str, baseline: &str) -> f64 {
    let show = place.show(name);
    let all = show["baselines"].as_array().unwrap();
    let found = all.iter().find(|b| b["name"] == baseline).unwrap();
    found["val_loss"].as_f64().unwrap()
}

#[test]
fn a_student_that_is_its_teacher_has_nothing_to_learn() {
    let place = place(&config());
    train(&place, "same", "same");
    let steps = steps(&place, "same", "baseline-same");
    assert_eq!(steps.len(), 3);
    let (loss, norm) = steps[0];
    assert!(loss.abs() < 1e-5 && norm < 1e-3, "{loss} {norm}");
    // Evaluations measure cross-entropy.
    let loss = val_loss(&place, "same", "same");
    assert!(loss > 1.0, "{loss}");
}

#[test]
fn a_resumed_student_has_its_teacher_again() {
    let place = place(&config());
    train(&place, "plain", "plain");
    train(&place, "whole", "kd");
    let whole = steps(&place, "whole", "baseline-kd");
    assert_eq!(whole.len(), 8);
    // With the same weights and batches, half of the objective is the divergence.
    let plain = steps(&place, "plain", "baseline-plain");
    assert!(
        plain[0].0 > 2.0 * whole[0].0 - 2.0 && plain[0] != whole[0],
        "{plain:?} {whole:?}"
    );

    // Stops in the middle of the student's phase, after the reference's 6 steps.
    let args = [
        "train",
        "kd.toml",
        "--json",
        "--name",
        "cut",
        "--set",
        "policy.only_baseline=kd",
    ];
    let output = place
        .heirloom(&args)
        .env("HEIRLOOM_FAULT", "trainer:11")
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert!(!output.status.success(), "{out}\n{err}");
    let before = steps(&place, "cut", "baseline-kd");
    assert!((1..8).contains(&before.len()), "{before:?}");
    place.expect(0, &["train", "--resume", "cut", "--json"]);
    assert_eq!(steps(&place, "cut", "baseline-kd"), whole);
    assert_eq!(
        val_loss(&place, "cut", "kd"),
        val_loss(&place, "whole", "kd")
    );
}

#[test]
fn a_teacher_is_planned_with_its_students() {
    let place = place(&config());
    let plan = place.expect(0, &["train", "kd.toml", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let phase = |name: &str| {
        let all = plan["phases"].as_array().unwrap();
        let found = all
            .iter()
            .find(|p| p["phase"] == format!("baseline-{name}"));
        found.unwrap().clone()
    };
    let (plain, kd) = (phase("plain"), phase("kd"));
    assert!(plain["memory"]["teacher"].is_null());
    let teacher = kd["memory"]["teacher"].as_u64().unwrap();
    // At least the weights of four layers of width 32 in f32.
    assert!(teacher > 4 * 4 * 12 * 32 * 32, "{teacher}");
    let bytes = |phase: &Value| phase["memory_bytes"].as_u64().unwrap();
    assert_eq!(bytes(&kd), bytes(&plain) + teacher);
    let seconds = |phase: &Value| phase["seconds"].as_f64().unwrap();
    assert!(seconds(&kd) > 1.2 * seconds(&plain));
}

#[test]
fn a_teacher_that_cannot_teach_is_refused_before_anything_is_trained() {
    let fixtures = format!("{}/tests/fixtures/distill", env!("CARGO_MANIFEST_DIR"));
    for (teacher, words) in [
        (
            format!("{fixtures}/gpt2-teacher"),
            ["vocabulary of 61 tokens", "must have the same vocabulary"],
        ),
        ("gone".into(), ["the teacher", "cannot be used"]),
    ] {
        let config = config().replace("teacher = \"reference\"", &format!("teacher = {teacher:?}"));
        let at = config
            .lines()
            .position(|line| line == "name = \"kd\"")
            .unwrap();
        let place = place(&config);
        for extra in [None, Some("--dry-run")] {
            let mut args = vec!["train", "kd.toml", "--json", "--name", "refused"];
            args.extend(extra);
            let output = place.run(&args);
            let (out, err) = texts(&output);
            assert_eq!(output.status.code(), Some(2), "{out}\n{err}");
            for word in words {
                assert!(err.contains(word), "{word}: {err}");
            }
            let lines = at..at + 2;
            let named = lines.map(|n| format!("kd.toml:{n}: baseline \"kd\""));
            assert!(named.into_iter().any(|label| err.contains(&label)), "{err}");
            assert!(!place.run_dir("refused").exists());
        }
    }
}
