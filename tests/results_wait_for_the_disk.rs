//! A phase's result, which exists only in memory at its end, is not lost when the disk is full: the run pauses, reports it, and
//! continues when the disk accepts the result. Losses are the same as without the fault.

mod common;

use std::process::{Child, Command};

use common::{Place, is_alive, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Limit of a file's size in bytes: enough for the journal, not enough for a checkpoint.
const NO_ROOM: &str = "200000";

/// Sets the limit of files' sizes for a running process. Every write beyond it fails, as on a full disk.
fn limit(child: &Child, bytes: &str) {
    let mut prlimit = Command::new("prlimit");
    let pid = child.id().to_string();
    let output = prlimit
        .args(["--pid", &pid, &format!("--fsize={bytes}:")])
        .output();
    let output = output.expect("prlimit(1), of util-linux");
    assert!(output.status.success(), "{:?}", texts(&output));
}

/// Starts a run, and waits until it pauses at the reference's end because the disk is full.
fn paused_at_the_references_end(place: &Place) -> Child {
    let child = place.start(&[
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "reference.train.steps=200",
        "--set",
        "checkpoint.every=0",
    ]);
    place.wait_event("mine", "a step", |e| e["kind"] == "train");
    limit(&child, NO_ROOM);
    wait("the pause", || {
        let status = status(place)?;
        let why = status["pause"].as_str()?;
        assert_eq!(status["state"], "paused");
        assert!(
            why.contains("the finished reference is in memory only")
                && why.contains("File too large")
                && why.contains("heirloom ctl mine stop"),
            "{why}"
        );
        Some(())
    });
    child
}

fn status(place: &Place) -> Option<Value> {
    let (code, out, _) = place.ctl("mine", &["status", "--json"]);
    (code == 0).then(|| serde_json::from_str(&out).unwrap())
}

fn end(child: &mut Child) -> Option<i32> {
    wait("the end", || child.try_wait().unwrap()).code()
}

/// Returns the results that must be equal for two runs of the same recipe.
fn results(place: &Place, name: &str) -> Value {
    let shown = place.show(name);
    let losses = |rows: &Value| -> Vec<Value> {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|r| r["val_loss"].clone()).collect()
    };
    serde_json::json!({
        "state": shown["state"],
        "reference": shown["reference"]["val_loss"],
        "rounds": losses(&shown["rounds"]),
        "controls": losses(&shown["controls"]),
    })
}

fn undisturbed(place: &Place) -> Value {
    let args = ["train", "mini.toml", "--name", "whole"];
    let long = ["--set", "reference.train.steps=200"];
    place.expect(0, &[&args[..], &long].concat());
    results(place, "whole")
}

fn warnings(place: &Place, name: &str) -> Vec<String> {
    let events = place.events(name).into_iter();
    let warnings = events.filter(|e| e["kind"] == "warning");
    warnings
        .map(|e| e["message"].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn a_finished_reference_waits_until_there_is_room() {
    let place = Place::new();
    let whole = undisturbed(&place);
    let mut child = paused_at_the_references_end(&place);
    let (code, _, err) = place.ctl("mine", &["checkpoint"]);
    assert!(code == 1 && err.contains("in memory only"), "{err}");
    let (code, _, err) = place.ctl("mine", &["eval"]);
    assert!(code == 1 && err.contains("waits until"), "{err}");
    let (code, _, err) = place.ctl("mine", &["quit"]);
    assert!(code == 1 && err.contains("ctl mine stop"), "{err}");
    assert!(is_alive(child.id()));
    limit(&child, "unlimited");
    // The run continues without a command.
    assert_eq!(end(&mut child), Some(0), "{}", place.printed());
    assert_eq!(results(&place, "mine"), whole);
    let printed = place.printed();
    assert!(
        printed.contains("the finished reference is in memory only")
            && printed.contains("running: the finished reference is on disk"),
        "{printed}"
    );
}

#[test]
fn a_command_makes_an_attempt_at_once_and_another_gives_up() {
    let place = Place::new();
    let mut child = paused_at_the_references_end(&place);
    let (code, out, err) = place.ctl("mine", &["stop"]);
    assert!(
        code == 0 && out.contains("given up, and lost: the finished reference"),
        "{out}{err}"
    );
    assert_eq!(end(&mut child), Some(3), "{}", place.printed());
    // The run can be resumed; the discarded steps are trained again.
    place.expect(0, &["train", "--resume", "mine"]);
    assert_eq!(results(&place, "mine"), undisturbed(&place));
    // By now the time between attempts has become long.
    std::fs::remove_dir_all(place.run_dir("mine")).unwrap();
    let mut child = paused_at_the_references_end(&place);
    std::thread::sleep(std::time::Duration::from_secs(4));
    limit(&child, "unlimited");
    let (code, out, err) = place.ctl("mine", &["checkpoint"]);
    assert!(code == 0 && out.contains("is on disk"), "{out}{err}");
    assert_eq!(end(&mut child), Some(0), "{}", place.printed());
}

#[test]
fn a_stop_while_there_is_no_room_ends_in_time_and_says_what_is_lost() {
    let place = Place::new();
    let mut child = paused_at_the_references_end(&place);
    signal(child.id(), Signal::SIGTERM);
    assert_eq!(end(&mut child), Some(75), "{}", place.printed());
    let printed = place.printed();
    assert!(
        printed.contains(
            "run mine was stopped: the finished reference could not be written within 20 s"
        ) && printed.contains("heirloom train --resume"),
        "{printed}"
    );
    let mut child = place.start(&["train", "--resume", "mine"]);
    assert_eq!(end(&mut child), Some(0), "{}", place.printed());
    assert_eq!(results(&place, "mine"), undisturbed(&place));
}

/// A single failing write pauses the run, and nothing is lost.
#[test]
fn the_ends_of_rounds_and_controls_wait_too() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "whole"]);
    let whole = results(&place, "whole");
    for (name, reason, what) in [
        ("reference", "reference", "the finished reference"),
        ("growth", "before growth", "the model of round 1"),
        ("round", "round end", "the model of round "),
        ("control", "control", "the result of control-random"),
    ] {
        let args = ["train", "mini.toml", "--name", name];
        let fault = format!("checkpoint {reason}:2");
        let mut command = place.heirloom(&args);
        let output = command.env("HEIRLOOM_FAULT", fault).output().unwrap();
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{reason}\n{out}{err}");
        assert_eq!(results(&place, name), whole, "{reason}");
        let paused = |line: &str| line.contains("paused: ") && line.contains(what);
        assert!(out.lines().any(paused), "{reason}\n{out}");
        assert!(out.contains("is on disk, after "), "{reason}\n{out}");
    }
}

