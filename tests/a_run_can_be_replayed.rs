//! Replays a run forwards and backwards from its journal, without changing any file.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use common::pty::Pty;
use common::{Place, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Makes a complete run of the miniature recipe, without its controls.
fn trained() -> Place {
    let place = Place::new();
    let args = ["train", "mini.toml", "--name", "mine"];
    place.expect(0, &[&args[..], &NO_CONTROLS].concat());
    place
}

const NO_CONTROLS: [&str; 4] = [
    "--set",
    "control.random=false",
    "--set",
    "control.reference_continued=false",
];
/// Prompts ignore keys for 300 ms.
const LOCK: Duration = Duration::from_millis(400);

/// Returns every file and link under a directory: its bytes or target, and the time of its last change.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|e| e.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            let goal = std::fs::read_link(&path).unwrap();
            goal.into_os_string().into_encoded_bytes()
        } else {
            std::fs::read(&path).unwrap()
        };
        all.insert(path, (bytes, meta.modified().unwrap()));
    }
    all
}

#[track_caller]
fn position(events: &[Value], fits: impl Fn(&Value) -> bool) -> usize {
    events.iter().position(fits).expect("such an event") + 1
}

/// Returns the number of past events that the screen shows.
fn shown(screen: &str) -> Option<usize> {
    let (_, rest) = screen.split_once("event ")?;
    rest.split_once('/')?.0.replace(',', "").parse().ok()
}

/// Formats `event 12/345` as on the screen.
fn event(n: usize, of: &[Value]) -> String {
    format!("event {n}/{}", of.len())
}

#[test]
fn it_plays_to_the_end_pauses_goes_back_and_changes_nothing() {
    let place = trained();
    let before = contents(&place.run_dir("mine"));
    let events = place.events("mine");
    let mut pty = Pty::start(&place, &["replay", "mine", "--speed", "0.25"], 80, 24);
    let screen = pty.see("REPLAY 0.25x");
    assert!(pty.is_full_screen());
    assert!(
        !screen.contains("TRAIN") && !screen.contains("ETA"),
        "{screen}"
    );
    pty.see_that("the run going on", |s| {
        s.contains("▶ 0.25x") && shown(s).is_some_and(|n| n > 2)
    });
    pty.press("{");
    pty.see("REPLAY 0.125x");
    pty.press("}}}");
    pty.see("REPLAY 1x");
    let screen = pty.see("outcome: ");
    assert!(screen.contains("was done"), "{screen}");
    let screen = pty.see(&event(events.len(), &events));
    assert!(screen.contains("\n end "), "{screen}");

    // The first event, and from there one by one.
    pty.press_bytes(b"\x1b[H");
    let screen = pty.see(&event(1, &events));
    assert!(!screen.contains("outcome: "), "{screen}");
    assert!(screen.contains(" paused "), "{screen}");
    pty.press("..");
    pty.see(&event(3, &events));
    pty.press(",");
    pty.see(&event(2, &events));

    // Steps over marks: to the first growth and the decision before it, and back.
    let growth = position(&events, |e| e["kind"] == "grow");
    let notable = [
        "decision",
        "grow",
        "checkpoint",
        "warning",
        "resumed",
        "rollback",
    ];
    let marks = events[..growth].iter().filter(|e| {
        let kind = e["kind"].as_str().unwrap();
        notable.contains(&kind) || (kind == "phase" && e.get("result").is_none())
    });
    let marks = marks.filter(|e| e["seq"] != 1 && e["seq"] != 2).count();
    for _ in 0..marks {
        pty.press("]");
    }
    let screen = pty.see(&event(growth, &events));
    assert!(
        screen.contains("grow 1→2") || screen.contains("grow  1 → 2"),
        "{screen}"
    );
    pty.press("[");
    pty.see_that("an earlier mark", |s| !s.contains(&event(growth, &events)));

    // Goes to the middle of the time, uses keys of the screen, and continues playing.
    pty.press("g5");
    let screen = pty.see_that("the middle", |s| s.contains("paused") && s.contains('━'));
    pty.press("x");
    pty.see("tokens 0");
    pty.press("p");
    pty.see("a replay takes no commands");
    pty.press("?");
    let help = pty.see("previous mark");
    assert!(help.contains("j scrolls"), "{help}");
    pty.press("\x1b[6~");
    let rest = pty.see("marks: | phase");
    assert!(
        rest.contains("jump to N tenths of the run, 0 to 9"),
        "{rest}"
    );
    pty.press("?");
    // Slow enough to observe.
    pty.press("{{");
    pty.press(" ");
    pty.see_that("it goes on", |s| *s != screen && s.contains("▶ 0.25x"));
    for (columns, rows) in [(1, 1), (40, 12), (200, 60), (80, 24)] {
        pty.resize(columns, rows);
        std::thread::sleep(Duration::from_millis(100));
    }
    pty.see("outcome: ");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    pty.gives_the_screen_back();
    assert_eq!(contents(&place.run_dir("mine")), before);
}

