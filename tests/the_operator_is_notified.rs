//! An operator who looks elsewhere is notified by a command that the training process runs, and by the terminals of the run's
//! dashboards.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::pty::Pty;
use common::{Place, is_alive, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// One evaluation at a round's start and one at its end.
const FEW_EVALS: [&str; 2] = ["--set", "eval.every=20"];
const ASK: [&str; 2] = ["--set", "policy.mode=ask"];
const OVERRUN: [&str; 2] = ["--set", "policy.max_overrun_steps=1000000"];
/// Makes the first round match the reference.
const MATCHED: [&str; 2] = ["--set", "match.tolerance=100"];

/// Script for [`with_script`] that appends a line to `notices`.
const APPEND: &str =
    "echo \"$HEIRLOOM_EVENT|$HEIRLOOM_STEP|$HEIRLOOM_TEXT|$HEIRLOOM_RUN\" >>notices\n";

/// Makes a place whose config names a script with these lines, which run in the place's directory.
fn with_script(lines: &str, on: &str) -> Place {
    let place = Place::new();
    let script = place.path().join("notify.sh");
    let text = format!("#!/bin/sh\ncd '{}'\n{lines}", place.path().display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let notify = format!("\n[notify]\ncommand = [{script:?}]\non = [{on}]\n");
    let config = format!("{}{notify}", common::MINI);
    std::fs::write(place.path().join("mini.toml"), config).unwrap();
    place
}

/// Returns the lines that the script has appended.
fn appended(place: &Place) -> Vec<String> {
    let text = std::fs::read_to_string(place.path().join("notices")).unwrap_or_default();
    text.lines().map(String::from).collect()
}

/// Returns the messages about notifications in the journal, with their events' kinds.
fn journaled(place: &Place) -> Vec<(String, String)> {
    let events = place.events("mine").into_iter();
    let message = |e: Value| {
        let message = e["message"].as_str()?.to_string();
        let kind = e["kind"].as_str()?.to_string();
        message.starts_with("notify").then_some((kind, message))
    };
    events.filter_map(message).collect()
}

fn log(place: &Place) -> String {
    std::fs::read_to_string(place.run_dir("mine").join("log.txt")).unwrap_or_default()
}

fn pair(kind: &str, message: &str) -> (String, String) {
    (kind.into(), message.into())
}

fn train<'a>(settings: &[&[&'a str]]) -> Vec<&'a str> {
    [
        &["train", "mini.toml", "--name", "mine"],
        &settings.concat()[..],
    ]
    .concat()
}

