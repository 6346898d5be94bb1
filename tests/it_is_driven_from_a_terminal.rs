//! Runs the real program in a pseudo-terminal: an operator decides by keys, and a lost terminal does not end the training.

mod common;

use std::time::Duration;

use common::pty::Pty;
use common::{Place, is_alive, signal, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The miniature recipe with its decisions left to the operator.
const ASK: [&str; 4] = ["--set", "policy.mode=ask", "--set", "control.random=false"];
const NO_CONTROL: [&str; 2] = ["--set", "control.reference_continued=false"];
/// A round that does not end during a test.
const LONG: [&str; 2] = ["--set", "train.steps=1000000"];
/// Prompts ignore keys for 300 ms.
const LOCK: Duration = Duration::from_millis(400);

fn start(place: &Place, settings: &[&[&str]]) -> Pty {
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(settings.concat());
    Pty::start(place, &args, 80, 24)
}

/// Chooses the selected entry, and confirms it.
fn confirm(pty: &mut Pty) {
    pty.press("\r");
    pty.see("Esc cancel");
    std::thread::sleep(LOCK);
    pty.press("\r");
}

/// Starts a run under `auto` with a fault at a place and step.
fn faulty(place: &Place, fault: &str) -> Pty {
    let args = ["train", "mini.toml", "--name", "mine"];
    Pty::start_with(place, &args, 80, 24, &[("HEIRLOOM_FAULT", fault)])
}

/// Presses a key that opens a prompt, and waits until it takes keys.
fn open(pty: &mut Pty, key: &str, title: &str) {
    pty.press(key);
    pty.see(title);
    std::thread::sleep(LOCK);
}

/// Returns the id of the training process from the lock.
fn trainer(place: &Place) -> u32 {
    let lock = std::fs::read_to_string(place.run_dir("mine").join("lock")).unwrap();
    let holder: Value = serde_json::from_str(&lock).unwrap();
    u32::try_from(holder["pid"].as_u64().unwrap()).unwrap()
}

#[track_caller]
fn kinds(place: &Place, kind: &str) -> Vec<Value> {
    let events = place.events("mine");
    events.into_iter().filter(|e| e["kind"] == kind).collect()
}

#[test]
fn an_operator_grows_pauses_stops_and_leaves() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &NO_CONTROL]);
    // Without an answer within the overrun, the run waits, with the evidence on screen.
    let screen = pty.see("PAUSED");
    assert!(pty.is_full_screen());
    assert!(screen.contains("round 1 · 1 layer"), "{screen}");
    assert!(screen.contains("GROW SUGGESTED"), "{screen}");
    assert!(screen.contains("attention rank"), "{screen}");
    assert!(screen.contains("? help"), "{screen}");

    pty.press("?");
    pty.see("open the decision");
    pty.press("?");
    pty.see_that("no help", |s| !s.contains("open the decision"));

    open(&mut pty, "D", "decide · round 1");
    let screen = pty.see("> grow by 1 (restart)");
    assert!(screen.contains("┌ loss"), "the chart stays:\n{screen}");
    assert!(
        screen.contains("val loss") && screen.contains("will not match"),
        "{screen}"
    );
    pty.press("m");
    pty.see("> grow by 1 (keep)");
    pty.press("\r");
    pty.see("Grow by 1 layer (keep)?");
    std::thread::sleep(LOCK);
    pty.press("\r");
    pty.see("round 2 · 2 layers");
    // Waits until the mark has left the right edge of the chart, where its text does not fit.
    pty.see("^grow 1→2");

    pty.see("PAUSED");
    open(&mut pty, "D", "decide · round 2");
    pty.press("j");
    pty.see("> train on 10 steps");
    confirm(&mut pty);
    wait("the decision after 10 more steps", || {
        kinds(&place, "decision")
            .into_iter()
            .find(|d| d["status"] == "open" && d["phase"] == "round-2" && d["phase_step"] == 50)
    });
    pty.press("c");
    place.wait_event("mine", "the checkpoint", |e| {
        e["kind"] == "checkpoint" && e["reason"] == "asked"
    });
    pty.see("PAUSED");
    open(&mut pty, "D", "decide · round 2");
    pty.press("jj");
    pty.see("> stop growing");
    confirm(&mut pty);
    let screen = pty.see("outcome: stopped");
    assert!(pty.is_full_screen(), "the dashboard stays with the table");
    assert!(screen.contains("round 2"), "{screen}");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    pty.see("outcome: stopped");
    pty.gives_the_screen_back();

    let show = place.show("mine");
    assert_eq!(show["outcome"], "stopped");
    assert_eq!(show["rounds"][1]["start"], "keep");
    let decided: Vec<Value> = kinds(&place, "decision")
        .into_iter()
        .filter(|d| d["status"] == "resolved")
        .map(|d| d["by"].clone())
        .collect();
    assert_eq!(decided, ["keyboard", "keyboard", "keyboard"]);
}

