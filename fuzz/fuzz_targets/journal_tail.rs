//! Reads arbitrary bytes as a journal, in two parts. The tail reads to the end, and the folded state can be drawn at any size and
//! printed as text and JSON, without terminal control sequences.

#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use heirloom::dashboard::{plain_line, still};
use heirloom::run::dir::RunDir;
use heirloom::run::state::RunState;
use heirloom::run::tail::{Tail, TailItem};
use heirloom::run::{show, table};
use heirloom::text::{is_invisible, json};
use libfuzzer_sys::fuzz_target;

const SIZES: [(u16, u16); 7] = [
    (1, 1),
    (3, 200),
    (30, 10),
    (59, 14),
    (80, 24),
    (120, 40),
    (250, 3),
];

/// Returns a run directory of this process.
fn directory() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(scratch::directory)
}

fn harmless(text: &str) {
    let draws = |c: char| c != '\n' && (c.is_control() || is_invisible(c));
    assert!(!text.contains(draws), "{text:?}");
}

fn follow(tail: &mut Tail, state: &mut RunState) {
    loop {
        for item in tail.poll().expect("the journal can be read") {
            item.apply_to(state);
            if let TailItem::Event(event) = &item {
                harmless(&json(&event.to_line()));
                harmless(&plain_line(state, event).unwrap_or_default());
            }
            harmless(&item.skipped().unwrap_or_default());
        }
        if tail.caught_up() {
            return;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let dir = directory();
    let path = dir.join("events.jsonl");
    let (mut tail, mut state) = (Tail::open(dir), RunState::default());
    for end in [bytes.len() / 2, bytes.len()] {
        std::fs::write(&path, &bytes[..end]).expect("the journal can be written");
        follow(&mut tail, &mut state);
        let Ok(frame) = still(&state, SIZES[(bytes.len() + end) % SIZES.len()]);
        for cell in frame.content() {
            harmless(cell.symbol());
        }
    }
    let run = RunDir::at(dir);
    harmless(&table::text(&state));
    harmless(&show::text(&state, &run));
    harmless(&json(&show::json(&state, &run).to_string()));
    harmless(&json(&show::summary_json(&state, &run).to_string()));
});
