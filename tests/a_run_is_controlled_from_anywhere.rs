//! A running training can be commanded and watched over its control socket: by scripts, and by several dashboards of which one has
//! control. Clients that break the protocol are refused.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::pty::Pty;
use common::{Background, Place, is_alive, texts, wait};
use heirloom::dashboard::{AttachFeed, Feed};
use heirloom::run::command::Command;
use heirloom::run::dir::RunDir;
use serde_json::{Value, json};

/// A run in the background.
#[track_caller]
fn in_background(place: &Place, settings: &[&str]) -> Background {
    place.in_background("mine", settings, "")
}

const LONG_REFERENCE: [&str; 2] = ["--set", "reference.train.steps=1000000"];
const LONG_ROUND: [&str; 4] = [
    "--set",
    "train.steps=1000000",
    "--set",
    "reference.train.steps=20",
];

/// Returns the first line of a screen, which names the client that has control.
fn head(screen: &str) -> &str {
    screen.lines().next().unwrap_or_default()
}

fn socket(place: &Place) -> PathBuf {
    place.lock("mine")["socket"].as_str().unwrap().into()
}

fn ctl(place: &Place, words: &[&str]) -> (i32, String, String) {
    place.ctl("mine", words)
}

#[track_caller]
fn ctl_ok(place: &Place, words: &[&str]) -> String {
    let (code, out, err) = ctl(place, words);
    assert_eq!(code, 0, "{words:?}: {out}{err}");
    out
}