#[test]
fn pause_holds_the_training_and_resume_lets_it_go_on() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &LONG]);
    pty.see("round 1");
    pty.press("p");
    pty.see("PAUSED");
    let steps = || place.events("mine").last().unwrap()["step"].clone();
    let before = steps();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(steps(), before);
    pty.press("p");
    pty.see("TRAIN");
    wait("more steps", || (steps() != before).then_some(()));
    // Every size can be drawn, and resizing does not end the run.
    for (columns, rows) in [(1, 1), (40, 12), (200, 60), (80, 24)] {
        pty.resize(columns, rows);
        std::thread::sleep(Duration::from_millis(200));
    }
    pty.see("attention rank");
    // Ctrl-C is a key here.
    open(&mut pty, "\x03", "leave");
    pty.press("j");
    pty.see("> stop after a checkpoint");
    pty.press("\r");
    assert_eq!(pty.exit_code(), 3);
    pty.gives_the_screen_back();
    pty.see("heirloom train --resume mine");
    assert_eq!(place.show("mine")["state"], "interrupted");
}

#[test]
fn detached_training_goes_on_and_gives_the_shell_back() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &LONG]);
    pty.see("round 1");
    open(&mut pty, "q", "leave");
    pty.press("\r");
    assert_eq!(pty.exit_code(), 0);
    pty.see("continues in the background");
    goes_on_alone(&place);
}

#[test]
fn a_lost_terminal_does_not_end_the_training() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &LONG]);
    pty.see("round 1");
    pty.hang_up();
    place.wait_event("mine", "word of the hangup", |e| {
        e["kind"] == "log"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("the terminal is gone")
    });
    goes_on_alone(&place);
}

/// Checks that a training without a dashboard can be watched, stopped by a signal and resumed.
fn goes_on_alone(place: &Place) {
    let pid = trainer(place);
    let step = || place.events("mine").last().unwrap()["step"].as_u64();
    let before = step();
    wait("more steps", || (step() > before).then_some(()));
    assert!(is_alive(pid));
    // The threads must not spin on the lost terminal.
    let busy = spinning(pid);
    assert!(!busy.contains(&"heirloom".to_string()), "{busy:?}");

    let mut watch = Pty::start(place, &["watch", "mine"], 80, 24);
    let screen = watch.see("read only");
    assert!(screen.contains("round 1"), "{screen}");
    let seen = watch.text();
    watch.see_that("newer steps", |s| s.contains("TRAIN") && *s != seen);
    watch.press("p");
    watch.see("read-only view; to control the run: heirloom attach");
    watch.press("q");
    assert_eq!(watch.exit_code(), 0);

    signal(pid, Signal::SIGTERM);
    wait("the trainer's end", || (!is_alive(pid)).then_some(()));
    assert_eq!(place.show("mine")["state"], "interrupted");
    place.expect(
        0,
        &[
            "train",
            "--resume",
            "mine",
            "--set",
            "train.steps=50",
            "--set",
            "policy.mode=auto",
        ],
    );
    assert_eq!(place.show("mine")["state"], "done");
}

