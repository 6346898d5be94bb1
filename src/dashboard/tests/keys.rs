//! Tests the keys that work in every view.

use super::*;
use crate::run::event::{CommandGiven, RunEvent};

#[test]
fn leaving_asks_the_owner_and_nobody_else() {
    let run = Story::deciding().state;
    let q = KeyCode::Char('q');
    let mut screen = Screen::new();
    assert_eq!(screen.press(&run, q), [Effect::LookAround]);
    assert_eq!(screen.press(&run, KeyCode::Enter), [Effect::Detach]);
    screen.press(&run, q);
    screen.press(&run, KeyCode::Down);
    assert_eq!(
        screen.press(&run, KeyCode::Enter),
        [Effect::Send(Command::Quit)]
    );
    assert!(screen.desk.ui.quitting);

    let mut watching = Screen::new();
    (watching.facts.read_only, watching.facts.owner) = (true, false);
    assert_eq!(watching.press(&run, KeyCode::Char('p')), []);
    assert!(
        watching
            .desk
            .ui
            .notice
            .as_deref()
            .is_some_and(|n| n.contains("read-only"))
    );
    assert_eq!(watching.press(&run, q), [Effect::Close]);

    let mut after = Screen::new();
    assert_eq!(after.press(&Story::done().state, q), [Effect::Close]);
}

#[test]
fn a_run_that_a_signal_stops_cannot_be_detached() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    // The prompt is open when the signal comes.
    screen.press(&run, KeyCode::Char('q'));
    screen.facts.stopping = true;
    let turn = |screen: &mut Screen| {
        let Screen { desk, facts, .. } = screen;
        update::on_run(desk, facts, &run, Instant::now())
    };
    assert!(turn(&mut screen), "a frame is due");
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("stopping after the checkpoint"), "{text}");
    assert!(!text.contains("detach"), "{text}");
    assert!(!turn(&mut screen), "shown once");
    assert_eq!(screen.press(&run, KeyCode::Char('q')), []);
    assert_eq!(screen.press(&run, KeyCode::Enter), []);
    assert!(turn(&mut screen), "shown again after a key");
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("stopping after the checkpoint"), "{text}");
}

#[test]
fn pausing_resuming_and_checkpointing_are_one_key_each() {
    let mut story = Story::deciding();
    let mut screen = Screen::new();
    let p = KeyCode::Char('p');
    assert_eq!(
        screen.press(&story.state, p),
        [Effect::Send(Command::Pause)]
    );
    story.emit(Body::Run(RunEvent {
        status: RunStatus::Paused,
        info: None,
        message: None,
    }));
    assert_eq!(
        screen.press(&story.state, p),
        [Effect::Send(Command::Resume)]
    );
    let text = screen.text(&story.state, 80, 24);
    assert!(text.contains("PAUSED") && !text.contains("because"));
    story.emit(Body::Run(RunEvent {
        status: RunStatus::Paused,
        info: None,
        message: Some("the finished reference is in memory only ".repeat(3)),
    }));
    let text = screen.text(&story.state, 80, 24);
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .starts_with(" because the finished reference is in memory"),
        "{text}"
    );
    assert_eq!(
        screen.press(&story.state, KeyCode::Char('c')),
        [Effect::Send(Command::Checkpoint)]
    );
    story.emit(Body::Command(CommandGiven {
        id: 1,
        by: By::Keyboard,
        command: Command::Checkpoint,
        pid: None,
    }));
}

#[test]
fn a_frozen_display_stands_still_and_a_zoom_moves_the_axis() {
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, KeyCode::Char('f'));
    assert!(screen.frozen);
    screen.press(&run, KeyCode::Char('f'));
    assert!(!screen.frozen);
    screen.press(&run, KeyCode::Char('+'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("x2") && text.contains("step 100"), "{text}");
    screen.press(&run, KeyCode::Char('<'));
    let text = screen.text(&run, 80, 24);
    assert!(text.contains("step 75"), "{text}");
    screen.press(&run, KeyCode::Char('='));
    screen.press(&run, KeyCode::Char('x'));
    assert!(screen.text(&run, 80, 24).contains("tokens 0"));
    screen.press(&run, KeyCode::Char('y'));
    assert!(screen.text(&run, 80, 24).contains("log"));
}

#[test]
fn a_suspension_is_a_key_in_every_scope_and_a_command() {
    assert!(keymap::suspends(&keymap::event("Ctrl-Z")));
    assert!(!keymap::suspends(&keymap::event("Ctrl-L")) && !keymap::suspends(&keymap::event("z")));
    assert!(keymap::redraws(&keymap::event("Ctrl-L")) && !keymap::redraws(&keymap::event("l")));
    let run = Story::deciding().state;
    let mut screen = Screen::new();
    screen.press(&run, KeyCode::Char(':'));
    for c in "suspend".chars() {
        assert_eq!(screen.press(&run, KeyCode::Char(c)), []);
    }
    assert_eq!(screen.press(&run, KeyCode::Enter), [Effect::Suspend]);
}