#[test]
fn scripts_command_a_run_and_are_answered() {
    let place = Place::new();
    let run = in_background(&place, &LONG_REFERENCE);
    place.wait_event("mine", "a training step", |e| e["kind"] == "train");
    let status = ctl_ok(&place, &["status"]);
    assert!(
        status.starts_with("running, step") && status.lines().count() > 1,
        "{status}"
    );
    assert!(ctl_ok(&place, &["pause"]).starts_with("paused at step"));
    let (code, _, err) = ctl(&place, &["pause"]);
    assert_eq!(
        (code, err.trim()),
        (1, "heirloom: refused: the run is paused already")
    );
    let status: Value = serde_json::from_str(&ctl_ok(&place, &["status", "--json"])).unwrap();
    assert_eq!(
        (&status["state"], &status["name"]),
        (&json!("paused"), &json!("mine"))
    );
    // A pause that was asked for lasts, even without a dashboard.
    std::thread::sleep(Duration::from_millis(300));
    assert!(ctl_ok(&place, &["status"]).starts_with("paused"));
    ctl_ok(&place, &["resume"]);
    let answer: Value = serde_json::from_str(&ctl_ok(&place, &["checkpoint", "--json"])).unwrap();
    let message = answer["message"].as_str().unwrap();
    let name = message.strip_prefix("checkpoint ").unwrap();
    let checkpoint = place.run_dir("mine").join("checkpoints").join(name);
    assert!(
        checkpoint.join("state.json").exists(),
        "on disk when it is answered"
    );
    assert!(ctl_ok(&place, &["eval"]).starts_with("val "));
    ctl_ok(&place, &["probe"]);
    ctl_ok(&place, &["set", "lr", "1e-5"]);
    wait("a step with the new rate", || {
        let rate = place.events("mine").last()?["lr"].as_f64()?;
        ((rate - 1e-5).abs() < 1e-6).then_some(())
    });
    assert!(ctl_ok(&place, &["extend", "100"]).contains("1000100"));
    assert!(ctl_ok(&place, &["note", "a", "warmer rate"]).starts_with("noted at step "));
    let (code, _, err) = ctl(&place, &["note", &"x".repeat(501)]);
    assert!(code == 2 && err.contains("at most 500 characters"), "{err}");
    let (code, _, err) = ctl(&place, &["grow", "2"]);
    assert!(code == 1 && err.contains("no round to grow from"), "{err}");
    let (code, _, err) = ctl(&place, &["rollback", "nothing"]);
    assert!(code == 1 && err.contains("no checkpoint nothing"), "{err}");

    // The journal has every command, with its sender and its answer.
    let events = place.events("mine");
    let commands: Vec<&Value> = events.iter().filter(|e| e["kind"] == "command").collect();
    assert!(
        commands
            .iter()
            .all(|c| c["by"] == "control" && c["pid"].is_u64())
    );
    let answers = events.iter().filter(|e| e["kind"] == "answer").count();
    assert_eq!((commands.len(), answers), (11, 11));

    // Usage errors never reach the trainer.
    let (code, _, err) = ctl(&place, &["puase"]);
    assert!(code == 2 && err.contains("did you mean pause?"), "{err}");
    let output = place.run(&["ctl", "nobody", "pause"]);
    assert_eq!(output.status.code(), Some(2));

    assert!(ctl_ok(&place, &["quit"]).contains("the process ends"));
    wait("the end", || (!is_alive(run.0)).then_some(()));
    let shown = place.show("mine");
    assert_eq!(shown["state"], "interrupted");
    assert_eq!(shown["notes"][0]["text"], "a warmer rate");
    let text = place.expect(0, &["show", "mine"]);
    assert!(text.contains("\nnotes\n  step "), "{text}");
    assert!(text.contains("status     stopped"), "{text}");
    let (code, _, err) = ctl(&place, &["status"]);
    assert!(
        code == 2
            && err
                .contains("run mine is not running; resume it with: heirloom train --resume mine"),
        "{err}"
    );
    let output = place.run(&["attach", "mine"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_script_decides_as_an_operator_would() {
    let place = Place::new();
    let _run = in_background(&place, &["--set", "train.steps=1000000"]);
    let in_round = |n: u32| {
        place.wait_event("mine", "the round", |e| {
            e["phase"] == format!("round-{n}") && e["kind"] == "train"
        })
    };
    in_round(1);
    ctl_ok(&place, &["grow", "1", "keep"]);
    in_round(2);
    let growth = place.wait_event("mine", "the growth", |e| e["kind"] == "grow");
    assert_eq!(
        (&growth["to_layers"], &growth["mode"]),
        (&json!(2), &json!("keep"))
    );
    ctl_ok(&place, &["rollback", "pre-grow-1"]);
    let status: Value = serde_json::from_str(&ctl_ok(&place, &["status", "--json"])).unwrap();
    assert_eq!(status["phase"], "round-1");
    ctl_ok(&place, &["stop"]);
    wait("the end", || {
        (place.show("mine")["state"] == "done").then_some(())
    });
    assert_eq!(place.show("mine")["outcome"], "stopped");
}

#[test]
fn attached_dashboards_share_a_run_with_one_controller() {
    let place = Place::new();
    let run = in_background(&place, &LONG_ROUND);
    place.wait_event("mine", "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    let mut first = Pty::start(&place, &["attach", "mine"], 80, 24);
    first.see("round 1");
    let mut second = Pty::start(&place, &["attach", "mine"], 120, 24);
    second.see("control: ");
    second.see(&format!("(pid {})", first.pid()));
    second.press("p");
    second.see("has control; :take-control to take over");
    first.press("p");
    first.see("PAUSED");
    second.see("PAUSED");

    second.press(":take-control\r");
    second.see("control taken");
    first.see(&format!("(pid {})", second.pid()));
    second.see_that("no other controller", |s| !head(s).contains("(pid "));
    second.press("p");
    first.see("TRAIN");
    place.wait_event("mine", "the change of control in the journal", |e| {
        e["kind"] == "log" && e["message"].as_str().unwrap().contains("control taken by")
    });

    // Types a command; a drastic one needs a confirmation.
    second.press(":");
    second.see("rollback NAME");
    second.press("lr 1e-6\r");
    place.wait_event("mine", "the new rate", |e| {
        e["kind"] == "answer"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("learning rate 1.000e-6")
    });
    second.press(":gr\t1 keep\r");
    second.see("Grow by 1 layer (keep)?");
    std::thread::sleep(Duration::from_millis(400));
    second.press("\r");
    first.see("loss · round 2");

    // Leaving a view does not affect the run, and frees the control that it had.
    second.press("q");
    assert_eq!(second.exit_code(), 0);
    first.see_that("no controller", |s| !head(s).contains("(pid "));
    first.press("p");
    first.see("PAUSED");
    first.hang_up();
    wait("the end of the lost view", || first_ended(&mut first));
    assert!(is_alive(run.0), "the training is another process");

    // A read-only view never gets control.
    let mut looking = Pty::start(&place, &["attach", "mine", "--read-only"], 80, 24);
    looking.see("read only");
    looking.press("p");
    looking.see("read-only view; to control the run: heirloom attach");
    looking.press(":take-control\r");
    looking.see("control cannot be taken from here");
    ctl_ok(&place, &["quit"]);
    looking.see("STOPPED");
    looking.press("q");
    assert_eq!(looking.exit_code(), 0);
}

/// Two dashboards ask the same run: each gets the answers to its own commands, distinguished by their tickets.
#[test]
fn each_dashboard_gets_the_answers_to_its_own_commands() {
    let place = Place::new();
    let _run = in_background(&place, &LONG_REFERENCE);
    let dir = RunDir::at(&place.run_dir("mine"));
    let (mut first, mut past) = AttachFeed::connect(&dir, false).unwrap();
    // Not `read_only`: before the server has answered, control counts as free, and the second dashboard could get it.
    wait("control", || {
        first.drain(&mut past).unwrap();
        first.has_control().then_some(())
    });
    let (mut second, mut seen) = AttachFeed::connect(&dir, false).unwrap();
    wait("a second dashboard that reads", || {
        second.drain(&mut seen).unwrap();
        second.controller()
    });
    let refused = second.send(Command::Pause).unwrap();
    let done = first.send(Command::Pause).unwrap();
    let again = first.send(Command::Pause).unwrap();
    assert_ne!(done, again);
    let mut answers = Vec::new();
    wait("both answers", || {
        first.drain(&mut past).unwrap();
        answers.extend(first.answers());
        (answers.len() >= 2).then_some(())
    });
    let told: Vec<_> = answers.iter().map(|a| (a.ticket, a.applied)).collect();
    assert_eq!(told, [(done, true), (again, false)]);
    assert_eq!(answers[1].message, "the run is paused already");
    let mut answers = Vec::new();
    wait("the answer, and all events", || {
        second.drain(&mut seen).unwrap();
        answers.extend(second.answers());
        // It has seen the refusal of the first dashboard's command as an event.
        (!answers.is_empty() && seen.refusals == 1).then_some(())
    });
    answers.extend(second.answers());
    let told: Vec<_> = answers.iter().map(|a| (a.ticket, a.applied)).collect();
    assert_eq!(told, [(refused, false)]);
    assert!(answers[0].message.contains("has control"), "{answers:?}");

    // The answer to a quit comes before the end, and after the end nothing can be sent.
    ctl_ok(&place, &["resume"]);
    let quit = first.send(Command::Quit).unwrap();
    let mut answers = Vec::new();
    wait("the answer to quit", || {
        first.drain(&mut past).unwrap();
        answers.extend(first.answers());
        (!answers.is_empty()).then_some(())
    });
    assert_eq!((answers[0].ticket, answers[0].applied), (quit, true));
    assert!(answers[0].message.contains("the process ends"));
    wait("the connection's end", || {
        first.drain(&mut past).unwrap();
        first.send(Command::Pause).err()
    });
}

fn first_ended(pty: &mut Pty) -> Option<()> {
    (!is_alive(pty.pid())).then_some(())
}

#[test]
fn control_passes_from_the_runs_own_dashboard_and_back() {
    let free = |s: &str| !s.contains("control: ") || s.contains("control: you");
    let place = Place::new();
    let mut args = vec!["train", "mine.toml", "--name", "mine"];
    args[1] = "mini.toml";
    args.extend(LONG_ROUND);
    let mut own = Pty::start(&place, &args, 100, 24);
    own.see("round 1");
    let mut other = Pty::start(&place, &["attach", "mine"], 100, 24);
    let pid = place.lock("mine")["pid"].as_u64().unwrap();
    other.see_that("who has control", |text| {
        let line = text.lines().find(|line| line.contains("control: "));
        line.is_some_and(|line| line.contains("@pts/") && line.contains(&format!("(pid {pid})")))
    });
    other.press(":take-control\r");
    own.see(&format!("(pid {})", other.pid()));
    own.press("p");
    own.see("has control");
    other.see_that("no other controller", free);
    other.press("p");
    own.see("PAUSED");
    own.press(":take-control\r");
    own.see_that("no other controller", free);
    own.press("p");
    other.see("TRAIN");
    // The training's own dashboard is left; the training and the attached dashboard stay, and control is free.
    own.press("q");
    own.see("detach");
    std::thread::sleep(Duration::from_millis(400));
    own.press("\r");
    assert_eq!(own.exit_code(), 0);
    other.see_that("no controller", free);
    other.press("p");
    other.see("PAUSED");
    ctl_ok(&place, &["quit"]);
    other.see("STOPPED");
}

#[test]
fn what_is_not_understood_is_refused_and_training_goes_on() {
    let place = Place::new();
    let run = in_background(&place, &LONG_REFERENCE);
    let address = socket(&place);
    let mode = std::fs::metadata(&address).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // The server may close the connection before everything is written.
        let _ = stream.write_all(bytes);
        let _ = stream.write_all(b"\n");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    let huge = vec![b'x'; 1 << 20];
    let deep = "[".repeat(16_000);
    for (bytes, wanted) in [
        (&b"\xff\xfe"[..], "not UTF-8"),
        (b"hello", "not a message"),
        (deep.as_bytes(), "not a message"),
        (&huge, "more than 16384 bytes"),
        (br#"{"v":9,"type":"take_control"}"#, "version 9"),
        (
            br#"{"v":1,"type":"command","id":1,"command":{"name":"set_lr","lr":1e999}}"#,
            "not a message",
        ),
        (b"\x1b]0;owned\x07\x1b[2J", "not a message"),
    ] {
        let answer = said(bytes);
        assert!(
            answer.contains(r#""type":"error""#) && answer.contains(wanted),
            "{answer}"
        );
    }
    // A client that sends nothing, and one that disconnects, do not affect the others.
    let silent = UnixStream::connect(&address).unwrap();
    drop(UnixStream::connect(&address).unwrap());
    let logged = place.wait_event("mine", "the refusal in the journal", |e| {
        e["kind"] == "log"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("control socket: process")
    });
    assert!(logged["message"].as_str().unwrap().contains("refused"));
    assert!(ctl_ok(&place, &["status"]).starts_with("running"));
    drop(silent);
    assert!(is_alive(run.0));
    ctl_ok(&place, &["quit"]);
    wait("the socket's end", || (!address.exists()).then_some(()));
}

#[test]
fn a_thousand_commands_a_second_are_answered_or_refused() {
    let place = Place::new();
    let _run = in_background(&place, &LONG_REFERENCE);
    let mut stream = UnixStream::connect(socket(&place)).unwrap();
    let reader = BufReader::new(stream.try_clone().unwrap());
    let answers = std::thread::spawn(move || {
        let answers = reader.lines().map_while(Result::ok);
        let answers = answers
            .filter(|l| l.contains(r#""type":"answer""#))
            .take(2000);
        answers.fold((0, 0), |(applied, refused), line| {
            match line.contains(r#""applied":true"#) {
                true => (applied + 1, refused),
                false => (applied, refused + 1),
            }
        })
    });
    let begin = Instant::now();
    for id in 0..2000 {
        let command = json!({"v": 1, "type": "command", "id": id, "script": true,
            "command": {"name": if id % 2 == 0 { "pause" } else { "resume" }}});
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        if id % 10 == 9 {
            let due = Duration::from_millis(id / 2).saturating_sub(begin.elapsed());
            std::thread::sleep(due);
        }
    }
    let (applied, refused) = answers.join().unwrap();
    assert_eq!(applied + refused, 2000, "each has its answer");
    assert!(applied > 0 && refused > 1800, "{applied} applied");
    // Commands that the socket refused are not in the journal.
    let commands = place
        .events("mine")
        .iter()
        .filter(|e| e["kind"] == "command")
        .count();
    assert!(commands < 200, "{commands}");
}

#[test]
fn a_socket_lies_elsewhere_when_the_path_is_long() {
    let place = Place::new();
    let runs = format!("runs/{}", "long-".repeat(30));
    let temp = place.path().join("t");
    std::fs::create_dir(&temp).unwrap();
    let mut command = place.heirloom(&[
        "train",
        "-d",
        "mini.toml",
        "--name",
        "mine",
        "--runs",
        &runs,
    ]);
    command.args(LONG_REFERENCE);
    command.env("TMPDIR", &temp).env_remove("XDG_RUNTIME_DIR");
    assert!(command.output().unwrap().status.success());
    let text = std::fs::read_to_string(place.path().join(&runs).join("mine/lock")).unwrap();
    let lock: Value = serde_json::from_str(&text).unwrap();
    let _run = Background(lock["pid"].as_u64().unwrap() as u32);
    assert!(
        lock["socket"]
            .as_str()
            .unwrap()
            .starts_with(temp.to_str().unwrap())
    );
    let output = place.run(&["ctl", "mine", "quit", "--runs", &runs]);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
}

#[test]
fn a_start_in_the_background_tells_what_is_wrong_before_the_shell_goes_on() {
    let place = Place::new();
    let output = place.run(&["train", "-d", "mini.toml", "--set", "train.steps=0"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("train.steps"), "{err}");
    let _run = in_background(&place, &LONG_REFERENCE);
    // The process has a session of its own: it survives the end of the shell and of its terminal.
    let pid = place.lock("mine")["pid"].as_u64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(fields[3], pid.to_string(), "a session of its own");
    assert_eq!(fields[4], "0", "without a terminal");
    let output = place.run(&["train", "-d", "--resume", "mine"]);
    let (_, err) = texts(&output);
    assert!(
        output.status.code() == Some(2) && err.contains("in use by process"),
        "{err}"
    );
}
