//! Presses every key of the table in its scope, in the real program at a terminal, and checks for the difference that its row
//! names.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use common::pty::Pty;
use common::{Place, is_alive, signal, wait};
use heirloom::dashboard::keymap::{self, Binding, Differs, Scope};
use journal::Moment;
use std::time::Duration;

/// Prompts ignore keys for 300 ms.
const LOCK: Duration = Duration::from_millis(350);

/// Returns the bytes that a terminal sends for a key of the table.
fn bytes(key: &str) -> String {
    let named = match key {
        "Space" => " ",
        "Enter" => "\r",
        "Tab" => "\t",
        "Esc" => "\x1b",
        "Up" => "\x1b[A",
        "Down" => "\x1b[B",
        "Right" => "\x1b[C",
        "Left" => "\x1b[D",
        "Home" => "\x1b[H",
        "End" => "\x1b[F",
        "PgUp" => "\x1b[5~",
        "PgDn" => "\x1b[6~",
        "0-9" => "5",
        other => match other.strip_prefix("Ctrl-") {
            Some(letter) => {
                let code = letter.bytes().next().unwrap() - b'A' + 1;
                return char::from(code).to_string();
            }
            None => other,
        },
    };
    named.into()
}

fn press(pty: &mut Pty, keys: &str) {
    for key in keys.split(' ') {
        pty.press(&bytes(key));
        // The program recognises a lone Esc by the pause after it.
        std::thread::sleep(Duration::from_millis(if key == "Esc" { 120 } else { 15 }));
    }
}

/// Waits until the screen does not change any more.
fn settle(pty: &Pty) {
    let mut seen = pty.text();
    wait("a screen that stands still", || {
        std::thread::sleep(Duration::from_millis(120));
        let now = pty.text();
        let same = now == seen;
        seen = now;
        same.then_some(())
    });
}

/// Makes a place with the fixture's run.
fn place() -> Place {
    let place = Place::new();
    let dir = place.run_dir(journal::NAME);
    std::fs::create_dir_all(&dir).unwrap();
    let journal = journal::journal(Moment::Deciding);
    let mut lines: Vec<String> = journal.lines().map(String::from).collect();
    // A dashboard was left early in the run, so that the events since then can be shown.
    let early = lines.len() / 10;
    let mut left: serde_json::Value = serde_json::from_str(&lines[early]).unwrap();
    left["kind"] = "log".into();
    left["message"] = "the operator has detached".into();
    lines.insert(early + 1, left.to_string());
    std::fs::write(dir.join("events.jsonl"), lines.join("\n") + "\n").unwrap();
    std::fs::write(dir.join("config.toml"), "").unwrap();
    place
}

/// Adds results on more tasks than fit on a low screen.
fn evaluate(place: &Place) {
    let path = place.run_dir(journal::NAME).join("events.jsonl");
    let mut journal = journal::journal(Moment::Deciding);
    let last = journal.lines().last().unwrap();
    let mut event: serde_json::Value = serde_json::from_str(last).unwrap();
    let place: Vec<(String, serde_json::Value)> = [
        "v",
        "seq",
        "t",
        "elapsed",
        "step",
        "phase",
        "phase_step",
        "branch",
    ]
    .map(|key| (key.into(), event[key].take()))
    .into();
    let mut event = serde_json::Value::Object(place.into_iter().collect());
    event["kind"] = "task".into();
    let result = serde_json::json!({
        "version": "1", "layers": 4, "seconds": 1.0,
        "metrics": [{"name": "acc", "value": 0.5, "stderr": 0.01, "n": 100}],
    });
    let result = result.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(result);
    for n in 0..40 {
        event["seq"] = (event["seq"].as_u64().unwrap() + 1).into();
        event["task"] = format!("task-{n:02}").into();
        journal.push_str(&format!("{event}\n"));
    }
    std::fs::write(path, journal).unwrap();
}

