//! `train` at a terminal shows its screen before it reads any text: the file, its progress, and the phases to come. Errors in
//! arguments, config and files are found earlier; an error in a text ends the screen.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::pty::Pty;
use common::{Place, is_alive, signal, wait};
use nix::sys::signal::Signal;

/// The sequence that switches to the alternate screen.
const ENTER: &[u8] = b"\x1b[?1049h";

/// A place with a text that takes some seconds to encode, in many documents.
fn place() -> Place {
    let place = Place::new();
    let document = "There is no frigate like a book to take us lands away. ".repeat(40);
    let text = format!("{document}<|endoftext|>").repeat(24_000);
    fs::write(place.path().join("long.txt"), text).unwrap();
    place
}

const LONG: [&str; 8] = [
    "train",
    "mini.toml",
    "--name",
    "mine",
    "--set",
    "data.train=long.txt",
    "--set",
    "data.tokenizer=gpt2",
];

/// Starts a run of the long text and waits until a part of it has been read.
fn start(place: &Place) -> Pty {
    let pty = Pty::start(place, &LONG, 100, 30);
    pty.see_that("progress", |screen| {
        (1..100).any(|n| screen.contains(&format!(" {n} %")))
    });
    pty
}

#[track_caller]
fn left_no_run(place: &Place) {
    assert!(!place.path().join("runs").exists());
}

#[test]
fn a_start_names_the_run_and_what_is_read() {
    let place = place();
    let mut pty = start(&place);
    assert!(pty.is_full_screen());
    let screen = pty.text();
    for part in [
        "mine",
        "STARTING",
        "cpu · ",
        "Reference: 4 layers, 60 steps",
        "Round 1: 1 layer, 20 steps",
        "Control, random start",
        "long.txt",
        " of 53 MB",
    ] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    // The run does not exist yet.
    left_no_run(&place);
    // Other keys do nothing.
    pty.press("pD?:");
    pty.see("reference · 4 layers  step");
    pty.see("TRAIN");
    signal(pty.pid(), Signal::SIGTERM);
    assert_eq!(pty.exit_code(), 75);
    pty.gives_the_screen_back();
    assert_eq!(place.show("mine")["state"], "interrupted");
}

#[test]
fn a_stop_while_a_text_is_read_leaves_nothing_behind() {
    let place = place();
    type Stop<'a> = (&'a str, &'a dyn Fn(&mut Pty));
    let stops: [Stop<'_>; 3] = [
        ("stopped", &|pty| pty.press("q")),
        ("stopped", &|pty| pty.press("\x03")),
        ("SIGTERM received", &|pty| {
            signal(pty.pid(), Signal::SIGTERM)
        }),
    ];
    for (why, stop) in stops {
        let mut pty = start(&place);
        stop(&mut pty);
        let began = Instant::now();
        assert_eq!(pty.exit_code(), 75, "{why}");
        assert!(began.elapsed() < Duration::from_secs(2));
        pty.gives_the_screen_back();
        let words = format!("{why} before the training began; there is nothing to save");
        let screen = pty.see(&words[..words.len() - 8]);
        assert!(!screen.contains("STARTING"), "{screen}");
        left_no_run(&place);
    }
}

#[test]
fn a_text_that_cannot_be_encoded_ends_the_screen() {
    let place = place();
    let mut text = fs::read(place.path().join("long.txt")).unwrap();
    let at = text.len();
    text.extend(b"\xff and more");
    fs::write(place.path().join("long.txt"), text).unwrap();
    let mut pty = start(&place);
    assert_eq!(pty.exit_code(), 2);
    pty.gives_the_screen_back();
    pty.see("heirloom: ");
    let screen = pty.see(&format!("not UTF-8: byte {at} is"));
    assert!(!screen.contains("STARTING"), "{screen}");
    left_no_run(&place);

    // An error in the tokens also ends the screen.
    fs::write(place.path().join("short.txt"), "too short").unwrap();
    let args = [&LONG[..], &["--set", "data.train=short.txt"]].concat();
    let mut pty = Pty::start(&place, &args, 100, 30);
    assert_eq!(pty.exit_code(), 2);
    pty.see("short.txt has");
    left_no_run(&place);
}

/// Only ending the process stops such work. The waiting parent restores the terminal.
#[test]
fn a_tokenizer_without_an_end_gives_the_screen_back() {
    let place = Place::new();
    common::put_tokenizers(place.path());
    fs::write(place.path().join("slow.txt"), "a".repeat(200_000)).unwrap();
    let args = [
        "train",
        "mini.toml",
        "--set",
        "data.train=slow.txt",
        "--set",
        "data.tokenizer=slow.json",
    ];
    let mut pty = Pty::start(&place, &args, 120, 30);
    pty.see("STARTING");
    assert_eq!(pty.exit_code(), 2);
    pty.gives_the_screen_back();
    pty.see("its pre_tokenizer takes too long for a text of 200000 bytes");
    left_no_run(&place);
}

#[test]
fn a_terminal_that_is_lost_while_a_text_is_read_does_not_end_the_start() {
    let place = place();
    let mut pty = start(&place);
    pty.hang_up();
    place.wait_event("mine", "word of the hangup", |e| {
        e["kind"] == "log"
            && e["message"]
                .as_str()
                .unwrap()
                .contains("the terminal is gone")
    });
    place.wait_event("mine", "training", |e| e["kind"] == "train");
    let trainer = place.lock("mine")["pid"].as_u64().unwrap() as u32;
    signal(trainer, Signal::SIGTERM);
    wait("the trainer's end", || (!is_alive(trainer)).then_some(()));
    assert_eq!(place.show("mine")["state"], "interrupted");
}

#[test]
fn a_screen_that_panics_during_the_start_does_not_end_it() {
    let place = Place::new();
    let args = ["train", "mini.toml", "--name", "mine"];
    let fault = [("HEIRLOOM_FAULT", "starting:0")];
    let mut pty = Pty::start_with(&place, &args, 100, 30, &fault);
    assert_eq!(pty.exit_code(), 0);
    // There was no log yet, so the report is printed in the shell.
    pty.see("asked for by HEIRLOOM_FAULT");
    pty.see("training continues without the dashboard");
    pty.gives_the_screen_back();
    place.wait_event("mine", "the end", |e| e["kind"] == "done");
}

#[test]
fn what_shows_at_once_is_found_before_the_screen() {
    let place = place();
    let refused = |args: &[&str], words: &str| {
        let mut pty = Pty::start(&place, args, 200, 30);
        assert_eq!(pty.exit_code(), 2, "{args:?}: {}", pty.text());
        pty.see(words);
        let written = pty.written();
        let entered = written.windows(ENTER.len()).any(|part| part == ENTER);
        assert!(!entered, "{args:?}");
    };
    let set = |setting| [&LONG[..], &["--set", setting]].concat();
    refused(&set("train.lr=fast"), "train.lr");
    refused(&set("train.micro_batch=3"), "train.micro_batch");
    refused(&set("data.train=gone.txt"), "gone.txt: No such file");
    refused(&set("data.val=gone.txt"), "gone.txt: No such file");
    refused(&set("data.train=a.pdf"), "unknown kind of text");
    refused(&set("data.tokenizer=gone.json"), "unknown tokenizer");
    refused(&set("reference.path=gone"), "gone is not a model");
    left_no_run(&place);

    let running = place.in_background("mine", &["--set", "train.steps=1000000"], "");
    refused(&LONG, "run mine exists already");
    refused(
        &["train", "--resume", "mine"],
        "run mine is in use by process",
    );
    drop(running);
}
