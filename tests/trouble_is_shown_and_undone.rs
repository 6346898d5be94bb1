//! Tests what an operator sees of a run in trouble, and how trouble is undone: at a terminal, by scripts, and after the process has
//! ended.

mod common;

use common::pty::Pty;
use common::{Background, Place, signal, wait};
use nix::sys::signal::Signal;

/// A long round with frequent evaluations and checkpoints. Its losses and pauses do not matter.
const ROUND: [&str; 10] = [
    "--set",
    "reference.train.steps=20",
    "--set",
    "train.steps=100000",
    "--set",
    "eval.every=20",
    "--set",
    "checkpoint.every=20",
    "--set",
    "checkpoint.keep=100",
];

/// Starts a run at a terminal, and waits for its first round and a checkpoint. The process is ended with the test.
fn trainer(place: &Place, size: (u16, u16)) -> (Pty, Background) {
    let args = ["train", "mini.toml", "--name", "mine"];
    let pty = Pty::start(place, &[&args[..], &ROUND].concat(), size.0, size.1);
    place.wait_event("mine", "a checkpoint of the round", |e| {
        e["kind"] == "checkpoint" && e["phase"] == "round-1" && e["val_loss"].is_number()
    });
    // A closed terminal would leave the process running in the background.
    let pid = place.lock("mine")["pid"].as_u64().unwrap();
    (pty, Background(pid as u32))
}

fn type_line(pty: &mut Pty, line: &str) {
    pty.press(":");
    pty.see(" command ");
    pty.press(line);
    pty.press("\r");
}

