//! After a full disk, a read-only file system, a deleted directory or a slow rename, training continues or reports why it cannot, and
//! written files are not damaged.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Background, Place, is_alive, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A separate small file system at `runs`.
struct Small(PathBuf);

impl Small {
    fn mount(place: &Place, options: &str) -> Self {
        let path = place.path().join("runs");
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&path)
            .output();
        let mounted = mounted.expect("mount(8)");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "no file system mounted: {said}");
        Self(path)
    }

    fn remount(&self, options: &str) {
        let path = self.0.to_str().unwrap();
        let status = Command::new("mount").args(["-o", options, path]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn in_background(place: &Place, settings: &[&str], fault: &str) -> Background {
    place.in_background("mine", settings, fault)
}

fn ctl(place: &Place, words: &[&str]) -> (i32, String) {
    let (code, out, err) = place.ctl("mine", words);
    (code, out + &err)
}

fn step(place: &Place) -> u64 {
    let (code, text) = ctl(place, &["status", "--json"]);
    assert_eq!(code, 0, "{text}");
    let status: Value = serde_json::from_str(&text).unwrap();
    status["step"].as_u64().unwrap()
}

/// Fills the file system of `dir` to the last byte.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    for block in [1 << 20, 4096, 1] {
        let block = vec![0; block];
        while file.write_all(&block).is_ok() {}
    }
    path
}

const LONG: [&str; 6] = [
    "--set",
    "reference.train.steps=20",
    "--set",
    "train.steps=1000000",
    "--set",
    "checkpoint.every=1000",
];

#[test]
#[ignore = "needs root, to mount a small file system: cargo test -- --ignored _disk_"]
fn a_full_disk_is_survived() {
    let place = Place::new();
    let small = Small::mount(&place, "size=90m");
    // Without other checkpoints, whose warnings would follow the awaited one.
    let settings = [&LONG[..4], &["--set", "checkpoint.every=0"]].concat();
    let run = in_background(&place, &settings, "");
    place.wait_event("mine", "a checkpoint of round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "checkpoint"
    });
    let ballast = fill(&small.0);
    let journal = place.run_dir("mine").join("events.jsonl");
    wait("word of the full disk", || {
        let (_, text) = ctl(&place, &["status"]);
        text.contains("the journal cannot be written").then_some(())
    });
    let before = std::fs::read(&journal).unwrap();
    let (trained, checkpoints) = (step(&place), names(&place));
    let (code, text) = ctl(&place, &["checkpoint"]);
    assert!(
        code == 1 && text.contains("no checkpoint was written"),
        "{text}"
    );
    let (code, text) = ctl(&place, &["quit"]);
    assert!(
        code == 1 && text.contains("free some disk space first"),
        "{text}"
    );
    wait("more steps", || {
        (step(&place) > trained + 100).then_some(())
    });
    assert!(is_alive(run.0));
    assert!(std::fs::read(&journal).unwrap().starts_with(&before));
    assert_eq!(names(&place), checkpoints, "none was damaged or deleted");

    std::fs::remove_file(ballast).unwrap();
    place.wait_event("mine", "word of the recovery", |e| {
        e["kind"] == "warning" && e["message"].as_str().unwrap().contains("is written again")
    });
    let (code, text) = ctl(&place, &["checkpoint"]);
    assert_eq!(code, 0, "{text}");
    let (code, _) = ctl(&place, &["quit"]);
    assert_eq!(code, 0);
    wait("the end", || (!is_alive(run.0)).then_some(()));
    // Every due line has been written, in order; only metrics may be missing, and they are counted.
    let text = std::fs::read_to_string(&journal).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let gaps = events.iter().filter(|e| e["kind"] == "gap");
    let dropped: u64 = gaps.map(|e| e["dropped"].as_u64().unwrap()).sum();
    let last = events.last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(events.len() as u64 + dropped, last);
    assert!(events.iter().any(|e| {
        e["kind"] == "warning"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("events wait in memory")
    }));
    let resumed = place.run(&[
        "train",
        "--resume",
        "mine",
        "--set",
        "train.steps=20",
        "--set",
        "policy.mode=auto",
    ]);
    assert!(resumed.status.success(), "{:?}", texts(&resumed));
}

#[test]
#[ignore = "needs root, to mount a small file system: cargo test -- --ignored _disk_"]
fn a_full_disk_when_the_reference_ends_costs_no_step() {
    let place = Place::new();
    let small = Small::mount(&place, "size=72m");
    let args = ["train", "mini.toml", "--name", "mine"];
    let longer = ["--set", "reference.train.steps=300"];
    let mut child = place.start(&[&args[..], &longer].concat());
    place.wait_event("mine", "a checkpoint", |e| e["kind"] == "checkpoint");
    let ballast = fill(&small.0);
    wait("the pause", || {
        let (code, text) = ctl(&place, &["status"]);
        (code == 0 && text.contains("the finished reference is in memory only")).then_some(())
    });
    std::fs::remove_file(ballast).unwrap();
    small.remount("remount,size=400m");
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(0), "{}", place.printed());
    place.expect(
        0,
        &[
            "train",
            "mini.toml",
            "--name",
            "whole",
            longer[0],
            longer[1],
        ],
    );
    let rounds = |name| {
        let shown = place.show(name);
        let rounds = shown["rounds"].as_array().unwrap().iter();
        let losses: Vec<Value> = rounds.map(|r| r["val_loss"].clone()).collect();
        (shown["reference"]["val_loss"].clone(), losses)
    };
    assert_eq!(rounds("mine"), rounds("whole"));
}

fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.run_dir("mine").join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs root, to mount a small file system: cargo test -- --ignored _disk_"]
fn a_read_only_disk_can_be_looked_at_and_nothing_more() {
    let place = Place::new();
    let small = Small::mount(&place, "size=90m");
    place.expect(0, &["train", "mini.toml", "--name", "mine"]);
    small.remount("remount,ro");
    for args in [["show", "mine"], ["watch", "mine"], ["ls", "--json"]] {
        let out = place.expect(0, &args);
        assert!(
            out.contains("matched") || out.contains("limit_layers"),
            "{out}"
        );
    }
    let output = place.run(&["train", "mini.toml", "--name", "other"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("Read-only") && err.contains("--runs"), "{err}");
    small.remount("remount,rw");
    let half = [
        "train",
        "mini.toml",
        "--name",
        "half",
        "--set",
        "train.steps=1000000",
    ];
    let mut child = place.start(&half);
    place.wait_event("half", "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    signal(child.id(), Signal::SIGTERM);
    wait("the end", || child.try_wait().unwrap());
    small.remount("remount,ro");
    let output = place.run(&["train", "--resume", "half"]);
    let (_, err) = texts(&output);
    assert!(
        output.status.code() == Some(2) && err.contains("Read-only"),
        "{err}"
    );
}

#[test]
fn a_deleted_directory_is_made_anew() {
    let place = Place::new();
    let run = in_background(&place, &LONG, "");
    place.wait_event("mine", "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    // The trainer may put a file into a directory that is just being emptied.
    wait("the deletion", || {
        std::fs::remove_dir_all(place.run_dir("mine")).ok()
    });
    place.wait_event("mine", "word of it", |e| {
        e["kind"] == "warning"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("a new one was begun")
    });
    place.wait_event("mine", "a checkpoint", |e| e["kind"] == "checkpoint");
    let events = place.events("mine");
    assert_eq!(
        (&events[0]["kind"], &events[0]["status"]),
        (&"run".into(), &"started".into())
    );
    // A socket in the directory is also made again.
    wait("an answer", || {
        (ctl(&place, &["status"]).0 == 0).then_some(())
    });
    let second = place.run(&["train", "--resume", "mine"]);
    let (_, err) = texts(&second);
    assert!(
        second.status.code() == Some(2) && err.contains("in use by process"),
        "{err}"
    );
    let (code, text) = ctl(&place, &["quit"]);
    assert_eq!(code, 0, "{text}");
    wait("the end", || (!is_alive(run.0)).then_some(()));
    // The reference's checkpoint was deleted with the directory: the round can be finished, but the control cannot begin.
    let resumed = place.run(&["train", "--resume", "mine", "--set", "train.steps=20"]);
    let (_, err) = texts(&resumed);
    assert_eq!(resumed.status.code(), Some(1), "{err}");
    assert!(
        err.contains("no checkpoint b0-") && err.contains("-reference"),
        "{err}"
    );
}

#[test]
fn a_deleted_lock_is_taken_anew() {
    let place = Place::new();
    let _run = in_background(&place, &LONG, "");
    std::fs::remove_file(place.run_dir("mine").join("lock")).unwrap();
    place.wait_event("mine", "word of it", |e| {
        e["kind"] == "warning"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("has been written again")
    });
    let second = place.run(&["train", "--resume", "mine"]);
    let (_, err) = texts(&second);
    assert!(
        second.status.code() == Some(2) && err.contains("in use by process"),
        "{err}"
    );
    assert_eq!(ctl(&place, &["status"]).0, 0, "the socket stands in it");
}

#[test]
fn a_slow_rename_stops_no_step_and_a_kill_within_it_loses_nothing() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "whole"]);
    let settings = ["--set", "checkpoint.every=10"];
    let _run = in_background(&place, &[&LONG[..4], &settings].concat(), "rename:1500");
    let begun = place.wait_event("mine", "a checkpoint begins", |e| {
        e["kind"] == "checkpointing" && e["reason"] == "schedule" && e["phase"] == "round-1"
    });
    let written = |e: &Value| e["kind"] == "checkpoint" && e["begun"] == begun["seq"];
    let done = place.wait_event("mine", "and is written", written);
    let steps = done["step"].as_u64().unwrap() - begun["step"].as_u64().unwrap();
    assert!(steps > 20, "{steps} steps were taken meanwhile");
    assert_eq!(done["of_step"], begun["step"]);
    // Killed while the next one waits for its rename.
    let next = place.wait_event("mine", "the next one begins", |e| {
        e["kind"] == "checkpointing" && e["seq"].as_u64() > done["seq"].as_u64()
    });
    signal(_run.0, Signal::SIGKILL);
    wait("the end", || (!is_alive(_run.0)).then_some(()));
    let output = place.run(&["train", "--resume", "mine", "--set", "train.steps=20"]);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    let resumed = place
        .events("mine")
        .into_iter()
        .find(|e| e["kind"] == "resumed")
        .unwrap();
    assert!(
        resumed["from_seq"].as_u64() < next["seq"].as_u64(),
        "{resumed}"
    );
}
