//! If no cell changes, nothing is written to the terminal, whatever made the dashboard draw.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use std::time::Duration;

use common::pty::Pty;
use common::{Place, wait};
use journal::Moment;

/// Longer than the time between two frames for data.
const LONGER: Duration = Duration::from_millis(700);

#[test]
fn a_key_that_changes_nothing_writes_nothing() {
    let place = Place::new();
    let dir = place.run_dir(journal::NAME);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("events.jsonl"), journal::journal(Moment::Done)).unwrap();
    std::fs::write(dir.join("config.toml"), "").unwrap();
    let mut pty = Pty::start(&place, &["watch", journal::NAME], 80, 24);
    pty.see("DONE");
    let mut before = pty.written().len();
    wait("a screen that stands still", || {
        std::thread::sleep(LONGER);
        let now = pty.written().len();
        std::mem::replace(&mut before, now).eq(&now).then_some(())
    });
    // Keys without a binding.
    for key in ["Z", "Q", "\x1b[F", "Z"] {
        pty.press(key);
        std::thread::sleep(Duration::from_millis(150));
    }
    std::thread::sleep(LONGER);
    let written = pty.written();
    let more = String::from_utf8_lossy(&written[before..]).into_owned();
    assert!(more.is_empty(), "written for nothing: {more:?}");
    // Keys are received.
    pty.press("?");
    pty.see("Esc closes");
}
