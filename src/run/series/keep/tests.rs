//! `series.bin` from snapshots of the state that the training process folds.

use super::*;
use crate::run::event::{Body, Event, Gap, Warning};
use crate::run::series::tests::{Story, append, folded, kept, opened};
use std::fs;

/// The events of some lines, as the trainer emits them.
fn events(lines: &str) -> Vec<Event> {
    lines
        .lines()
        .map(|line| Event::from_line(line).unwrap())
        .collect()
}

#[test]
fn snapshots_of_the_folded_state_are_written_for_the_place_in_the_journal_that_they_belong_to() {
    let lines = Story::new(6000).lines;
    let cut = lines[..lines.len() / 3].rfind('\n').unwrap() + 1;
    // From the start, and after a resume with and without a `series.bin`.
    for (past, left_by_a_reader) in [(0, false), (cut, false), (cut, true)] {
        let dir = match left_by_a_reader {
            true => kept(&lines[..past]),
            false => tempfile::tempdir().unwrap(),
        };
        fs::write(dir.path().join("events.jsonl"), &lines[..past]).unwrap();
        let (run, mut observer) = SharedRun::begin(fold_of(&lines[..past])).unwrap();
        let mut keeper = SharedKeeper::new(dir.path(), &run);
        let (mut emitted, mut written) = (past, past);
        for event in events(&lines[past..]) {
            observer(&event);
            emitted += event.to_line().len() + 1;
            // The journal is written later than the events are folded, and not line by line.
            if emitted - written > 100_000 {
                keeper.tend().unwrap();
                append(dir.path(), &lines[written..emitted - 17]);
                written = emitted - 17;
                keeper.tend().unwrap();
            }
        }
        let reached = file::offset(dir.path()).expect("a file before the run has ended");
        assert!(reached > past as u64, "past {past}");
        drop(observer);
        append(dir.path(), &lines[written..]);
        keeper.finish().unwrap();
        assert!(!keeper.differs());
        let (state, from) = opened(dir.path());
        // The events after a snapshot near the end may be too few for another one.
        let left = lines.len() as u64 - from;
        assert!(left < WORTH_LAST, "past {past}: {left} bytes");
        assert!(state == folded(dir.path()), "past {past}");
        assert_eq!(run.folded(), events(&lines[past..]).len() as u64);
    }
}

fn fold_of(lines: &str) -> RunState {
    let mut state = RunState::default();
    events(lines).iter().for_each(|event| state.apply(event));
    state
}

#[test]
fn a_journal_whose_lines_are_not_the_folded_events_is_folded_itself() {
    let lines = Story::new(1500).lines;
    let sent = events(&lines);
    let at = lines[..lines.len() / 2].rfind('\n').unwrap() + 1;
    let index = lines[..at].lines().count();
    let gap = Event {
        body: Body::Gap(Gap { dropped: 1 }),
        ..sent[index].clone()
    };
    let warning = |message: &str| Event {
        body: Body::Warning(Warning {
            message: message.into(),
        }),
        ..sent[index].clone()
    };
    let with = |event: &Event| {
        let rest = &lines[at..];
        let rest = &rest[rest.find('\n').unwrap() + 1..];
        format!("{}{}\n{rest}", &lines[..at], event.to_line())
    };
    let but = |event: &Event| {
        let mut events = sent.clone();
        events[index] = event.clone();
        events
    };
    let torn = format!("{}{{\"v\":1,\"se\n{}", &lines[..at], &lines[at..]);
    let cases = [
        (
            "a metric that a full disk left out",
            sent.clone(),
            with(&gap),
        ),
        (
            "an event that a full queue left out",
            but(&gap),
            lines.clone(),
        ),
        (
            "a text that is made harmless when it is read",
            but(&warning("a\u{1b}[2Jb")),
            with(&warning("a\u{1b}[2Jb")),
        ),
        ("a torn line", sent.clone(), torn),
    ];
    for (what, sent, journal) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("events.jsonl"), "").unwrap();
        let (run, mut observer) = SharedRun::begin(RunState::default()).unwrap();
        let mut keeper = SharedKeeper::new(dir.path(), &run);
        let keeping = SeriesKeeper::spawn(dir.path(), &run);
        sent.iter().for_each(&mut observer);
        drop(observer);
        fs::write(dir.path().join("events.jsonl"), &journal).unwrap();
        keeper.finish().unwrap();
        assert!(keeper.differs(), "{what}");
        assert!(!file::path(dir.path()).exists(), "{what}");
        drop(keeping);
        let (state, from) = opened(dir.path());
        assert_eq!(from, journal.len() as u64, "{what}");
        assert!(state == folded(dir.path()), "{what}");
    }
}