/// Ends a training in the background with a checkpoint. Returns how long that took.
fn stop(child: &mut std::process::Child) -> Duration {
    let began = Instant::now();
    signal(child.id(), Signal::SIGTERM);
    let status = wait("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(75));
    began.elapsed()
}

#[test]
fn the_command_is_run_once_for_each_event_in_order_and_the_end_waits_for_it() {
    // The script's output goes to the log. The last command takes longer than the end of the process would.
    let script = format!("echo printed; test $HEIRLOOM_EVENT = done && sleep 2\n{APPEND}");
    let place = with_script(&script, "'decision', 'nan', 'stall', 'best', 'done'");
    place.expect(0, &train(&[&FEW_EVALS, &MATCHED]));
    let run = place.run_dir("mine").canonicalize().unwrap();
    let lines = appended(&place);
    let begin = |line: &String| line.split('|').take(2).collect::<Vec<_>>().join("|");
    let events: Vec<String> = lines.iter().map(begin).collect();
    // 60 steps of the reference, 20 of the round, 20 of each control.
    assert_eq!(events, ["best|80", "decision|80", "done|120"], "{lines:#?}");
    let words = [
        "|best: val ",
        "|decision: stop suggested, gap +",
        "|done: matched, 1 of 4 layers, gap +",
    ];
    for (line, words) in lines.iter().zip(words) {
        assert!(line.contains(words), "{line}");
        assert!(line.ends_with(&format!("|{}", run.display())), "{line}");
    }
    assert_eq!(
        journaled(&place),
        [
            pair("log", "notify best: exit 0"),
            pair("log", "notify decision: exit 0"),
        ]
    );
    assert_eq!(
        log(&place),
        "printed\nnotify best: exit 0\nprinted\nnotify decision: exit 0\nprinted\nnotify done: exit 0\n"
    );
    // Read-only commands do not run the script.
    for args in [
        &["watch", "mine"][..],
        &["replay", "mine", "--speed", "max"],
        &["show", "mine"],
        &["ls"],
    ] {
        place.expect(0, args);
    }
    assert_eq!(self::appended(&place), lines);
}

#[test]
fn without_a_command_nothing_is_run_or_journaled() {
    let place = Place::new();
    place.expect(0, &train(&[&FEW_EVALS, &MATCHED]));
    assert_eq!(journaled(&place), []);
    assert_eq!(log(&place), "");
    let events = place.events("mine");
    assert!(events[0]["info"]["ringing"].is_null(), "{}", events[0]);
    let help = place.expect(0, &["train", "--help"]);
    for name in ["RUN", "EVENT", "STEP", "TEXT"] {
        assert!(help.contains(&format!("HEIRLOOM_{name} ")), "{help}");
    }
    // A script that is not configured for any event is not run.
    let place = with_script(APPEND, "");
    place.expect(0, &train(&[&FEW_EVALS, &MATCHED]));
    assert_eq!(appended(&place), Vec::<String>::new());
}

#[test]
fn a_loss_that_is_not_finite_and_the_failure_after_it_are_events() {
    let place = with_script(APPEND, "'nan', 'done'");
    let mut command = place.heirloom(&train(&[]));
    // The evaluation at the end of round 1.
    let output = command.env("HEIRLOOM_FAULT", "eval-nan:80").output();
    assert_eq!(output.unwrap().status.code(), Some(1));
    let lines = appended(&place);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let nan = "nan|80|nan: the validation loss is nan at step 20 of round 1|";
    assert!(lines[0].starts_with(nan), "{}", lines[0]);
    assert!(lines[1].starts_with("done|80|failed: "), "{}", lines[1]);
}

#[test]
fn a_command_that_hangs_is_killed_after_ten_seconds_while_training_goes_on() {
    let place = with_script("echo $$ >>notices; sleep 60\n", "'decision'");
    let mut child = place.start(&train(&[&ASK, &OVERRUN]));
    let pid: u32 = wait("the command", || appended(&place).first()?.parse().ok());
    let began = Instant::now();
    assert!(is_alive(pid));
    place.wait_event("mine", "the warning", |e| {
        e["message"] == "notify decision: timed out after 10 s"
    });
    assert!(!is_alive(pid));
    let took = began.elapsed();
    assert!(took > Duration::from_secs(8), "{took:?}");
    assert_eq!(
        journaled(&place),
        [pair("warning", "notify decision: timed out after 10 s")]
    );
    let events = place.events("mine");
    let opened = events.iter().position(|e| e["kind"] == "decision").unwrap();
    let steps = events[opened..].iter().filter(|e| e["kind"] == "train");
    assert!(steps.count() > 20, "trained meanwhile");
    stop(&mut child);
}

#[test]
fn a_stop_does_not_wait_for_a_command() {
    let place = with_script("echo $$ >>notices; sleep 60\n", "'decision'");
    let mut child = place.start(&train(&[&ASK, &OVERRUN]));
    let pid: u32 = wait("the command", || appended(&place).first()?.parse().ok());
    let took = stop(&mut child);
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(!is_alive(pid));
    let wanted = "notify decision: killed, since the run's process ends\n";
    assert!(log(&place).ends_with(wanted), "{}", log(&place));
}

#[test]
fn a_command_that_cannot_be_run_is_a_warning() {
    let place = Place::new();
    let command = ["--set", "notify.command=[\"/no/such/program\"]"];
    place.expect(0, &train(&[&FEW_EVALS, &MATCHED, &command]));
    assert_eq!(
        journaled(&place),
        [
            pair("warning", "notify best: /no/such/program: not found"),
            pair("warning", "notify decision: /no/such/program: not found"),
        ]
    );
}

/// A run's directory may come from an untrusted source: a command in its config.toml is not run until the operator passes it again.
#[test]
fn a_resume_runs_no_command_that_is_only_in_the_runs_directory() {
    let place = with_script(APPEND, "'decision', 'done'");
    let long = ["--set", "train.steps=1000000"];
    let mut child = place.start(&train(&[&long]));
    place.wait_event("mine", "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    stop(&mut child);
    assert_eq!(appended(&place), Vec::<String>::new());
    std::fs::rename(place.run_dir("mine"), place.run_dir("other")).unwrap();
    let settings = ["--set", "train.steps=30", "--set", "match.tolerance=100"];
    let copy = |name: &str| {
        let status = Command::new("cp")
            .arg("-r")
            .args([place.run_dir("other"), place.run_dir(name)])
            .status();
        assert!(status.unwrap().success());
    };
    copy("mine");
    let args = [&["train", "--resume", "mine"], &settings[..]].concat();
    let output = place.run(&args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert_eq!(appended(&place), Vec::<String>::new());
    let journaled = journaled(&place);
    assert_eq!(journaled.len(), 1, "{journaled:?}");
    let (kind, warning) = &journaled[0];
    assert_eq!(kind, "warning");
    assert!(err.contains(warning), "{err}");
    // Another run that takes its config from this one does not run the command either.
    let args = ["train", "--decisions", "mine", "--name", "twin"];
    place.expect(0, &[&args, &settings[..]].concat());
    assert_eq!(appended(&place), Vec::<String>::new());
    // The warning's advice works.
    let (_, advice) = warning.split_once("to run it, add ").unwrap();
    copy("again");
    let program = env!("CARGO_BIN_EXE_heirloom");
    let line = format!(
        "{program} train --resume again {} {advice}",
        settings.join(" ")
    );
    let status = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.path())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let lines = appended(&place);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("decision|") && lines[1].starts_with("done|"));
}

/// Returns the texts of OSC 9, and the number of bells that do not end a sequence.
fn rung(pty: &Pty) -> (Vec<String>, usize) {
    let written = pty.written();
    let text = String::from_utf8_lossy(&written).into_owned();
    let (mut notes, mut rest) = (Vec::new(), String::new());
    let mut parts = text.split("\u{1b}]");
    rest.push_str(parts.next().unwrap());
    for part in parts {
        let (sequence, after) = part.split_once('\u{7}').unwrap_or((part, ""));
        notes.extend(sequence.strip_prefix("9;").map(String::from));
        rest.push_str(after);
    }
    (notes, rest.matches('\u{7}').count())
}

#[test]
fn the_runs_own_dashboard_rings_the_bell() {
    let place = Place::new();
    let notify = [
        "--set",
        "notify.terminal=bell",
        "--set",
        "notify.on=['decision', 'done']",
    ];
    let mut pty = Pty::start(&place, &train(&[&FEW_EVALS, &MATCHED, &notify]), 80, 24);
    pty.see("outcome: matched");
    wait("two bells", || (rung(&pty) == (vec![], 2)).then_some(()));
    // Under `auto`, a decision that is answered at once also rings.
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    assert_eq!(rung(&pty), (vec![], 2));
    // Past events, and screens without control, do not ring.
    let mut pty = Pty::start(&place, &["watch", "mine"], 80, 24);
    pty.see("outcome: matched");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    assert_eq!(rung(&pty), (vec![], 0));
}

#[test]
fn an_attached_dashboard_notifies_of_what_happens_from_then_on() {
    let place = Place::new();
    let notify = [
        "--set",
        "notify.terminal=osc9",
        "--set",
        "notify.on=['decision', 'done']",
    ];
    let controls = [
        "--set",
        "control.random=false",
        "--set",
        "control.reference_continued=false",
    ];
    let settings = [&ASK[..], &FEW_EVALS, &OVERRUN, &notify, &controls].concat();
    let run = place.in_background("mine", &settings, "");
    let is_open = |e: &Value| e["kind"] == "decision" && e["status"] == "open";
    place.wait_event("mine", "a decision", is_open);
    let mut pty = Pty::start(&place, &["attach", "mine"], 80, 24);
    let mut watching = Pty::start(&place, &["watch", "mine"], 80, 24);
    pty.see("SUGGESTED");
    watching.see("SUGGESTED");
    assert_eq!(rung(&pty), (vec![], 0), "the decision is the past");
    let (code, out, err) = place.ctl("mine", &["grow", "1"]);
    assert_eq!(code, 0, "{out}{err}");
    wait("the next decision", || {
        let (notes, bells) = rung(&pty);
        assert_eq!(bells, 0);
        let text = notes.first()?;
        let wanted = "heirloom mine: decision: grow suggested, gap +";
        assert!(text.starts_with(wanted), "{text}");
        Some(())
    });
    let (code, out, err) = place.ctl("mine", &["stop"]);
    assert_eq!(code, 0, "{out}{err}");
    wait("the end", || (!is_alive(run.0)).then_some(()));
    wait("its notification", || {
        (rung(&pty).0.len() == 2).then_some(())
    });
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    let (notes, bells) = rung(&pty);
    assert_eq!((notes.len(), bells), (2, 0), "{notes:?}");
    let wanted = "heirloom mine: done: stopped, 2 of 4 layers, gap +";
    assert!(notes[1].starts_with(wanted), "{}", notes[1]);
    watching.press("q");
    assert_eq!(watching.exit_code(), 0);
    assert_eq!(rung(&watching), (vec![], 0));
}