#[test]
fn a_link_that_could_not_be_set_is_set_later() {
    let place = Place::new();
    let args = ["train", "mini.toml", "--name", "mine"];
    let mut command = place.heirloom(&args);
    let output = command.env("HEIRLOOM_FAULT", "link latest:4").output();
    let (out, err) = texts(&output.unwrap());
    let told = warnings(&place, "mine");
    assert!(
        told.iter()
            .filter(|w| w.contains("checkpoints/latest was not updated"))
            .count()
            == 1,
        "{told:?}\n{err}"
    );
    assert!(out.contains("are written again; none is missing"), "{out}");
    let checkpoints = place.run_dir("mine").join("checkpoints");
    let latest = std::fs::read_link(checkpoints.join("latest")).unwrap();
    let last = place.events("mine").into_iter().rev();
    let last = last
        .into_iter()
        .find(|e| e["kind"] == "checkpoint")
        .unwrap();
    assert_eq!(latest.to_str(), last["name"].as_str());
}

/// A checkpoint whose directory could not be flushed is written again, and the first copy is removed.
#[test]
fn a_failed_flush_of_the_folder_is_no_checkpoint() {
    let place = Place::new();
    let args = ["train", "mini.toml", "--name", "mine"];
    let few = ["--set", "checkpoint.every=0", "--set", "checkpoint.keep=1"];
    let mut command = place.heirloom(&[&args[..], &few].concat());
    let output = command
        .env("HEIRLOOM_FAULT", "checkpoint-folder:1")
        .output();
    let (out, err) = texts(&output.unwrap());
    assert!(
        out.contains("the finished reference is on disk, after "),
        "{out}{err}"
    );
    let written = place.events("mine").into_iter();
    let written = written.filter(|e| e["kind"] == "checkpoint");
    let written: Vec<String> = written
        .map(|e| e["name"].as_str().unwrap().to_string())
        .collect();
    let folder = place.run_dir("mine").join("checkpoints");
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let link = entry.file_type().unwrap().is_symlink();
        assert!(link || written.contains(&name), "{name} of {written:?}");
    }
    let first = written
        .iter()
        .filter(|name| name.contains("reference"))
        .count();
    assert_eq!(
        (first, &written[0][..]),
        (2, "b0-s00000060-reference"),
        "{written:?}"
    );
}

/// A rollback drops the present model before it reads its checkpoint, so a failure must not lose the run.
#[test]
fn a_rollback_that_cannot_read_its_checkpoint_tries_again() {
    let long = [
        "--set",
        "train.steps=1000000",
        "--set",
        "checkpoint.every=0",
    ];
    for (fault, read) in [("rollback-read:1", true), ("rollback-read:9", false)] {
        let place = Place::new();
        let run = place.in_background("mine", &long, fault);
        place.wait_event("mine", "round 1", |e| {
            e["phase"] == "round-1" && e["kind"] == "train"
        });
        let (code, out, err) = place.ctl("mine", &["rollback", "reference"]);
        let told = warnings(&place, "mine");
        assert!(
            told.iter().any(|w| w.contains("could not be read")),
            "{told:?}"
        );
        if read {
            assert!(code == 0 && out.contains("rolled back"), "{out}{err}");
            continue;
        }
        // The process ends instead of training without a model.
        assert_eq!(code, 1, "{out}{err}");
        wait("the end", || (!is_alive(run.0)).then_some(()));
        let shown = place.show("mine");
        assert_eq!(shown["state"], "failed");
        let why = shown["message"].as_str().unwrap();
        assert!(
            why.contains("could not be read") && why.contains("--resume"),
            "{why}"
        );
        place.expect(0, &["train", "--resume", "mine", "--set", "train.steps=20"]);
    }
}