/// Makes more runs than fit on a page, the older ones empty, and a config with more errors than fit into the form. Returns the
/// home screen.
fn home(place: &Place) -> Pty {
    for n in 0..40 {
        let dir = place.run_dir(&format!("older-{n:02}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("events.jsonl"), "").unwrap();
    }
    let wrong: String = (0..19).map(|n| format!("wrong{n} = 1\n")).collect();
    std::fs::write(place.path().join("bad"), wrong).unwrap();
    let pty = Pty::start(place, &[], 80, 24);
    pty.see_that("all runs read", |s| {
        s.contains("of 41") && s.contains("crashed") && !s.contains("...")
    });
    pty
}

/// Returns the keys that open a scope, one after the other, on a screen that watches the fixture.
fn way(scope: Scope) -> Vec<&'static str> {
    match scope {
        Scope::Layer("new run") => vec!["n"],
        Scope::View("log") => vec!["4"],
        Scope::View("eval") => vec!["5"],
        Scope::Layer("command") => vec![":"],
        Scope::Layer("search") => vec!["/"],
        Scope::Layer("help") => vec!["?"],
        Scope::Layer("info") => vec!["i"],
        Scope::Layer("since") => vec!["S"],
        _ => Vec::new(),
    }
}

/// Shows the fixture: as a replay if the scope belongs to a replay, otherwise watched.
fn start(place: &Place, scope: Scope, size: (u16, u16)) -> Pty {
    if matches!(scope, Scope::View("home") | Scope::Layer("new run")) {
        return home(place);
    }
    if scope == Scope::View("eval") {
        evaluate(place);
    }
    let run = format!("runs/{}", journal::NAME);
    let args: Vec<&str> = match scope {
        Scope::Replay => vec!["replay", &run, "--at", "70000", "--paused"],
        _ => vec!["watch", &run],
    };
    let pty = Pty::start(place, &args, size.0, size.1);
    pty.see("/100,000");
    pty.see_that("all of the journal", |s| !s.contains("LOADING"));
    pty
}

/// Whether a scope can be reached on a screen that only watches.
fn is_watched(scope: Scope) -> bool {
    !matches!(
        scope,
        Scope::Confirm | Scope::Layer("decision" | "leave" | "rollback") | Scope::View("demo")
    )
}

#[test]
fn every_key_that_needs_no_trainer_changes_the_screen() {
    let place = place();
    for scope in [
        Scope::Global,
        Scope::Chart,
        Scope::Replay,
        Scope::View("log"),
        Scope::View("home"),
        Scope::Layer("new run"),
        Scope::Layer("command"),
        Scope::Layer("search"),
        Scope::Layer("help"),
        Scope::Layer("info"),
        Scope::Layer("since"),
        // Adding its results writes to the journal.
        Scope::View("eval"),
    ] {
        assert!(is_watched(scope));
        for binding in keymap::bindings().filter(|b| b.scope == scope) {
            let journals = matches!(binding.differs, Differs::Journals(_));
            if binding.control || journals {
                continue;
            }
            for keys in binding.keys {
                check(&place, &binding, keys);
            }
        }
    }
}

fn check(place: &Place, binding: &Binding, keys: &str) {
    let what = format!("{keys} {}", binding.scope.title());
    // A small screen: on a large one both charts are shown at once, and nothing needs to scroll.
    let size = match (binding.command, binding.scope) {
        ("gap-chart", _) | (_, Scope::Layer("help" | "info") | Scope::View("eval")) => (80, 24),
        (_, Scope::Layer("since")) => (60, 15),
        _ => (200, 60),
    };
    let mut pty = start(place, binding.scope, size);
    for key in way(binding.scope) {
        press(&mut pty, key);
        std::thread::sleep(Duration::from_millis(30));
    }
    let prepare = |pty: &mut Pty, before: &[&str]| {
        settle(pty);
        let first = pty.text();
        for key in before {
            press(pty, key);
        }
        if !before.is_empty() {
            pty.see_that("the keys before", |s| s != first);
        }
        settle(pty);
    };
    match binding.differs {
        Differs::Appears(text) => {
            std::thread::sleep(Duration::from_millis(60));
            assert!(
                !pty.text().contains(text),
                "{what}: {text:?} is there before"
            );
            press(&mut pty, keys);
            pty.see(text);
        }
        Differs::Goes(before, text) => {
            prepare(&mut pty, before);
            pty.see(text);
            press(&mut pty, keys);
            pty.see_that(&format!("{what}: no {text:?}"), |s| !s.contains(text));
        }
        Differs::Moves(before) => {
            prepare(&mut pty, before);
            let seen = pty.text();
            press(&mut pty, keys);
            pty.see_that(&format!("{what}: another screen"), |s| s != seen);
        }
        Differs::Redraws => {
            std::thread::sleep(Duration::from_millis(60));
            let before = pty.written().len();
            press(&mut pty, keys);
            wait(&what, || {
                (pty.written().len() > before + 2000).then_some(())
            });
        }
        Differs::Ends => {
            press(&mut pty, keys);
            assert_eq!(pty.exit_code(), 0, "{what}");
            return;
        }
        Differs::Journals(_) => unreachable!("{what} needs a trainer"),
    }
    drop(pty);
}

const ASK: [&str; 4] = ["--set", "policy.mode=ask", "--set", "control.random=false"];

/// Returns the screen of a trainer whose first round has an open decision.
fn trainer(place: &Place, name: &str, size: (u16, u16)) -> Pty {
    let args = ["train", "mini.toml", "--name", name];
    let more = ["--set", "control.reference_continued=false"];
    let pty = Pty::start(place, &[&args[..], &ASK, &more].concat(), size.0, size.1);
    // After its overrun the run pauses, so that no newer evidence comes while keys are pressed.
    pty.see("D to decide");
    pty
}

#[test]
fn every_key_that_needs_a_trainer_reaches_it() {
    let bindings = || keymap::bindings().filter(|b| !is_watched(b.scope) || b.control);
    let place = Place::new();
    let mut n = 0;
    for binding in bindings() {
        if matches!(binding.scope, Scope::View(_)) {
            // The demo has a test of its own.
            continue;
        }
        n += 1;
        let name = format!("run{n}");
        with_trainer(&place, &name, &binding, binding.keys[0]);
    }
    assert!(n > 10, "{n}");
}

fn with_trainer(place: &Place, name: &str, binding: &Binding, keys: &str) {
    let what = format!("{keys} {}", binding.scope.title());
    // Where everything is in sight, nothing scrolls.
    let size = match binding.command {
        "page up" | "page down" => (60, 15),
        _ => (200, 60),
    };
    let mut pty = trainer(place, name, size);
    let open: &[&str] = match binding.scope {
        Scope::Layer("decision") => &["D"],
        Scope::Layer("leave") => &["q"],
        Scope::Layer("rollback") => &["R"],
        Scope::Confirm => &["D", "Enter"],
        _ => &[],
    };
    for key in open {
        press(&mut pty, key);
        pty.see(match *key {
            "D" => "decide · round",
            "q" => " leave ",
            "R" => "every file verified",
            _ => "Esc cancel",
        });
        std::thread::sleep(LOCK);
    }
    let commands = |kind: &str| {
        place
            .events(name)
            .iter()
            .filter(|e| e["kind"] == kind)
            .count()
    };
    // The run changes every line except those of the prompt.
    let marked = |s: &str| -> Vec<String> {
        let lines = s
            .lines()
            .filter(|l| l.contains("> ") || l.contains("Grow by"));
        lines
            .map(|l| l[l.find("> ").unwrap_or(0)..].chars().take(40).collect())
            .collect()
    };
    match binding.differs {
        Differs::Journals(kind) => {
            let before = commands(kind);
            press(&mut pty, keys);
            wait(&what, || (commands(kind) > before).then_some(()));
        }
        Differs::Appears(text) => {
            press(&mut pty, keys);
            pty.see(text);
        }
        Differs::Goes(_, text) => {
            pty.see(text);
            press(&mut pty, keys);
            pty.see_that(&format!("{what}: no {text:?}"), |s| !s.contains(text));
        }
        Differs::Moves(before) => {
            let first = marked(&pty.text());
            for key in before {
                press(&mut pty, key);
            }
            if !before.is_empty() {
                pty.see_that("the keys before", |s| marked(s) != first);
            }
            settle(&pty);
            let seen = marked(&pty.text());
            press(&mut pty, keys);
            pty.see_that(&format!("{what}: another entry"), |s| marked(s) != seen);
        }
        Differs::Ends => {
            if binding.scope == Scope::Global {
                // The key only opens a question here, because the trainer would continue without the screen.
                press(&mut pty, keys);
                pty.see(" leave ");
            } else {
                press(&mut pty, keys);
                assert_eq!(pty.exit_code(), 0, "{what}");
            }
        }
        Differs::Redraws => unreachable!("{what}"),
    }
    // A trainer that was left continues.
    let pid = place.lock(name)["pid"]
        .as_u64()
        .and_then(|p| u32::try_from(p).ok());
    if let Some(pid) = pid.filter(|&pid| is_alive(pid)) {
        signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
}
