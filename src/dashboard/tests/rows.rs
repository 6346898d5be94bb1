//! A view and a layer that exist only in tests, each added by a row in its table.

use std::cell::Cell;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::*;
use crate::dashboard::commands;
use crate::dashboard::keymap::{self, Differs};
use crate::dashboard::layers::{self, Layer, Opening, Room, Step};
use crate::dashboard::message::Act;
use crate::dashboard::ui::Context;
use crate::dashboard::views;

static VIEW: views::Row = views::Row {
    id: "spare",
    title: "Spare",
    keys: &["9"],
    command: "view spare",
    help: "a view for tests",
    chart: false,
    differs: Differs::Appears("the spare view"),
    draw: spare,
    draw_small: spare,
    act: |_, _| {},
};

static LAYER: layers::Row = layers::Row {
    id: "extra",
    keys: &["E"],
    footer: "extra",
    help: "a layer for tests",
    control: false,
    passes: false,
    differs: Differs::Appears("the extra layer"),
    open: |_| Opening::of(Extra),
};

fn spare(frame: &mut Frame<'_>, _: &Scene<'_>, area: Rect) {
    frame.render_widget(Line::raw("the spare view"), area);
}

thread_local! {
    /// Whether the tables of this thread's test contain the rows of this file.
    static ADDED: Cell<bool> = const { Cell::new(false) };
}

/// Returns the rows that are added to the table of views.
pub fn views() -> impl Iterator<Item = &'static views::Row> {
    ADDED.get().then_some(&VIEW).into_iter()
}

/// Returns the rows that are added to the table of layers.
pub fn layers() -> impl Iterator<Item = &'static layers::Row> {
    ADDED.get().then_some(&LAYER).into_iter()
}

#[derive(Debug)]
struct Extra;

impl Layer for Extra {
    fn row(&self) -> &'static layers::Row {
        &LAYER
    }

    fn act(&mut self, _: Act, _: bool, _: &mut Context<'_>) -> Step {
        Step::Close
    }

    fn room(&self) -> Room {
        Room::Bottom(1)
    }

    fn draw(&self, frame: &mut Frame<'_>, _: &Scene<'_>, area: Rect, _: bool) {
        frame.render_widget(Line::raw("the extra layer"), area);
    }
}

#[test]
fn a_row_is_all_that_a_view_or_a_layer_needs() {
    ADDED.set(true);
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    let text = screen.text(&run, 200, 60);
    assert!(
        text.contains("9 Spare") && text.contains("E extra"),
        "{text}"
    );
    screen.press(&run, KeyCode::Char('?'));
    let help = screen.text(&run, 200, 60);
    for words in ["a view for tests", "a layer for tests"] {
        assert!(help.contains(words), "{help}");
        assert!(keymap::document().contains(words));
    }
    for (typed, wanted) in [("view sp\t", "view spare"), ("extr\t", "extra")] {
        let mut screen = Screen::new();
        screen.press(&run, KeyCode::Char(':'));
        for c in typed.chars() {
            let code = if c == '\t' {
                KeyCode::Tab
            } else {
                KeyCode::Char(c)
            };
            screen.press(&run, code);
        }
        assert!(screen.text(&run, 80, 24).contains(&format!(":{wanted}")));
    }
    let mut screen = Screen::new();
    screen.press(&run, KeyCode::Char('9'));
    assert!(screen.text(&run, 80, 24).contains("the spare view"));
    screen.press(&run, KeyCode::Char('E'));
    assert!(screen.text(&run, 80, 24).contains("the extra layer"));
}

#[test]
fn every_key_has_a_command_and_hides_another_only_where_a_reason_stands() {
    let all: Vec<keymap::Binding> = keymap::bindings().collect();
    for binding in &all {
        assert!(!binding.help.is_empty(), "{binding:?}");
    }
    // Returns the outer scopes that are searched after a scope.
    let outer = |scope: Scope| -> Vec<Scope> {
        let around = |view: &'static str| {
            let mut all = vec![Scope::Replay];
            all.extend(views::has_chart(view).then_some(Scope::Chart));
            all.push(Scope::Global);
            all
        };
        match scope {
            Scope::View("home" | "demo") => Vec::new(),
            Scope::View(id) => around(id),
            Scope::Replay => vec![Scope::Chart, Scope::Global],
            Scope::Chart => vec![Scope::Global],
            Scope::Layer("help" | "info" | "since") => around("overview"),
            Scope::Layer(_) | Scope::Confirm | Scope::Global => Vec::new(),
        }
    };
    let mut hidden = Vec::new();
    for (i, binding) in all.iter().enumerate() {
        for key in binding.keys {
            let twice = |b: &&keymap::Binding| b.scope == binding.scope && b.keys.contains(key);
            assert!(
                !all[..i].iter().any(|b| twice(&b)),
                "{key} twice: {binding:?}"
            );
            let outer = outer(binding.scope);
            let hides = |b: &&keymap::Binding| outer.contains(&b.scope) && b.keys.contains(key);
            if all.iter().any(|b| hides(&b)) {
                hidden.push((binding.scope, *key));
            }
        }
    }
    for (scope, key) in &hidden {
        let listed = keymap::SHADOWS
            .iter()
            .any(|(s, k, _)| (s, k) == (scope, key));
        assert!(
            listed,
            "{key} of {scope:?} hides another key without a reason"
        );
    }
    for (scope, key, _) in keymap::SHADOWS {
        assert!(
            hidden.contains(&(*scope, *key)),
            "{key} of {scope:?} hides nothing"
        );
    }
}

#[test]
fn every_command_can_be_found_by_its_words() {
    for entry in commands::listed() {
        let help = commands::help_of(&entry.words);
        assert_eq!(help, Some(entry.help), "{}", entry.words);
    }
}
