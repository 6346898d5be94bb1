//! Run directories of earlier versions (`tests/fixtures/runs/old`, made by `scripts/make_old_runs.py`) can be shown, watched and
//! replayed, and are resumed to the losses of the version that began them.

mod common;

use std::path::{Path, PathBuf};

use common::{Place, copy};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/old")
}

/// Puts a copy of every run into a new place. Returns their names.
fn runs(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(fixtures()).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in &names {
        copy(&fixtures().join(name), &place.run_dir(name));
    }
    names
}

#[test]
fn they_are_shown_watched_and_replayed_without_an_unknown_event() {
    let place = Place::new();
    for name in runs(&place) {
        let show = place.show(&name);
        let (status, results) = (&show["state"], show["rounds"].as_array().unwrap());
        assert_eq!(status == "done", name == "plain", "{name}: {show}");
        assert!(!results.is_empty() || name != "plain", "{name}: {show}");
        let events = place.events(&name);
        let evals = events.iter().filter(|e| e["kind"] == "eval").count();
        for command in [&["watch", &name][..], &["replay", &name, "--speed", "max"]] {
            let lines = place.expect(0, command);
            assert!(!lines.contains("unknown event"), "{name}: {lines}");
            let shown = lines.lines().filter(|l| l.contains("  eval  val ")).count();
            assert_eq!(shown, evals, "{name} {command:?}: {lines}");
        }
    }
}

#[test]
fn they_are_resumed_to_the_losses_of_the_version_that_began_them() {
    let place = Place::new();
    for name in runs(&place) {
        let Ok(text) = std::fs::read_to_string(place.run_dir(&name).join("expected.json")) else {
            assert_eq!(name, "plain", "a run that is over");
            continue;
        };
        let expected: Vec<(String, String, u64, f64)> = serde_json::from_str(&text).unwrap();
        let before = place.events(&name).len();
        place.expect(0, &["train", "--resume", &name, "--threads", "1"]);
        let events = place.events(&name);
        let loss = |e: &Value| match e["kind"].as_str() {
            Some("train") => e["loss"].as_f64(),
            Some("eval") => e["val_loss"].as_f64(),
            _ => None,
        };
        let losses: Vec<(&Value, f64)> = events[before..]
            .iter()
            .filter_map(|e| Some((e, loss(e)?)))
            .collect();
        assert_eq!(losses.len(), expected.len(), "{name}");
        for ((event, loss), (kind, phase, step, wanted)) in losses.iter().zip(&expected) {
            let place = (&event["kind"], &event["phase"], &event["phase_step"]);
            let here = format!("{name}: {kind} at step {step} of {phase}");
            assert_eq!(
                place,
                (
                    &kind.as_str().into(),
                    &phase.as_str().into(),
                    &(*step).into()
                ),
                "{here}"
            );
            assert!(
                (loss - wanted).abs() <= 1e-6,
                "{here}: {loss}, not {wanted}"
            );
        }
    }
}