#[test]
fn an_operators_decision_is_seen_as_it_was_made() {
    let place = Place::new();
    let args = [
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "policy.mode=ask",
    ];
    let mut pty = Pty::start(&place, &[&args[..], &NO_CONTROLS].concat(), 80, 24);
    let mut choose = |round: u32, keys: &str, chosen: &str| {
        pty.see_that("the pause of the round", |s| {
            s.contains("PAUSED") && s.contains(&format!("round {round} ·"))
        });
        pty.press("D");
        pty.see(&format!("decide · round {round}"));
        std::thread::sleep(LOCK);
        pty.press(keys);
        pty.see(chosen);
        pty.press("\r");
        pty.see("Esc cancel");
        // The confirmation ignores keys for 300 ms.
        std::thread::sleep(LOCK);
        pty.press("\r");
    };
    choose(1, "m", "> grow by 1 (keep)");
    place.wait_event("mine", "the growth", |e| e["kind"] == "grow");
    choose(2, "jj", "> stop growing");
    pty.see("outcome: stopped");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);

    let events = place.events("mine");
    let opened = position(&events, |e| e["kind"] == "decision");
    let resolved = position(&events, |e| e["status"] == "resolved");
    let command = position(&events, |e| e["command"]["name"] == "grow");
    let mut pty = Pty::start(&place, &["replay", "mine", "--paused"], 80, 24);
    pty.see(&event(1, &events));
    // One event at a time, forwards or back.
    let go = |pty: &mut Pty, goal: usize| {
        let mut at = shown(&pty.text()).unwrap();
        while at != goal {
            let forwards = at < goal;
            pty.press(if forwards { "." } else { "," });
            at = if forwards { at + 1 } else { at - 1 };
            pty.see_that("the next event", |s| shown(s) == Some(at));
        }
        pty.text()
    };
    let screen = go(&mut pty, opened);
    assert!(screen.contains("▶ GROW SUGGESTED"), "{screen}");
    assert!(screen.contains("decision: 1 layer"), "{screen}");
    let screen = go(&mut pty, command);
    assert!(screen.contains("operator: grow by 1 (keep)"), "{screen}");
    assert!(screen.contains("▶ GROW SUGGESTED"), "still open:\n{screen}");
    let screen = go(&mut pty, resolved);
    assert!(
        screen.contains("decided by operator: grow by 1 (keep)"),
        "{screen}"
    );
    assert!(!screen.contains("SUGGESTED"), "{screen}");
    let screen = go(&mut pty, resolved - 1);
    assert!(screen.contains("▶ GROW SUGGESTED"), "and back:\n{screen}");
    // A signal ends a replay, and the terminal is restored.
    signal(pty.pid(), Signal::SIGTERM);
    assert_eq!(pty.exit_code(), 0);
    pty.gives_the_screen_back();
}

#[test]
fn a_run_that_goes_on_is_replayed_up_to_now_and_a_resumed_one_with_what_it_did_again() {
    let place = Place::new();
    let long = [
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "train.steps=1000000",
        "--set",
        "checkpoint.every=400",
    ];
    let mut training = place.start(&long);
    place.wait_event("mine", "a checkpoint of the round", |e| {
        e["phase"] == "round-1" && e["kind"] == "checkpoint"
    });
    let output = place.run(&["replay", "mine", "--speed", "max"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        err.contains("the run is still in progress; this replays what it has written so far"),
        "{err}"
    );
    assert!(out.contains("round-1"), "{out}");
    let mut pty = Pty::start(&place, &["replay", "mine", "--speed", "max"], 100, 24);
    let screen = pty.see("\n end ");
    assert!(screen.contains("up to the step the run"), "{screen}");
    let steps = |pty: &Pty| {
        pty.text()
            .lines()
            .rev()
            .nth(2)
            .unwrap_or_default()
            .to_string()
    };
    let seen = steps(&pty);
    let last = place.events("mine").len();
    wait("newer events", || {
        (place.events("mine").len() > last + 20).then_some(())
    });
    assert_eq!(steps(&pty), seen, "what comes later is not played");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);

    // A run is killed between two checkpoints, and resumed from the last one.
    wait("steps past a checkpoint", || {
        let events = place.events("mine");
        let step = |e: &Value| e["step"].as_u64();
        let kept = events.iter().rfind(|e| e["kind"] == "checkpoint");
        let past = step(events.last()?)? - step(kept?)?;
        (50..200).contains(&past).then_some(())
    });
    training.kill().unwrap();
    training.wait().unwrap();
    let resume = ["train", "--resume", "mine", "--set", "train.steps=30"];
    let output = place.run(&[&resume[..], &NO_CONTROLS].concat());
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let events = place.events("mine");
    let resumed = position(&events, |e| e["kind"] == "resumed");
    let from = events[resumed - 1]["step"].as_u64().unwrap();
    let lost = events[..resumed]
        .iter()
        .filter_map(|e| e["step"].as_u64())
        .max();
    let lost = lost.unwrap();
    assert!(lost > from, "{lost} {from}");

    let before = contents(&place.run_dir("mine"));
    let lines = place.expect(0, &["replay", "mine", "--speed", "max", "--json"]);
    let replayed: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(replayed, events, "all of it, in the order it happened");
    let at = lost.to_string();
    let mut pty = Pty::start(
        &place,
        &["replay", "mine", "--paused", "--at", &at],
        100,
        24,
    );
    let screen = pty.see("paused");
    assert!(!screen.contains("resumed"), "{screen}");
    // One or two checkpoints may come before the resume.
    let marks = wait("the resume", || {
        pty.press("]");
        std::thread::sleep(Duration::from_millis(100));
        let text = pty.text();
        text.contains("resumed from").then_some(text)
    });
    assert!(marks.contains(&format!("step {from}")), "{marks}");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    assert_eq!(contents(&place.run_dir("mine")), before);
}