/// Returns the names of the threads that used more than half a core during a measurement.
fn spinning(pid: u32) -> Vec<String> {
    let ticks = || -> Vec<(String, u64)> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks
            .filter_map(|task| {
                let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
                let (head, rest) = stat.rsplit_once(')')?;
                let name = head.split_once('(')?.1.to_string();
                let fields: Vec<&str> = rest.split_whitespace().collect();
                let cpu = |i: usize| fields[i].parse::<u64>().ok();
                Some((name, cpu(11)? + cpu(12)?))
            })
            .collect()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    let pairs = before.into_iter().zip(ticks());
    // 100 ticks a second.
    pairs
        .filter(|((_, a), (_, b))| b - a > 25)
        .map(|((name, _), _)| name)
        .collect()
}

#[test]
fn a_signal_checkpoints_and_restores_the_terminal() {
    let place = Place::new();
    let args = ["train", "mini.toml", "--name", "mine"];
    let args = [&args[..], &ASK, &LONG].concat();
    // The disk is so slow that the screen shows the stop.
    let fault = [("HEIRLOOM_FAULT", "rename:1500")];
    let mut pty = Pty::start_with(&place, &args, 80, 24, &fault);
    pty.see("round 1");
    // The shell's job is the waiting parent; it passes signals on.
    signal(pty.pid(), Signal::SIGTERM);
    pty.see("stopping after the checkpoint");
    assert_eq!(pty.exit_code(), 75);
    pty.gives_the_screen_back();
    assert_eq!(place.show("mine")["state"], "interrupted");
    let last = kinds(&place, "checkpoint").pop().unwrap();
    assert_eq!(last["reason"], "signal");
}

#[test]
fn a_run_is_watched_from_its_empty_directory_on() {
    let place = Place::new();
    std::fs::create_dir_all(place.run_dir("mine")).unwrap();
    let mut watch = Pty::start(&place, &["watch", "mine"], 200, 60);
    watch.see("WAITING");
    std::fs::remove_dir(place.run_dir("mine")).unwrap();
    place.expect(0, &["train", "mini.toml", "--name", "mine"]);
    let screen = watch.see("outcome: ");
    assert!(
        screen.contains("DONE") && screen.contains("reference"),
        "{screen}"
    );
    watch.press("q");
    assert_eq!(watch.exit_code(), 0);
}

/// A terminal without cursor movement, such as Emacs' shell, gets plain lines.
#[test]
fn a_terminal_that_cannot_draw_gets_plain_lines() {
    for term in ["dumb", "vt100"] {
        let place = Place::new();
        let args = ["train", "mini.toml", "--name", "mine"];
        let mut pty = Pty::start_with(&place, &args, 80, 24, &[("TERM", term)]);
        pty.see("outcome: ");
        assert_eq!(pty.exit_code(), 0);
        let written = pty.written();
        assert!(!written.contains(&0x1b), "{term}: {}", pty.text());
    }
}

#[test]
fn a_panic_of_the_trainer_is_shown_on_a_screen_that_stays() {
    let place = Place::new();
    let mut pty = faulty(&place, "trainer:30");
    // The status stands above the message, and a frame may arrive in parts.
    let screen = pty.see("the trainer panicked");
    assert!(pty.is_full_screen());
    assert!(screen.contains("FAILED"), "{screen}");
    pty.press("q");
    assert_eq!(pty.exit_code(), 1);
    pty.gives_the_screen_back();
    let show = place.show("mine");
    assert_eq!(show["state"], "failed");
    let message = show["message"].as_str().unwrap();
    assert!(
        message.contains("its last good checkpoint is b0-"),
        "{message}"
    );
    // Only the steps since the last checkpoint are lost.
    place.expect(0, &["train", "--resume", "mine"]);
    assert_eq!(place.show("mine")["state"], "done");
}

