//! Follows the advice of messages word for word, and checks that it works.

mod common;

use common::{Place, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Returns the arguments of the last `heirloom ...` command in a message, up to the end of the line.
#[track_caller]
fn advised(message: &str) -> Vec<String> {
    let line = message.trim_end().lines().last().unwrap_or_default();
    let (_, command) = line
        .rsplit_once("heirloom ")
        .unwrap_or_else(|| panic!("no command in {message}"));
    command.split_whitespace().map(String::from).collect()
}

/// Runs the command that a message advises, and expects this exit code.
#[track_caller]
fn follow(place: &Place, message: &str, code: i32) -> String {
    let args = advised(message);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.expect(code, &args)
}

/// Starts a run that fails, and returns its stderr.
#[track_caller]
fn failed(place: &Place, args: &[&str]) -> String {
    let output = place.run(args);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    err
}

/// Returns the message of `ctl RUN status` for a run that is not running.
#[track_caller]
fn ctl_advice(place: &Place, run: &str) -> String {
    let (code, out, err) = place.ctl(run, &["status"]);
    assert_eq!(code, 2, "{out}{err}");
    err
}

const RISING: &str = "reference.train.lr=1e12";

#[test]
fn a_loss_that_is_no_number_in_the_reference() {
    let place = Place::new();
    let err = failed(
        &place,
        &["train", "mini.toml", "--name", "n", "--set", RISING],
    );
    assert!(
        err.contains("It has no checkpoint yet: start it over"),
        "{err}"
    );
    assert!(err.contains("--set reference.train.lr=1e-3"), "{err}");
    // The rate of the rounds does not apply to the reference.
    let again = ["train", "--resume", "n", "--set", "train.lr=1e-5"];
    assert!(failed(&place, &again).contains("not finite"));
    follow(&place, &err, 0);
    assert_eq!(place.show("n")["state"], "done");
    let config = std::fs::read_to_string(place.run_dir("n").join("config.toml")).unwrap();
    assert!(config.contains("lr = 0.001"), "{config}");
}

#[test]
fn a_loss_that_is_no_number_after_a_checkpoint() {
    let place = Place::new();
    // A checkpoint of good weights, then a learning rate that the operator sets.
    let run = place.in_background("n", &["--set", "reference.train.steps=1000000"], "");
    place.wait_event("n", "training", |e| e["kind"] == "train");
    let (code, ..) = place.ctl("n", &["checkpoint"]);
    assert_eq!(code, 0);
    signal(run.0, Signal::SIGKILL);
    wait("the end", || (!common::is_alive(run.0)).then_some(()));
    let err = failed(&place, &["train", "--resume", "n", "--set", RISING]);
    assert!(err.contains("Resume from its checkpoint b0-s"), "{err}");
    let mut args = advised(&err);
    args.extend(["--set".into(), "reference.train.steps=60".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.expect(0, &args);
}

#[test]
fn a_loss_that_is_no_number_in_a_round() {
    let place = Place::new();
    let err = failed(
        &place,
        &[
            "train",
            "mini.toml",
            "--name",
            "n",
            "--set",
            "train.lr=1e12",
        ],
    );
    assert!(
        err.contains("train --resume n --set train.lr=1e-3"),
        "{err}"
    );
    assert!(!err.contains("reference.train.lr"), "{err}");
    follow(&place, &err, 0);
    assert_eq!(place.show("n")["state"], "done");
}

#[test]
fn a_run_that_does_not_run() {
    let place = Place::new();
    // A run that is done.
    place.expect(0, &["train", "mini.toml", "--name", "r"]);
    let said = ctl_advice(&place, "r");
    assert!(said.contains("run r is done"), "{said}");
    assert!(follow(&place, &said, 0).contains("round 1"));
    // A run that never began.
    std::fs::create_dir(place.run_dir("new")).unwrap();
    std::fs::copy(
        place.run_dir("r").join("config.toml"),
        place.run_dir("new").join("config.toml"),
    )
    .unwrap();
    let said = ctl_advice(&place, "new");
    assert!(said.contains("run new has not begun"), "{said}");
    follow(&place, &said, 0);
    // Runs that crashed before and after their first checkpoint.
    for (name, every, has) in [("early", "0", false), ("late", "5", true)] {
        let every = format!("checkpoint.every={every}");
        let long = ["--set", "reference.train.steps=1000000", "--set", &every];
        let mut child = place.start(&[&["train", "mini.toml", "--name", name], &long[..]].concat());
        place.wait_event(name, "training", |e| {
            e["kind"] == if has { "checkpoint" } else { "train" }
        });
        signal(child.id(), Signal::SIGKILL);
        child.wait().unwrap();
        let said = ctl_advice(&place, name);
        assert_eq!(
            said.contains("it has no checkpoint and starts over"),
            !has,
            "{said}"
        );
        let mut args = advised(&said);
        args.extend(["--set".into(), "reference.train.steps=60".into()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = place.run(&args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
        assert_eq!(err.contains("it starts over"), !has, "{err}");
    }
    // A run that failed without a checkpoint.
    failed(
        &place,
        &["train", "mini.toml", "--name", "f", "--set", RISING],
    );
    let said = ctl_advice(&place, "f");
    assert!(
        said.contains("run f has failed; it has no checkpoint"),
        "{said}"
    );
    assert!(advised(&said)[..] == ["train", "--resume", "f"], "{said}");
}

#[test]
fn a_text_that_has_changed() {
    let place = Place::new();
    let text: &str = include_str!("../src/corpus/tinyshakespeare.txt");
    let file = place.path().join("text.txt");
    std::fs::write(&file, &text[..40_000]).unwrap();
    let long = [
        "--set",
        "data.train=text.txt",
        "--set",
        "reference.train.steps=1000000",
    ];
    let mut child = place.start(&[&["train", "mini.toml", "--name", "r"], &long[..]].concat());
    place.wait_event("r", "training", |e| e["kind"] == "train");
    signal(child.id(), Signal::SIGTERM);
    child.wait().unwrap();
    std::fs::rename(&file, place.path().join("former.txt")).unwrap();
    std::fs::write(&file, &text[50_000..90_000]).unwrap();
    let short = ["--set", "reference.train.steps=60"];
    let output = place.run(&[&["train", "--resume", "r"], &short[..]].concat());
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    for word in [
        "the training and the validation text are not those that run r began with",
        "data.train = ",
        "text.txt",
    ] {
        assert!(err.contains(word), "{word}: {err}");
    }
    // Both advised solutions work.
    let former = ["--set", "data.train=former.txt"];
    place.expect(
        0,
        &[&["train", "--resume", "r"], &short[..], &former[..]].concat(),
    );
    let mut args = advised(&err);
    assert_eq!(args.pop().as_deref(), Some("NAME"), "{err}");
    args.extend(["new", "--set", "reference.train.steps=60"].map(String::from));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.expect(0, &args);
}

#[test]
fn no_checkpoint_is_intact() {
    let place = Place::new();
    let mut child = place.start(&[
        "train",
        "mini.toml",
        "--name",
        "r",
        "--set",
        "train.steps=1000000",
    ]);
    place.wait_event("r", "round 1", |e| {
        e["phase"] == "round-1" && e["kind"] == "train"
    });
    signal(child.id(), Signal::SIGTERM);
    child.wait().unwrap();
    let folder = place.run_dir("r").join("checkpoints");
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            std::fs::write(entry.path().join("model.safetensors"), "cut").unwrap();
        }
    }
    let refused = |args: &[&str], words: &[&str]| {
        let output = place.run(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{out}{err}");
        for word in words {
            assert!(err.contains(word), "{word}: {err}");
        }
        err
    };
    let words = [
        "is damaged: model.safetensors has 3 of ",
        "no other one is intact; copy one back from a backup",
    ];
    refused(&["train", "--resume", "r"], &words);
    std::fs::remove_file(folder.join("latest")).unwrap();
    let words = ["is intact (checkpoint b0-s", "copy one back from a backup"];
    let err = refused(&["train", "--resume", "r"], &words);
    let mut args = advised(&err);
    assert_eq!(args.pop().as_deref(), Some("NAME"), "{err}");
    args.extend(["new", "--set", "train.steps=20"].map(String::from));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    place.expect(0, &args);
}

#[test]
fn a_directory_that_holds_another_journal() {
    let place = Place::new();
    let mut child = place.start(&[
        "train",
        "mini.toml",
        "--name",
        "r",
        "--set",
        "reference.train.steps=1000000",
    ]);
    place.wait_event("r", "training", |e| e["kind"] == "train");
    let journal = place.run_dir("r").join("events.jsonl");
    std::fs::copy(&journal, place.path().join("copy")).unwrap();
    std::fs::rename(place.path().join("copy"), &journal).unwrap();
    let said = wait("the warning", || {
        let printed = place.printed();
        let line = printed
            .lines()
            .find(|l| l.contains("is now a different file"))?;
        Some(line.to_string())
    });
    assert!(said.contains(&format!("(kill {})", child.id())), "{said}");
    let (_, rest) = said.split_once("(mv ").unwrap();
    let (command, _) = rest.split_once(')').unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let status = std::process::Command::new("mv")
        .args(words)
        .current_dir(place.path())
        .status();
    assert!(status.unwrap().success(), "{command}");
    wait("the directory made again, with a checkpoint", || {
        let dir = place.run_dir("r");
        let files = ["events.jsonl", "config.toml", "checkpoints/latest"];
        files
            .iter()
            .all(|file| dir.join(file).exists())
            .then_some(())
    });
    assert!(place.path().join("runs/r.other/events.jsonl").exists());
    signal(child.id(), Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(75));
    place.expect(
        0,
        &[
            "train",
            "--resume",
            "r",
            "--set",
            "reference.train.steps=60",
        ],
    );
}

#[test]
fn a_journal_that_was_moved() {
    let place = Place::new();
    let run = place.in_background("r", &["--set", "reference.train.steps=1000000"], "");
    let journal = place.run_dir("r").join("events.jsonl");
    let moved = place.path().join("moved");
    std::fs::rename(&journal, &moved).unwrap();
    std::fs::copy(&moved, &journal).unwrap();
    let (code, _, err) = place.ctl("r", &["checkpoint"]);
    assert_eq!(code, 1, "{err}");
    let status = wait("the warning", || {
        let status = place.ctl("r", &["status"]).1;
        status
            .contains("no checkpoint was written")
            .then_some(status)
    });
    let line = status.lines().find(|l| l.contains("(mv MOVED ")).unwrap();
    let (_, rest) = line.split_once("(mv MOVED ").unwrap();
    let (to, _) = rest.split_once(')').unwrap();
    std::fs::rename(&moved, place.path().join(to)).unwrap();
    let (code, out, err) = place.ctl("r", &["checkpoint"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, ..) = place.ctl("r", &["quit"]);
    assert_eq!(code, 0);
    wait("the end", || (!common::is_alive(run.0)).then_some(()));
    assert_eq!(place.show("r")["state"], "interrupted");
}

#[test]
fn a_run_in_use() {
    let place = Place::new();
    let run = place.in_background("r", &["--set", "reference.train.steps=1000000"], "");
    let output = place.run(&["train", "--resume", "r"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains(&format!("in use by process {} on host", run.0)),
        "{err}"
    );
    let args = advised(&err);
    assert_eq!(args[..3], ["ctl", "r", "quit"], "{err}");
    place.expect(0, &["ctl", "r", "quit"]);
    wait("the end", || (!common::is_alive(run.0)).then_some(()));
}

/// Under `ask`, past the most steps that continue without an answer.
#[test]
fn a_resume_past_the_overrun_trains_on() {
    let place = Place::new();
    let ask = [
        "--set",
        "policy.mode=ask",
        "--set",
        "policy.max_overrun_steps=7",
        "--set",
        "policy.unattended_minutes=60.0",
    ];
    let _run = place.in_background("r", &ask, "");
    // The run pauses repeatedly, always after the overrun.
    let paused = |at: u64| {
        place.wait_event("r", "the pause", |e| {
            e["status"] == "paused" && e["phase"] == "round-1" && e["phase_step"] == at
        })
    };
    let event = paused(27);
    let message = event["message"].as_str().unwrap();
    assert_eq!(message, "7 steps over budget: D to decide, p to train on");
    let ok = |words: &[&str]| {
        let (code, out, err) = place.ctl("r", words);
        assert_eq!(code, 0, "{out}{err}");
        out
    };
    let said = ok(&["resume"]);
    assert!(said.contains("pauses at step 34 of the round"), "{said}");
    paused(34);
    let checkpoint = ok(&["checkpoint"]);
    let checkpoint = checkpoint.trim().strip_prefix("checkpoint ").unwrap();
    // The next process keeps the state.
    ok(&["resume"]);
    paused(41);
    let branch = |at: u64, branch: u64| {
        place.wait_event("r", "the pause", |e| {
            e["status"] == "paused" && e["phase_step"] == at && e["branch"] == branch
        })
    };
    // After a rollback to a state past the end, the run is still paused, and continues after `resume`.
    ok(&["rollback", checkpoint]);
    let message = branch(34, 1)["message"].to_string();
    assert_eq!(
        message,
        r#""rolled back to step 34 of round 1; p trains on""#
    );
    ok(&["resume"]);
    branch(41, 1);
    // A decision ends it.
    ok(&["train-on", "3"]);
    let decision = place.wait_event("r", "the decision", |e| {
        e["kind"] == "decision" && e["status"] == "open" && e["phase_step"] == 44
    });
    assert_eq!(decision["reason"], "end_of_steps", "{decision}");
}

#[test]
fn a_refused_command_is_no_standing_warning() {
    let place = Place::new();
    let _run = place.in_background("r", &["--set", "reference.train.steps=1000000"], "");
    let (code, _, err) = place.ctl("r", &["grow", "1"]);
    assert!(
        code == 1 && err.contains("refused: there is no round"),
        "{err}"
    );
    let (code, status, _) = place.ctl("r", &["status"]);
    assert!(
        code == 0 && !status.contains("refused") && !status.contains("warning"),
        "{status}"
    );
    // A warning must not become an error.
    std::fs::remove_file(place.run_dir("r").join("lock")).unwrap();
    place.wait_event("r", "the warning", |e| e["kind"] == "warning");
    let warned = wait("the status", || {
        let status: String = place.ctl("r", &["status"]).1;
        status.contains("warning at step").then_some(status)
    });
    assert!(warned.contains("lock file was deleted"), "{warned}");
    let answers: Vec<Value> = place
        .events("r")
        .into_iter()
        .filter(|e| e["kind"] == "answer")
        .collect();
    assert_eq!(answers.len(), 1, "the journal has the refusal");
}