#[test]
fn a_run_that_diverges_says_so_and_goes_back() {
    let place = Place::new();
    let (mut pty, _run) = trainer(&place, (80, 24));
    type_line(&mut pty, "set lr 5");
    let screen = pty.see("! diverged: ");
    for part in ["best val", "R roll back to b0-s", ":set lr", "Esc dismiss"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    // The journal has one warning, with the command that lists the remedies.
    let warning = place.wait_event("mine", "a warning", |e| {
        e["kind"] == "warning"
            && e["message"]
                .as_str()
                .is_some_and(|m| m.starts_with("diverged"))
    });
    let message = warning["message"].as_str().unwrap();
    assert!(
        message.ends_with("; heirloom ctl mine status lists what helps"),
        "{message}"
    );
    let shown = place.show("mine");
    assert_eq!(shown["trouble"]["kind"], "diverged");
    let (_, status, _) = place.ctl("mine", &["status"]);
    assert!(
        status.contains("trouble: diverged") && status.contains("rollback b0-s"),
        "{status}"
    );
    let text = place.expect(0, &["show", "mine"]);
    assert!(text.contains("trouble    diverged"), "{text}");
    // The decision suggests a rollback.
    pty.press("D");
    let screen = pty.see("decide · round");
    assert!(screen.contains("> roll back"), "{screen}");
    assert!(!screen.contains("TRAIN ON SUGGESTED"), "{screen}");
    std::thread::sleep(std::time::Duration::from_millis(350));
    pty.press("\x1b");
    pty.see_that("no prompt", |s| !s.contains("decide · round"));
    // The picker has selected the good checkpoint, and verifies it before it asks.
    pty.press("R");
    let screen = pty.see("every file verified");
    assert!(
        screen.contains(" roll back · ") && screen.contains("abandons"),
        "{screen}"
    );
    std::thread::sleep(std::time::Duration::from_millis(350));
    pty.press("\r");
    let screen = pty.see("Enter confirm   Esc cancel");
    assert!(
        screen.contains("Roll back to b0-s") && screen.contains("val "),
        "{screen}"
    );
    std::thread::sleep(std::time::Duration::from_millis(350));
    pty.press("\r");
    let back = place.wait_event("mine", "a rollback", |e| e["kind"] == "rollback");
    assert!(back["checkpoint"].as_str().unwrap().starts_with("b0-s"));
    // The trouble is over, and the abandoned branch is on the chart and in `show`.
    pty.see_that("no banner", |s| !s.contains("! diverged"));
    pty.see("◂");
    wait("the rollback in show, with an evaluation since", || {
        let text = place.expect(0, &["show", "mine"]);
        (text.contains("\nrollbacks\n") && text.contains("best since then")).then_some(())
    });
    assert!(place.show("mine")["trouble"].is_null());
}

#[test]
fn a_damaged_checkpoint_is_not_offered_and_a_wrong_name_not_asked_about() {
    let place = Place::new();
    let (mut pty, _run) = trainer(&place, (80, 24));
    pty.press("p");
    pty.see("PAUSED");
    let newest = wait("a checkpoint", || {
        let all = place.events("mine").into_iter().rev();
        let mut written = all.filter(|e| e["kind"] == "checkpoint");
        written
            .next()
            .map(|e| e["name"].as_str().unwrap().to_string())
    });
    let file = place.run_dir("mine").join("checkpoints").join(&newest);
    let model = file.join("model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    type_line(&mut pty, "rollback nope");
    let screen = pty.see("no checkpoint \"nope\"");
    assert!(!screen.contains("Esc cancel   "), "{screen}");
    pty.press("\x1b");
    pty.see_that("no line", |s| !s.contains(" command "));
    pty.press("R");
    pty.see(" roll back · ");
    // The damaged checkpoint is the newest.
    pty.press("g");
    pty.press("g");
    pty.see("is damaged");
    std::thread::sleep(std::time::Duration::from_millis(350));
    pty.press("\r");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(
        !pty.text().contains("Enter confirm   Esc cancel"),
        "{}",
        pty.text()
    );
    let kinds = place.events("mine");
    assert!(!kinds.iter().any(|e| e["kind"] == "rollback"));
}

#[test]
fn a_process_that_vanished_is_trouble_for_those_who_watch() {
    let place = Place::new();
    let run = place.in_background("mine", &ROUND, "");
    place.wait_event("mine", "a checkpoint", |e| e["kind"] == "checkpoint");
    let pty = Pty::start(&place, &["watch", "mine"], 80, 24);
    pty.see("TRAIN");
    signal(run.0, Signal::SIGKILL);
    let screen = pty.see("! the training process ended without a last message");
    assert!(screen.contains("CRASHED"), "{screen}");
    assert!(screen.contains("heirloom train --resume mine"), "{screen}");
    assert_eq!(place.show("mine")["trouble"]["kind"], "vanished");
}

#[test]
fn the_controller_is_called_by_user_and_terminal_and_its_leaving_is_said() {
    let place = Place::new();
    let _run = place.in_background("mine", &ROUND, "");
    place.wait_event("mine", "a checkpoint", |e| e["kind"] == "checkpoint");
    let mut first = Pty::start(&place, &["attach", "mine"], 80, 24);
    first.see("TRAIN");
    let second = Pty::start(&place, &["attach", "mine"], 80, 24);
    let screen = second.see("@pts/");
    assert!(
        screen.contains(&format!("(pid {})", first.pid())),
        "{screen}"
    );
    // The second dashboard may only detach.
    first.hang_up();
    second.see_that("no controller in the first line", |s| {
        s.contains("TRAIN") && !s.lines().next().unwrap_or_default().contains("@pts/")
    });
    place.wait_event("mine", "the line of the journal", |e| {
        let message = e["message"].as_str().unwrap_or_default();
        message.contains("@pts/") && message.ends_with("has left; control is free")
    });
    drop(second);
    // An operator who returns sees the events since the last visit.
    place.ctl("mine", &["decide"]);
    let third = Pty::start(&place, &["attach", "mine"], 80, 24);
    let screen = third.see("since you last looked");
    assert!(screen.contains("1 decision"), "{screen}");
}

#[test]
fn a_line_is_copied_by_the_terminal() {
    let place = Place::new();
    let (mut pty, _run) = trainer(&place, (80, 24));
    pty.press("4");
    pty.see("events ·");
    pty.press("y");
    pty.see("copied to the terminal's clipboard");
    let bytes = String::from_utf8_lossy(&pty.written()).into_owned();
    let (_, rest) = bytes.split_once("\x1b]52;c;").unwrap();
    let (coded, _) = rest.split_once('\x07').unwrap();
    assert!(
        coded.len() > 8
            && coded
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
    );
}
