//! Tests of the home screen at every size.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw::draw;
use super::form::Form;
use super::list::{Home, Last};
use crate::dashboard::app::Options;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::keys;
use crate::dashboard::library::{Library, Listed, Row};
use crate::dashboard::message::Act;
use crate::dashboard::tests::realistic::{SIZES, journal::Moment, run_at};
use crate::dashboard::theme::Theme;
use crate::run::dir::RunDir;

/// Options without colours and without a run.
pub(super) fn options() -> Options {
    Options {
        theme: Theme::mono(),
        glyphs: Glyphs::Braille,
        title: String::new(),
        log: None,
        dir: None,
        verify: |_, _| Ok(()),
        job: crate::dashboard::terminal::Job::default(),
    }
}

/// A home screen over these runs, ten minutes after the latest event of any.
fn home<'a>(options: &'a Options, runs: Vec<Listed>) -> Home<'a> {
    let place = Path::new("/nowhere/runs");
    let mut home = Home::open(place, options, Last::default(), &|_| Ok(())).unwrap();
    let last = runs
        .iter()
        .filter_map(|run| run.row.as_ref())
        .map(|row| row.t)
        .max();
    home.library = Library::default();
    let (read, unread) = runs.into_iter().partition(|run| run.row.is_some());
    home.library.runs = read;
    home.library.sort();
    home.library.runs.extend::<Vec<Listed>>(unread);
    home.clock = last.unwrap_or(0) + 600_000;
    home
}

fn listed(name: &str, row: Option<Row>) -> Listed {
    Listed {
        dir: RunDir::at(&Path::new("runs").join(name)),
        changed: None,
        fresh: row.is_some(),
        row,
    }
}

/// Runs at every moment, one that is not read yet and one that cannot be, and forty older ones.
fn many() -> Vec<Listed> {
    let row = |moment| {
        let state = run_at(moment);
        let dir = RunDir::at(Path::new("runs/x"));
        Row {
            bytes: Some(1_234_567_890),
            ..Row::of(&state, &dir)
        }
    };
    let mut runs: Vec<Listed> = [
        ("real24", Moment::Healthy),
        ("books-2026-11-28-14-05-33", Moment::Deciding),
        ("nan", Moment::Nan),
        ("tiny-20261129-141352", Moment::Interrupted),
        ("matched", Moment::Done),
        ("held", Moment::Paused),
    ]
    .map(|(name, moment)| listed(name, Some(row(moment))))
    .into();
    runs.push(listed("數字數字數字數字數字", Some(row(Moment::Stalled))));
    runs.push(listed("unseen", None));
    runs.push(listed(
        "broken",
        Some(Row {
            state: "unreadable".into(),
            error: Some("its journal cannot be read: Permission denied (os error 13)".into()),
            ..row(Moment::Healthy)
        }),
    ));
    let oldest = row(Moment::Healthy);
    for n in 0..40 {
        let older = Row {
            t: oldest.t - 100_000_000 - n * 86_400_000,
            live: false,
            done_at: None,
            state: if n % 3 == 0 {
                "stopped"
            } else {
                "limit_tokens"
            }
            .into(),
            ..oldest.clone()
        };
        runs.push(listed(&format!("old-{n:02}"), Some(older)));
    }
    runs
}

fn text(home: &Home<'_>, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, home)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let row = |row: &[ratatui::buffer::Cell]| -> String {
        let text: String = row.iter().map(|cell| cell.symbol()).collect();
        text.trim_end().to_string() + "\n"
    };
    rows.map(row).collect()
}

#[test]
fn the_list_at_every_size() {
    let options = options();
    let mut home = home(&options, many());
    home.act(Act::Next);
    for (width, height) in SIZES {
        let text = text(&home, width, height);
        insta::assert_snapshot!(format!("home_{width}x{height}"), text);
        if width > 1 {
            for wanted in ["paused", "val", "state", "n new "] {
                assert!(text.contains(wanted), "{wanted}:\n{text}");
            }
        }
    }
}

#[test]
fn a_refused_suspension_is_explained_at_every_size() {
    let options = options();
    let mut home = home(&options, many());
    let why = "cannot suspend: no shell with job control has started this program";
    home.refusal.show(why.into());
    for form in [None, Some(Form::default())] {
        home.form = form;
        for (width, height) in [(200, 60), (80, 24), (60, 15), (40, 12)] {
            let text = text(&home, width, height);
            let words: Vec<&str> = text.split_whitespace().collect();
            assert!(words.join(" ").ends_with(why), "{text}");
        }
    }
}

