//! Replays arbitrary bytes as a journal. Seeking to any moment, forwards or backwards, and drawing it must not fail, the
//! output must contain no terminal control sequences, and the final state must not depend on the way to it.
//!
//! The first bytes select operations on the replay, one each; the journal follows after a zero byte.

#![no_main]

mod scratch;

use std::path::PathBuf;
use std::sync::OnceLock;

use heirloom::dashboard::replay::{Moment, Replay, Steer};
use heirloom::dashboard::{Feed, ReplayFeed, still};
use heirloom::run::dir::RunDir;
use heirloom::run::state::RunState;
use heirloom::run::{show, table, tail};
use heirloom::text::{is_invisible, json};
use libfuzzer_sys::fuzz_target;

const MOST_STEERS: usize = 16;

/// Returns a run directory of this process.
fn directory() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(scratch::directory)
}

fn harmless(text: &str) {
    let draws = |c: char| c != '\n' && (c.is_control() || is_invisible(c));
    assert!(!text.contains(draws), "{text:?}");
}

fn steer(byte: u8) -> Steer {
    match byte % 10 {
        0 => Steer::PreviousLandmark,
        1 => Steer::NextLandmark,
        2 => Steer::EventBack,
        3 => Steer::EventForward,
        4 => Steer::Slower,
        5 => Steer::Faster,
        6 => Steer::ToStart,
        7 => Steer::ToEnd,
        _ => Steer::ToTenth(byte / 10 % 11),
    }
}

/// Folds events until the state reaches the replay's position.
fn follow(feed: &mut ReplayFeed, state: &mut RunState) {
    loop {
        feed.drain(state).expect("the journal can be read");
        if !feed.is_behind() {
            return;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (steers, journal) = match bytes.iter().take(MOST_STEERS).position(|b| *b == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (&[][..], bytes),
    };
    let dir = directory();
    std::fs::write(dir.join("events.jsonl"), journal).expect("the journal can be written");
    let mut replay = match Replay::open(dir, None) {
        Ok(replay) => replay,
        Err(error) => return harmless(&error.to_string()),
    };
    if let Some(first) = steers.first() {
        let moment = match first % 2 {
            0 => Moment::Step(u64::from(first / 2)),
            _ => Moment::Seconds(f64::from(first / 2)),
        };
        // A moment that the run never reached is refused.
        if let Err(error) = replay.start_at(moment) {
            harmless(&error.to_string());
        }
    }
    // Paused, so that time advances only by operations.
    replay.pause();
    let (mut feed, mut state) = (ReplayFeed::new(replay), RunState::default());
    for byte in steers {
        feed.steer(steer(*byte));
        follow(&mut feed, &mut state);
        let playing = feed.playing().expect("a replay plays");
        assert!((1..=playing.events).contains(&playing.event));
        let Ok(frame) = still(&state, (80, 24));
        for cell in frame.content() {
            harmless(cell.symbol());
        }
    }
    feed.steer(Steer::ToEnd);
    follow(&mut feed, &mut state);
    let run = RunDir::at(dir);
    let shown = |state: &RunState| table::text(state) + &json(&show::json(state, &run).to_string());
    harmless(&shown(&state));
    tail::settle(&mut state, dir);
    let straight = tail::load(dir).expect("the journal can be read");
    // Unreadable lines may be reported together or one by one, so that notes are not compared.
    let summary = |state: &RunState| (state.seq, state.core.step, table::text(state));
    assert_eq!(summary(&state), summary(&straight));
});
