//! A training process folds each of its events once: the dashboard, the control socket, the printer and the keeper of `series.bin`
//! share one state.

mod common;

use common::Place;
use common::pty::Pty;
use heirloom::run::series::file;

/// Makes the process print the numbers of its events and of its folds at its end.
const COUNT: (&str, &str) = ("HEIRLOOM_FAULT", "count-folds:0");
/// Long enough that `series.bin` is written.
const STEPS: [&str; 4] = [
    "--set",
    "reference.train.steps=1500",
    "--set",
    "policy.mode=auto",
];

/// Returns the two numbers in a line such as `folded 812 events, 812 times`.
#[track_caller]
fn counts(text: &str) -> (u64, u64) {
    let line = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("folded ")?;
        let (events, rest) = rest.split_once(" events, ")?;
        let (times, _) = rest.split_once(" times")?;
        Some((events.parse().unwrap(), times.parse().unwrap()))
    });
    line.unwrap_or_else(|| panic!("no counts in {text}"))
}

#[track_caller]
fn check_that_each_was_folded_once(place: &Place, text: &str) {
    let (events, times) = counts(text);
    assert_eq!(events, times);
    assert_eq!(events, place.events("mine").len() as u64);
    // `series.bin` contains the complete run, without another fold of the journal.
    let journal = place.run_dir("mine").join("events.jsonl");
    let length = std::fs::metadata(journal).unwrap().len();
    assert_eq!(file::offset(&place.run_dir("mine")), Some(length));
}

#[test]
fn under_a_dashboard_with_a_client_attached() {
    let place = Place::new();
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(STEPS);
    let mut pty = Pty::start_with(&place, &args, 80, 24, &[COUNT]);
    pty.see("reference");
    let mut attached = Pty::start(&place, &["attach", "mine"], 80, 24);
    pty.see("outcome: ");
    attached.press("q");
    attached.exit_code();
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    check_that_each_was_folded_once(&place, &pty.see("folded "));
}

#[test]
fn with_lines_on_stdout() {
    let place = Place::new();
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(STEPS);
    let output = place
        .heirloom(&args)
        .env(COUNT.0, COUNT.1)
        .output()
        .unwrap();
    let (out, err) = common::texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.contains("outcome: "), "{out}");
    check_that_each_was_folded_once(&place, &err);
}
