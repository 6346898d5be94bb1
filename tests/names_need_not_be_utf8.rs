//! Names of directories and files may contain any bytes: every command finds them, and JSON output represents them exactly.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Background, MINI, Place, texts, wait};
use heirloom::text::exact;
use serde_json::Value;

const SHORT: [&str; 4] = [
    "--set",
    "reference.train.steps=10",
    "--set",
    "train.steps=10",
];

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

fn run(place: &Place, args: &[&OsStr]) -> Output {
    place.heirloom(&[]).args(args).output().unwrap()
}

#[track_caller]
fn ok(place: &Place, args: &[&OsStr]) -> String {
    let output = run(place, args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{err}");
    out
}

/// Makes a run `good` and a copy of it whose name is not UTF-8.
fn copied(place: &Place) -> PathBuf {
    place.expect(
        0,
        &[&["train", "mini.toml", "--name", "good"][..], &SHORT].concat(),
    );
    let bad = place.path().join("runs").join(os(b"bad\xff"));
    std::fs::create_dir(&bad).unwrap();
    for file in ["events.jsonl", "config.toml"] {
        std::fs::copy(place.run_dir("good").join(file), bad.join(file)).unwrap();
    }
    bad
}

#[test]
fn a_run_of_any_name_is_listed_and_opened() {
    let place = Place::new();
    let bad = copied(&place);
    let list: Value = serde_json::from_str(&ok(&place, &[os(b"ls"), os(b"--json")])).unwrap();
    let listed = list
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["name"] != "good")
        .unwrap();
    assert_eq!(listed["name"], r"bad\xff");
    let path = exact::to_path(listed["path"].as_str().unwrap()).into_owned();
    assert_eq!(place.path().join(path), bad);
    assert!(ok(&place, &[os(b"ls")]).contains(r"bad\xff"));
    // Names the run by its bytes, by the text that --json printed, and by its path.
    let path = bad.strip_prefix(place.path()).unwrap();
    for name in [
        os(b"bad\xff"),
        os(br"bad\xff"),
        path.as_os_str(),
        bad.as_os_str(),
    ] {
        let shown: Value =
            serde_json::from_str(&ok(&place, &[os(b"show"), name, os(b"--json")])).unwrap();
        assert_eq!(
            (&shown["name"], &shown["state"]),
            (&r"bad\xff".into(), &"done".into())
        );
        ok(&place, &[os(b"watch"), name, os(b"--plain")]);
        ok(&place, &[os(b"replay"), name, os(b"--speed"), os(b"max")]);
        let output = run(&place, &[os(b"ctl"), name, os(b"status")]);
        let (_, err) = texts(&output);
        assert!(
            output.status.code() == Some(2) && err.contains("is done"),
            "{err}"
        );
    }
    let output = run(&place, &[os(b"show"), os(b"gone\xfe")]);
    let (_, err) = texts(&output);
    assert!(
        output.status.code() == Some(2) && err.contains(r"no run gone\xfe"),
        "{err}"
    );
}

#[test]
fn a_run_below_any_path_is_trained_commanded_and_resumed() {
    let place = Place::new();
    let dir = place.path().join(os(b"lat\xe9"));
    std::fs::create_dir(&dir).unwrap();
    let runs = dir.join("runs");
    // A config with such a name, and a text in the same directory.
    let config = dir.join(os(b"c\xe9.toml"));
    std::fs::write(
        &config,
        MINI.replace("builtin:tinyshakespeare", "text_*.txt"),
    )
    .unwrap();
    std::fs::write(dir.join("text_0.txt"), "To be, or not to be. ".repeat(500)).unwrap();
    let (runs, config) = (runs.as_os_str(), config.as_os_str());
    let long = os(b"reference.train.steps=1000000");
    ok(
        &place,
        &[
            os(b"train"),
            os(b"-d"),
            config,
            os(b"--name"),
            os(b"mine"),
            os(b"--runs"),
            runs,
            os(b"--set"),
            long,
        ],
    );
    let mine = Path::new(runs).join("mine");
    let lock: Value =
        serde_json::from_str(&std::fs::read_to_string(mine.join("lock")).unwrap()).unwrap();
    let background = Background(lock["pid"].as_u64().unwrap() as u32);
    let socket = exact::to_path(lock["socket"].as_str().unwrap()).into_owned();
    assert!(socket.exists(), "{}", socket.display());
    for run in [os(b"mine"), mine.as_os_str()] {
        let out = ok(
            &place,
            &[os(b"ctl"), run, os(b"status"), os(b"--runs"), runs],
        );
        assert!(out.starts_with("running"), "{out}");
    }
    ok(
        &place,
        &[
            os(b"ctl"),
            os(b"mine"),
            os(b"checkpoint"),
            os(b"--runs"),
            runs,
        ],
    );
    ok(&place, &[os(b"ctl"), os(b"quit"), os(b"--runs"), runs]);
    wait("the end", || {
        (!common::is_alive(background.0)).then_some(())
    });
    let set = os(b"reference.train.steps=10");
    ok(
        &place,
        &[
            os(b"train"),
            os(b"--resume"),
            mine.as_os_str(),
            os(b"--set"),
            set,
            os(b"--set"),
            os(b"train.steps=10"),
        ],
    );
    // Its checkpoints can be named as models.
    let text = dir.join("text_0.txt");
    let model = [mine.as_os_str().as_bytes(), b"@best"].concat();
    let json = ok(
        &place,
        &[
            os(b"loss"),
            os(&model),
            os(b"--text"),
            text.as_os_str(),
            os(b"--json"),
            os(b"--windows"),
            os(b"2"),
        ],
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(
        json["loss"].is_number() && json["model"].as_str().unwrap().contains(r"lat\xe9"),
        "{json}"
    );
}

#[test]
fn prepared_tokens_take_the_very_name_that_was_asked_for() {
    let place = Place::new();
    let text = place.path().join(os(b"in\xff.txt"));
    std::fs::write(&text, "To be, or not to be. ".repeat(50)).unwrap();
    let out = place.path().join(os(b"out\xfe.bin"));
    ok(
        &place,
        &[
            os(b"data"),
            os(b"prepare"),
            text.as_os_str(),
            os(b"--out"),
            out.as_os_str(),
            os(b"--tokenizer"),
            os(b"byte"),
        ],
    );
    assert!(out.is_file());
    assert!(ok(&place, &[os(b"data"), os(b"info"), out.as_os_str()]).contains(r"out\xfe.bin"));
}