#[test]
fn a_panic_of_the_dashboard_gives_the_terminal_back_and_training_goes_on() {
    let place = Place::new();
    let mut pty = faulty(&place, "dashboard:0");
    assert_eq!(pty.exit_code(), 0);
    pty.see("training continues without the dashboard");
    pty.gives_the_screen_back();
    place.wait_event("mine", "the end", |e| e["kind"] == "done");
    let log = std::fs::read_to_string(place.run_dir("mine").join("log.txt")).unwrap();
    assert!(log.contains("asked for by HEIRLOOM_FAULT"), "{log}");
}

#[test]
fn a_stop_that_reaches_parent_and_child_is_one_stop() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &LONG]);
    pty.see("round 1");
    let child = trainer(&place);
    signal(child, Signal::SIGTERM);
    signal(pty.pid(), Signal::SIGTERM);
    assert_eq!(pty.exit_code(), 75);
    assert_eq!(
        kinds(&place, "checkpoint").pop().unwrap()["reason"],
        "signal"
    );
}

#[test]
fn a_killed_trainer_leaves_a_usable_terminal_and_a_run_to_resume() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &LONG]);
    pty.see("round 1");
    // A run that is killed before the round's first checkpoint is resumed at the reference's end, and the mark of the round then
    // hides the mark of the resume.
    place.wait_event("mine", "a checkpoint of the round", |e| {
        e["kind"] == "checkpoint" && e["name"].as_str().is_some_and(|n| n.ends_with("-round-1"))
    });
    signal(trainer(&place), Signal::SIGKILL);
    assert_eq!(pty.exit_code(), 128 + 9);
    pty.gives_the_screen_back();
    let written = pty.written();
    assert!(written.windows(7).any(|w| w == b"\x1b[23;2t"), "its title");
    assert_eq!(place.show("mine")["state"], "interrupted");
    // After a resume, the screen knows the past of the run.
    let mut pty = Pty::start(&place, &["train", "--resume", "mine"], 80, 24);
    pty.see_that("the reference's loss", |s| {
        s.contains("ref 4L") && s.contains("gap") && s.contains("round 1")
    });
    // The caret distinguishes the chart's mark from the event in the list below.
    pty.see("^resumed");
    open(&mut pty, "q", "leave");
    pty.press("j\r");
    assert_eq!(pty.exit_code(), 3);
}

#[test]
fn keys_that_mean_nothing_hold_nothing_up() {
    let place = Place::new();
    let mut pty = start(&place, &[&ASK, &LONG]);
    pty.see("round 1");
    // The keypad's middle, half a sequence, a byte that is not a character.
    for bytes in [&b"\x1b[E"[..], b"\x1b[", b"\xff"] {
        pty.press_bytes(bytes);
        let seen = pty.text();
        pty.see_that("the screen going on", |s| s != seen);
    }
    // The next key completes the half sequence.
    pty.press("E");
    std::thread::sleep(Duration::from_millis(200));
    pty.press("?");
    pty.see("open the decision");
    signal(pty.pid(), Signal::SIGTERM);
    assert_eq!(pty.exit_code(), 75);
}

#[test]
fn a_question_that_waits_is_still_there_after_a_resume() {
    let place = Place::new();
    let pause = ["--set", "policy.mode=pause"];
    let mut pty = start(&place, &[&pause, &NO_CONTROL]);
    pty.see("PAUSED");
    open(&mut pty, "q", "leave");
    pty.press("j\r");
    assert_eq!(pty.exit_code(), 3);
    let mut pty = Pty::start(&place, &["train", "--resume", "mine"], 80, 24);
    let screen = pty.see("PAUSED");
    assert!(screen.contains("round 1 · 1 layer  step 20/20"), "{screen}");
    open(&mut pty, "D", "decide · round 1");
    confirm(&mut pty);
    pty.see("round 2 · 2 layers");
    signal(pty.pid(), Signal::SIGTERM);
    assert_eq!(pty.exit_code(), 75);
}