#[test]
fn the_place_in_a_long_list_is_in_its_frame() {
    let options = options();
    let mut home = home(&options, many());
    assert!(
        text(&home, 80, 24).contains(" runs 1-13 of 49 "),
        "{}",
        text(&home, 80, 24)
    );
    home.act(Act::PageDown);
    home.act(Act::PageDown);
    let screen = text(&home, 80, 24);
    assert!(screen.contains(" runs 27-39 of 49 "), "{screen}");
    // One line down moves the selection, and not the list.
    home.act(Act::Next);
    assert!(text(&home, 80, 24).contains(" runs 27-39 of 49 "));
    home.act(Act::Bottom);
    assert!(text(&home, 80, 24).contains(" runs 37-49 of 49 "));
    assert!(text(&home, 40, 12).contains("49 of 49"));
    home.act(Act::Top);
    assert!(text(&home, 80, 24).contains(" runs 1-13 of 49 "));
}

#[test]
fn the_box_says_what_is_wrong_and_what_enter_does() {
    let options = options();
    let mut home = home(&options, many());
    let mut seen = String::new();
    for _ in 0..49 {
        seen += &text(&home, 80, 24);
        home.act(Act::Next);
    }
    for wanted in [
        "its journal cannot be read: Permission denied",
        "heirloom train --resume tiny-20261129-141352",
        "Enter asks to resume it, w watches it",
        "Enter watches it",
        "paused because ",
        "decision open: 14 layers",
        "┌ books-2026-11-28-14-05-33 ─",
    ] {
        assert!(seen.contains(wanted), "{wanted}:\n{seen}");
    }
}

#[test]
fn without_runs_the_presets_and_what_to_press_are_shown() {
    let options = options();
    let home = home(&options, Vec::new());
    for (width, height) in SIZES {
        let text = text(&home, width, height);
        insta::assert_snapshot!(format!("home_empty_{width}x{height}"), text);
        if width > 1 {
            assert!(
                text.contains("> tiny") && text.contains("Enter starts"),
                "{text}"
            );
        }
    }
}

#[test]
fn the_form_at_every_size() {
    let options = options();
    let mut home = home(&options, many());
    let wrong: Vec<String> = (1..30)
        .map(|n| format!("bad.toml:{n}: unknown key train.x{n}"))
        .collect();
    let wrong = wrong.join("\n");
    home.act(Act::New);
    let mut all = Vec::new();
    for (width, height) in SIZES {
        all.push(format!("{width}x{height}\n{}", text(&home, width, height)));
    }
    if let Some(form) = &mut home.form {
        form.paste("configs/bad.toml");
        form.error = Some(format!("cannot start: {wrong}"));
    }
    for (width, height) in SIZES {
        all.push(format!("{width}x{height}\n{}", text(&home, width, height)));
    }
    insta::assert_snapshot!("home_form", all.join("\n"));
    // All of a long error can be read.
    for (width, height) in [(80, 24), (40, 12)] {
        let mut seen = String::new();
        for _ in 0..40 {
            seen += &text(&home, width, height);
            home.act(Act::PageDown);
        }
        for n in 1..30 {
            assert!(seen.contains(&format!("train.x{n}")), "{n}:\n{seen}");
        }
        home.form.as_mut().unwrap().from = 0;
    }
}

#[test]
fn the_command_is_shown_as_it_would_be_typed() {
    let options = options();
    let mut home = home(&options, Vec::new());
    home.act(Act::New);
    let form: &mut Form = home.form.as_mut().unwrap();
    form.paste("my configs/a.toml");
    form.act(Act::Next, &|_| Ok(()));
    for c in "first".chars() {
        form.type_key(&keys::event(&c.to_string()));
    }
    form.act(Act::Next, &|_| Ok(()));
    form.act(Act::Complete, &|_| Ok(()));
    let screen = text(&home, 200, 60);
    let wanted = "Enter: heirloom train 'my configs/a.toml' --name first --set policy.mode=ask";
    assert!(screen.contains(wanted), "{screen}");
}

#[test]
fn ascii_terminals_get_ascii() {
    let options = Options {
        glyphs: Glyphs::Ascii,
        ..options()
    };
    let mut home = home(&options, many());
    assert!(text(&home, 80, 24).is_ascii(), "{}", text(&home, 80, 24));
    home.act(Act::New);
    assert!(text(&home, 200, 60).is_ascii());
}
