//! A replay without a screen: prints a run's lines at the speed of the replay.

use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Replay;
use crate::dashboard::plain::{Answers, Lines};
use crate::run::dir::RunDir;
use crate::run::state::RunState;
use crate::run::tail::TailItem;

/// Prints the events from the replay's position on, as they happen, as plain lines or as JSON. Returns the state at the end, or
/// `None` if the reader has closed the output before.
///
/// # Errors
/// When the journal cannot be read.
pub fn print(replay: Replay, out: &mut dyn Write, json: bool) -> Result<Option<RunState>> {
    let Replay {
        index, mut clock, ..
    } = replay;
    let events = index.entries();
    let mut state = RunState::default();
    let dir = index.path().parent().unwrap_or(index.path());
    let lines = Lines::local(&RunDir::at(dir));
    // Earlier events are not printed: the first line is the event at the position.
    let first = clock.position() - 1;
    let mut told = 0;
    loop {
        clock.tick(events, Instant::now());
        while told < clock.position() {
            let items = index
                .read(told, clock.position())
                .with_context(|| format!("cannot read {}", index.path().display()))?;
            for item in items {
                told += 1;
                let Some(item) = item else { continue };
                item.apply_to(&mut state);
                let line = match &item {
                    _ if told <= first => None,
                    TailItem::Event(event) if json => Some(event.to_line()),
                    TailItem::Event(event) => lines.of_event(&state, event, Answers::No).text,
                    _ => None,
                };
                if let Some(line) = line
                    && writeln!(out, "{line}").is_err()
                {
                    return Ok(None);
                }
            }
        }
        if out.flush().is_err() {
            return Ok(None);
        }
        match clock.until_next(events) {
            Some(wait) => std::thread::sleep(wait),
            None => return Ok(Some(state)),
        }
    }
}