#[test]
fn without_a_terminal_lines_come_at_their_pace_until_the_end_or_an_interrupt() {
    let place = trained();
    let before = contents(&place.run_dir("mine"));
    let events = place.events("mine");
    let elapsed = |e: &Value| e["elapsed"].as_f64().unwrap();
    let took = elapsed(events.last().unwrap()) - elapsed(&events[0]);
    // The speed is such that the run takes about one second.
    let speed = took.to_string();
    let begin = Instant::now();
    let out = place.expect(0, &["replay", "mine", "--speed", &speed]);
    let real = begin.elapsed();
    assert!(real >= Duration::from_millis(990), "{real:?}");
    assert!(out.contains("  reference step 5/60       loss "), "{out}");
    assert!(
        out.contains("decided by policy: grow by 1 (restart)"),
        "{out}"
    );
    assert!(out.contains("outcome: "), "the table ends it:\n{out}");
    let begin = Instant::now();
    let late = ["--speed", "max", "--at", "60"];
    let out = place.expect(0, &[&["replay", "mine"][..], &late].concat());
    assert!(
        out.lines()
            .next()
            .unwrap()
            .contains("reference step 60/60  "),
        "{out}"
    );
    assert!(begin.elapsed() < Duration::from_secs(20));

    let mut slow = place
        .heirloom(&["replay", "mine", "--speed", "0.125", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(slow.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap(), events[0]);
    signal(slow.id(), Signal::SIGINT);
    assert_eq!(slow.wait().unwrap().signal(), Some(2));
    assert_eq!(contents(&place.run_dir("mine")), before);
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let place = Place::new();
    let refused = |args: &[&str]| {
        let output = place.run(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}\n{out}\n{err}");
        err
    };
    std::fs::create_dir_all(place.run_dir("tiny-20260101")).unwrap();
    let err = refused(&["replay", "tiny-20260101"]);
    assert!(
        err.contains("nothing to replay") && err.contains("has no events yet"),
        "{err}"
    );
    std::fs::write(place.run_dir("tiny-20260101").join("events.jsonl"), "").unwrap();
    let err = refused(&["replay", "tiny-20260101"]);
    assert!(err.contains("has no events yet"), "{err}");
    let err = refused(&["replay", "tiny-20260102"]);
    assert!(err.contains("did you mean tiny-20260101?"), "{err}");
    let err = refused(&["replay", "tiny-20260101", "--speed", "0"]);
    assert!(err.contains("a speed is a number above 0"), "{err}");
    let err = refused(&["replay", "tiny-20260101", "--at", "soon"]);
    assert!(err.contains("a run time such as 90s"), "{err}");
    let err = refused(&["replay", "tiny-20260101", "--paused"]);
    assert!(err.contains("--paused needs the dashboard"), "{err}");
    let line = r#"{"v":1,"seq":1,"t":0,"elapsed":1.0,"step":3,"phase":"reference","phase_step":3,"branch":0,"kind":"log","message":"x"}"#;
    let journal = place.run_dir("tiny-20260101").join("events.jsonl");
    std::fs::write(journal, format!("{line}\n")).unwrap();
    let err = refused(&["replay", "tiny-20260101", "--at", "4"]);
    assert!(err.contains("--at 4: the run's last step is 3"), "{err}");
    let err = refused(&["replay", "tiny-20260101", "--at", "1h"]);
    assert!(err.contains("--at 1h00m: the run lasted 1 s"), "{err}");
}
