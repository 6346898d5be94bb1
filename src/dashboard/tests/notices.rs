//! Tests the notices on screen: their texts, their places, and how long they stay.

use super::realistic::journal::Moment;
use super::realistic::run_at;
use super::*;
use crate::run::event::{Answer, Change, CommandGiven, Log, RunEvent, Warning};

#[test]
fn the_learning_rate_on_screen_is_the_one_that_was_set() {
    let mut story = Story::deciding();
    let set = |story: &mut Story, id, lr, applied| {
        story.emit(Body::Command(CommandGiven {
            id,
            by: By::Keyboard,
            command: Command::SetLr { lr },
            pid: None,
        }));
        let message = String::new();
        story.emit(Body::Answer(Answer {
            id,
            applied,
            message,
            change: None,
        }));
        Screen::new().text(&story.state, 80, 24)
    };
    assert!(set(&mut story, 7, 2e-4, true).contains("lr 2.00e-4"));
    assert!(set(&mut story, 8, 9e-4, false).contains("lr 2.00e-4"));
}

#[test]
fn what_is_set_is_marked_and_listed() {
    let mut story = Story::deciding();
    let set = [("clip", "1", "0.5"), ("frozen layers", "none", "0..2")];
    for (id, (what, old, new)) in (7..).zip(set) {
        let change = Some(Change {
            what: what.into(),
            old: old.into(),
            new: new.into(),
        });
        story.emit(Body::Answer(Answer {
            id,
            applied: true,
            message: "done".into(),
            change,
        }));
        story.train(60, 8, |_| 2.4);
    }
    let all = "clip 0.5 (was 1), frozen layers 0..2 (was none)";
    for (width, height, marks) in [
        (80, 24, &["^clip 0.5"][..]),
        (200, 60, &["^clip 0.5", "^frozen layers 0..2"]),
    ] {
        let mut screen = Screen::new();
        let text = screen.text(&story.state, width, height);
        for mark in marks {
            assert!(text.contains(mark), "{mark}:\n{text}");
        }
        screen.press(&story.state, KeyCode::Char('i'));
        let text = screen.text(&story.state, width, height);
        assert!(
            text.contains(&format!(" set by the operator  {all}")),
            "{text}"
        );
    }
}

#[test]
fn a_long_notice_is_wrapped_and_all_of_it_can_be_read() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    let long = "not sent: ".to_string() + &"seven words that say what is wrong ".repeat(9) + "end";
    screen.desk.ui.notice = Some(long);
    let text = screen.text(&run, 80, 24);
    let strip: Vec<&str> = text.lines().rev().skip(1).take(3).collect();
    assert!(
        strip[0].contains("… i all") && strip[2].contains("not sent"),
        "{text}"
    );
    screen.press(&run, KeyCode::Char('i'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("last message: not sent"), "{text}");
    // The end of a wrapped line is on the screen.
    let joined = text.replace('│', " ");
    assert!(joined.split_whitespace().any(|w| w == "end"), "{text}");
    // A note that is cut ends with an ellipsis.
    let mut story = Story::deciding();
    story.emit(Body::Warning(Warning {
        message: "long ".repeat(40),
    }));
    let text = Screen::new().text(&story.state, 80, 24);
    let cut = text.lines().find(|l| l.contains("! long")).unwrap();
    assert!(cut.ends_with('…'), "{cut}");
}

#[test]
fn state_step_and_loss_are_there_at_every_size() {
    for (moment, state) in [
        (Moment::Healthy, "TRAIN"),
        (Moment::Paused, "PAUSED"),
        (Moment::Nan, "PAUSED"),
    ] {
        let run = run_at(moment);
        for (width, height) in [(80, 24), (60, 15), (40, 12)] {
            for control in [None, Some("root@pts/3 (pid 16223)".to_string())] {
                let mut screen = Screen::new();
                screen.facts.read_only = control.is_some();
                screen.facts.controller = control;
                let text = screen.text(&run, width, height);
                let head: String = text.lines().take(5).collect::<Vec<_>>().join(" ");
                for part in [state, "/100,000", "val 2.9"] {
                    let part = part.replace(
                        "/100,000",
                        if moment == Moment::Paused {
                            "/120,000"
                        } else {
                            "/100,000"
                        },
                    );
                    assert!(head.contains(&part), "{part} at {width}x{height}: {text}");
                }
            }
        }
    }
}

#[test]
fn one_who_comes_back_sees_what_has_happened() {
    let mut story = Story::deciding();
    let left = Body::Log(Log {
        message: crate::run::presence::departure("ada@pts/3 (pid 7)"),
    });
    story.emit(left);
    assert!(crate::run::since::of(&story.state).is_none());
    story.train(50, 4, |_| 1.5);
    story.emit(Body::Warning(Warning {
        message: "the disk is nearly full".into(),
    }));
    story.decision(9);
    let mut screen = Screen::new();
    screen.press(&story.state, KeyCode::Char('S'));
    let text = screen.text(&story.state, 80, 24);
    for part in [
        "since you last looked",
        "50 steps, 1 decision, 1 warning",
        "new best val 1.5500",
        "! the disk is nearly full",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    screen.press(&story.state, KeyCode::Esc);
    assert!(!screen.text(&story.state, 80, 24).contains("since you"));
}

#[test]
fn what_is_copied_is_the_line_that_is_looked_at() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, KeyCode::Char('4'));
    let effects = screen.press(&run, KeyCode::Char('y'));
    let last = run.notes.back().unwrap().text.clone();
    assert_eq!(effects, [Effect::Copy(last)]);
    assert!(screen.text(&run, 80, 24).contains("copied"));
}

#[test]
fn leaving_says_what_becomes_of_the_training() {
    let mut story = Story::deciding();
    let words = |story: &Story, controller: Option<&str>| {
        let mut screen = Screen::new();
        // A name as long as the default names of runs.
        screen.facts.argument = "tiny-20261128-140533".into();
        screen.facts.controller = controller.map(String::from);
        screen.press(&story.state, KeyCode::Char('q'));
        screen.text(&story.state, 80, 24)
    };
    let text = words(&story, None);
    assert!(
        text.contains("detach - training continues in the background"),
        "{text}"
    );
    assert!(
        text.contains("stop after a checkpoint")
            && text.contains("heirloom attach tiny-20261128-140533"),
        "{text}"
    );
    // A client without control is not offered commands that would be refused.
    let text = words(&story, Some("ada@pts/3"));
    assert!(!text.contains("stop after a checkpoint"), "{text}");
    let pause = |message: Option<&str>| {
        Body::Run(RunEvent {
            status: RunStatus::Paused,
            info: None,
            message: message.map(String::from),
        })
    };
    story.emit(pause(Some("100 steps over budget: D to decide")));
    let text = words(&story, None);
    assert!(text.contains("detach - waits for your answer"), "{text}");
    let words_of = text.split(|c: char| c.is_whitespace() || c == '│');
    let whole: Vec<&str> = words_of.filter(|word| !word.is_empty()).collect();
    let whole = whole.join(" ");
    for command in ["attach", "train --resume"] {
        let wanted = format!("heirloom {command} tiny-20261128-140533.");
        assert!(whole.contains(&wanted), "{wanted}: {text}");
    }
    let mut story = Story::new();
    story.phase(Phase::Reference, 8, 200, Start::Random);
    story.train(50, 8, |_| 2.0);
    story.emit(pause(None));
    let text = words(&story, None);
    assert!(
        text.contains("detach - stays paused in the background"),
        "{text}"
    );
}
