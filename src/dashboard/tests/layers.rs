//! Tests every layer over the Overview of a realistic run that waits for a decision, at every size.

use super::realistic::journal::Moment;
use super::realistic::{SIZES, run_at};
use super::*;
use crate::dashboard::{keymap, layers};
use crate::run::since::Left;

/// States of layers other than the first one: the layer, a name, and the keys to press after the key that opens the layer.
pub const STATES: &[(&str, &str, &[&str])] = &[
    ("decision", "grow_3", &["+"]),
    ("decision", "confirming", &["Enter"]),
    ("decision", "train_on_confirming", &["j", "+", "Enter"]),
    ("command", "suggesting", &["r"]),
    (
        "command",
        "choosing",
        &["r", "o", "l", "l", "Tab", "Tab", "Tab"],
    ),
    ("command", "refusing", &["g", "r", "w", "o", "Enter"]),
    ("command", "confirming", &["s", "t", "o", "p", "Enter"]),
    ("search", "typed", &["e", "v", "a", "l"]),
    ("rollback", "lower", &["j", "j", "j"]),
    ("help", "scrolled", &["PgDn"]),
    ("info", "scrolled", &["PgDn"]),
];

/// Compares a layer after these keys with its snapshots.
fn compare(name: &str, run: &RunState, keys: &[&str]) {
    for (width, height) in SIZES {
        let mut screen = Screen::new();
        // A frame is drawn before each key, because a layer gets its number of rows from it.
        for key in keys {
            screen.text(run, width, height);
            screen.press(run, keymap::event(key).code);
        }
        assert!(screen.desk.layers.top().is_some(), "{name}: {keys:?}");
        let name = format!("{name}_{width}x{height}");
        insta::assert_snapshot!(name, screen.text(run, width, height));
    }
}

#[test]
fn every_layer_at_every_size() {
    let mut run = run_at(Moment::Deciding);
    run.left = Some(Left {
        seq: 1,
        t: run.t - 3 * 3_600_000,
        step: run.core.step - 100_000,
        notes: 0,
    });
    for row in layers::all() {
        compare(row.id, &run, &row.keys[..1]);
    }
    for (id, state, keys) in STATES {
        let row = layers::all().find(|row| row.id == *id).unwrap();
        let keys = [&row.keys[..1], keys].concat();
        compare(&format!("{id}_{state}"), &run, &keys);
    }
}
