//! Commands without a run's name choose the run, and print its name on stderr.

mod common;

use common::pty::Pty;
use common::{Place, texts};

const LONG: [&str; 2] = ["--set", "reference.train.steps=1000000"];

/// Runs a command. Returns exit code, stdout, and the lines of stderr.
fn run(place: &Place, args: &[&str]) -> (i32, String, Vec<String>) {
    let output = place.run(args);
    let (out, err) = texts(&output);
    (
        output.status.code().unwrap(),
        out,
        err.lines().map(String::from).collect(),
    )
}

#[test]
fn live_and_last_runs_are_found() {
    let place = Place::new();
    for command in [
        &["ctl", "status"][..],
        &["attach"],
        &["show"],
        &["replay"],
        &["watch"],
    ] {
        let (code, _, err) = run(&place, command);
        assert!(
            code == 2 && err[0].contains("no runs under runs"),
            "{command:?}: {err:?}"
        );
    }
    place.expect(0, &["train", "mini.toml", "--name", "first"]);
    // Without a live run, the message gives advice about the last one.
    for command in [&["ctl", "pause"][..], &["attach"]] {
        let (code, _, err) = run(&place, command);
        let wanted = "no run is in progress under runs; the most recently written: run first is done; its table: \
         heirloom show first";
        assert!(code == 2 && err[0].ends_with(wanted), "{err:?}");
    }
    let _second = place.in_background("second", &LONG, "");
    // The only live run is chosen although `first` exists, also for a command of several words.
    let (code, out, err) = run(&place, &["ctl", "pause"]);
    assert_eq!(
        (code, err[0].as_str()),
        (0, "heirloom: run second, the only one in progress")
    );
    assert!(out.starts_with("paused at step"), "{out}");
    let (code, out, _) = run(&place, &["ctl", "set", "lr", "1e-5"]);
    assert!(code == 0 && out.contains("learning rate"), "{out}");
    let (code, out, err) = run(&place, &["ctl", "--json", "status"]);
    assert!(code == 0 && out.contains("\"name\": \"second\""), "{out}");
    assert_eq!(err.len(), 1);
    // With a name, nothing is printed on stderr.
    let (code, _, err) = run(&place, &["ctl", "second", "status"]);
    assert!(code == 0 && err.is_empty(), "{err:?}");
    let (code, _, err) = run(&place, &["ctl", "second"]);
    assert!(
        code == 2 && err[0].ends_with("such as: heirloom ctl second status"),
        "{err:?}"
    );
    // Other commands choose the run that was written last.
    for command in [
        &["show"][..],
        &["show", "--json"],
        &["replay", "--speed", "max"],
    ] {
        let (code, _, err) = run(&place, command);
        assert_eq!(
            (code, err[0].as_str()),
            (0, "heirloom: run second, the most recently written"),
            "{command:?}"
        );
    }
    // Two live runs are listed in the error.
    let _third = place.in_background("third", &LONG, "");
    for (command, example) in [
        (&["ctl", "status"][..], "heirloom ctl second status"),
        (&["attach"], "heirloom attach second"),
    ] {
        let (code, _, err) = run(&place, command);
        let wanted =
            format!("2 runs are in progress under runs: second, third; name one: {example}");
        assert!(code == 2 && err[0].ends_with(&wanted), "{err:?}");
    }
}

#[test]
fn a_run_that_is_named_like_a_command() {
    let place = Place::new();
    let _run = place.in_background("pause", &LONG, "");
    let (code, out, err) = run(&place, &["ctl", "pause", "status"]);
    assert!(
        code == 0 && out.starts_with("running") && err.is_empty(),
        "{out}{err:?}"
    );
    let (code, out, err) = run(&place, &["ctl", "pause"]);
    assert!(code == 0 && out.starts_with("paused at step"), "{out}");
    assert_eq!(err, ["heirloom: run pause, the only one in progress"]);
}

#[test]
fn attach_opens_the_only_live_run() {
    let place = Place::new();
    let _run = place.in_background("mine", &LONG, "");
    let screen = Pty::start(&place, &["attach"], 80, 24);
    screen.see("mine");
    screen.see("step");
}

#[test]
fn options_stand_before_and_after_the_command() {
    let place = Place::new();
    place.expect(
        0,
        &["train", "mini.toml", "--name", "r", "--runs", "elsewhere"],
    );
    let after = place.expect(0, &["ls", "--runs", "elsewhere"]);
    assert!(after.contains("\nr "), "{after}");
    assert_eq!(place.expect(0, &["--runs", "elsewhere", "ls"]), after);
    assert_eq!(
        place.expect(
            0,
            &[
                "--runs=elsewhere",
                "--color=never",
                "--plain",
                "--glyphs=ascii",
                "ls"
            ]
        ),
        after
    );
    let show = place.expect(0, &["--runs", "elsewhere", "show", "r", "--json"]);
    assert!(show.contains("\"done\""), "{show}");
}
